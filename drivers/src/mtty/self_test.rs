//! A port tested against itself.

use mdev_bus::SelfTestError;

use super::Port;
use super::port::Exclusive;
use super::registers::{DATA_READY, FIFO_ROOM, LINE_STATUS, OVERRUN, SCRATCH};

/// Writes the scratch register both ways, then sends as many bytes as the port holds and compares
/// what comes back. Nobody else uses the port meanwhile; the scratch register is left as it was. A port
/// with bytes in flight is refused: they would be mixed up with the test's.
pub(super) fn run(port: &Port) -> Result<(), SelfTestError> {
    let mut port = port.exclusive();
    if port.in_flight() != 0 {
        return Err("a port has bytes in flight: read or clear them first".into());
    }
    scratch(&port)?;
    let looped = loopback(&mut port);
    if looped.is_err() {
        // What is in flight now is the test's; its error matters more than one of the clearing.
        drop(port.clear());
    }
    looped
}

fn scratch(port: &Exclusive<'_>) -> Result<(), SelfTestError> {
    let registers = port.registers;
    let before = registers.read8(SCRATCH)?;
    for pattern in [0x55, 0xaa, before] {
        registers.write8(SCRATCH, pattern)?;
        let found = registers.read8(SCRATCH)?;
        if found != pattern {
            return Err(format!("the scratch register holds {found:#x} after {pattern:#x}").into());
        }
    }
    Ok(())
}

fn loopback(port: &mut Exclusive<'_>) -> Result<(), SelfTestError> {
    let sent: [u8; FIFO_ROOM] = std::array::from_fn(|at| 0xa5 ^ at.to_le_bytes()[0]);
    let mut received = [0; FIFO_ROOM];
    let (out, back) = (port.send(&sent)?, port.receive(&mut received)?);
    if (out, back) != (FIFO_ROOM, FIFO_ROOM) {
        return Err(format!("{out} of {FIFO_ROOM} bytes were sent, {back} received").into());
    }
    if received != sent {
        return Err(format!("sent {sent:02x?}, received {received:02x?}").into());
    }
    let status = port.registers.read8(LINE_STATUS)?;
    if status & (DATA_READY | OVERRUN) != 0 {
        return Err(format!("the line status is {status:#x} after all bytes were read").into());
    }
    Ok(())
}

pub(super) fn summary(ports: usize) -> String {
    let s = if ports == 1 { "" } else { "s" };
    format!("looped {FIFO_ROOM} bytes through {ports} port{s}, scratch and line status are right")
}
