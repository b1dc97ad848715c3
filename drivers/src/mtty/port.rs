//! One port as a byte stream.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vfio_common::region::{Region, RegionError};

use super::LineSettings;
use super::registers::{
    DATA, DATA_READY, DIVISOR_LATCH, FIFO_CLEAR, FIFO_CONTROL, FIFO_ENABLE, FIFO_ROOM,
    INTERRUPT_ENABLE, LINE_CONTROL, LINE_STATUS, OVERRUN,
};

/// A port of the card. Both ends of the line are here: what is written can be read.
///
/// Reads and writes do not block: they fail with [`io::ErrorKind::WouldBlock`] while nothing was
/// received, or while 15 bytes are on their way and none was read. A shared reference reads and
/// writes, as with [`std::fs::File`].
#[derive(Debug)]
pub struct Port {
    registers: Region,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes written and not read. The card does not tell when its FIFO is full.
    in_flight: usize,
    line: LineSettings,
}

/// A port did not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// A register could not be accessed.
    #[error(transparent)]
    Access(#[from] RegionError),
    /// The card lost a byte, although no more were sent than it has room for: somebody else uses the
    /// device too.
    #[error("the port lost a byte: another user writes to the device")]
    Overrun,
}

impl Port {
    /// Takes a port over: no interrupts, FIFO on and empty, 9600 bits a second, 8 data bits.
    pub(super) fn open(registers: Region) -> Result<Self, RegionError> {
        registers.write8(LINE_CONTROL, 0)?;
        registers.write8(INTERRUPT_ENABLE, 0)?;
        // Before the first write here the card's trigger level is 0 and no interrupt can fire.
        registers.write8(FIFO_CONTROL, FIFO_ENABLE | FIFO_CLEAR)?;
        let line = LineSettings::default();
        let port = Self { registers, state: Mutex::new(State { in_flight: 0, line }) };
        port.set_line(line)?;
        Ok(port)
    }

    /// Leaves the card quiet. Errors do not matter: the device may be gone.
    pub(super) fn close(&self) {
        let quiet = self.registers.write8(INTERRUPT_ENABLE, 0);
        drop(quiet.and_then(|()| self.registers.write8(FIFO_CONTROL, FIFO_CLEAR)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets speed and framing.
    ///
    /// # Errors
    /// [`RegionError`] when a register cannot be written; the settings are then unknown.
    pub fn set_line(&self, line: LineSettings) -> Result<(), RegionError> {
        let mut state = self.state();
        let [low, high] = line.divisor_bytes();
        // Setting the latch makes the divisor 0, and the card ORs the halves into it.
        self.registers.write8(LINE_CONTROL, 0)?;
        self.registers.write8(LINE_CONTROL, DIVISOR_LATCH)?;
        self.registers.write8(DATA, low)?;
        self.registers.write8(INTERRUPT_ENABLE, high)?;
        self.registers.write8(LINE_CONTROL, line.line_control())?;
        state.line = line;
        Ok(())
    }

    /// Speed and framing.
    #[must_use]
    pub fn line(&self) -> LineSettings {
        self.state().line
    }

    /// Bytes that were written and not read yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    /// Throws away what was written and not read.
    ///
    /// # Errors
    /// [`RegionError`] when the register cannot be written.
    pub fn clear(&self) -> Result<(), RegionError> {
        let mut state = self.state();
        self.registers.write8(FIFO_CONTROL, FIFO_ENABLE | FIFO_CLEAR)?;
        state.in_flight = 0;
        Ok(())
    }

    pub(super) fn registers(&self) -> &Region {
        &self.registers
    }

    /// Sends as many bytes as there is room for; 0 when there is none.
    fn send(&self, bytes: &[u8]) -> Result<usize, PortError> {
        let mut state = self.state();
        let room = FIFO_ROOM.saturating_sub(state.in_flight);
        let mut sent = 0;
        for byte in bytes.iter().take(room) {
            self.registers.write8(DATA, *byte)?;
            state.in_flight = state.in_flight.saturating_add(1);
            sent += 1;
        }
        if sent > 0 && self.registers.read8(LINE_STATUS)? & OVERRUN != 0 {
            return Err(PortError::Overrun);
        }
        Ok(sent)
    }

    /// Takes the bytes that were received; 0 when there are none.
    fn receive(&self, bytes: &mut [u8]) -> Result<usize, PortError> {
        let mut state = self.state();
        let mut received = 0;
        for byte in bytes {
            if self.registers.read8(LINE_STATUS)? & DATA_READY == 0 {
                // Nothing is on its way any more, whatever was counted.
                state.in_flight = 0;
                break;
            }
            *byte = self.registers.read8(DATA)?;
            state.in_flight = state.in_flight.saturating_sub(1);
            received += 1;
        }
        Ok(received)
    }
}

impl Read for &Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.receive(buffer).map_err(io::Error::other)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            received => Ok(received),
        }
    }
}

impl Write for &Port {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.send(buffer).map_err(io::Error::other)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            sent => Ok(sent),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
