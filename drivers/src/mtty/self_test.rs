//! A port tested against itself.

use std::io::{Read as _, Write as _};

use mdev_bus::SelfTestError;

use super::Port;
use super::registers::{DATA_READY, FIFO_ROOM, LINE_STATUS, OVERRUN, SCRATCH};

/// Writes the scratch register both ways, then sends as many bytes as the port holds and compares
/// what comes back. Leaves the scratch register as it was. A port with bytes in flight is refused:
/// they would be mixed up with the test's.
pub(super) fn run(port: &Port) -> Result<(), SelfTestError> {
    if port.in_flight() != 0 {
        return Err("a port has bytes in flight: read or clear them first".into());
    }
    let registers = port.registers();
    let before = registers.read8(SCRATCH)?;
    for pattern in [0x55, 0xaa] {
        registers.write8(SCRATCH, pattern)?;
        let found = registers.read8(SCRATCH)?;
        if found != pattern {
            return Err(format!("the scratch register holds {found:#x} after {pattern:#x}").into());
        }
    }
    registers.write8(SCRATCH, before)?;

    let sent: [u8; FIFO_ROOM] = std::array::from_fn(|at| 0xa5 ^ at.to_le_bytes()[0]);
    let mut received = [0; FIFO_ROOM];
    let mut stream = port;
    stream.write_all(&sent)?;
    stream.read_exact(&mut received)?;
    if received != sent {
        port.clear()?;
        return Err(format!("sent {sent:02x?}, received {received:02x?}").into());
    }
    let status = registers.read8(LINE_STATUS)?;
    if status & (DATA_READY | OVERRUN) != 0 {
        return Err(format!("the line status is {status:#x} after all bytes were read").into());
    }
    Ok(())
}

pub(super) fn summary(ports: usize) -> String {
    let s = if ports == 1 { "" } else { "s" };
    format!("looped {FIFO_ROOM} bytes through {ports} port{s}, scratch and line status are right")
}
