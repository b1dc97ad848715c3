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
    #[error(
        "the port lost a byte, for somebody else writes to the device too: stop that and clear the port"
    )]
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
        self.exclusive().clear()
    }

    /// The port, for who does several things in a row that nobody else may come between.
    pub(super) fn exclusive(&self) -> Exclusive<'_> {
        Exclusive { registers: &self.registers, state: self.state() }
    }
}

/// The port as long as nobody else uses it.
pub(super) struct Exclusive<'a> {
    pub(super) registers: &'a Region,
    state: MutexGuard<'a, State>,
}

impl Exclusive<'_> {
    pub(super) fn in_flight(&self) -> usize {
        self.state.in_flight
    }

    /// Throws away what was written and not read.
    pub(super) fn clear(&mut self) -> Result<(), RegionError> {
        self.registers.write8(FIFO_CONTROL, FIFO_ENABLE | FIFO_CLEAR)?;
        self.state.in_flight = 0;
        Ok(())
    }

    /// Sends as many bytes as there is room for; 0 when there is none. Once bytes were sent, an error
    /// is left to the next call: these are on their way.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, PortError> {
        let room = FIFO_ROOM.saturating_sub(self.state.in_flight);
        let mut sent = 0;
        for byte in bytes.iter().take(room) {
            match self.send_one(*byte) {
                Ok(()) => sent += 1,
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn send_one(&mut self, byte: u8) -> Result<(), PortError> {
        self.registers.write8(DATA, byte)?;
        // The card sets this bit when it has no room for a byte, and takes it back with the next byte
        // that it takes.
        if self.registers.read8(LINE_STATUS)? & OVERRUN != 0 {
            return Err(PortError::Overrun);
        }
        self.state.in_flight = self.state.in_flight.saturating_add(1);
        Ok(())
    }

    /// Takes the bytes that were received; 0 when there are none. Once bytes were received, an error is
    /// left to the next call.
    pub(super) fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, PortError> {
        let mut received = 0;
        for byte in bytes {
            match self.receive_one() {
                Ok(Some(value)) => *byte = value,
                Ok(None) => break,
                Err(_) if received > 0 => break,
                Err(error) => return Err(error),
            }
            received += 1;
        }
        Ok(received)
    }

    fn receive_one(&mut self) -> Result<Option<u8>, PortError> {
        if self.registers.read8(LINE_STATUS)? & DATA_READY == 0 {
            // Nothing is on its way any more, whatever was counted.
            self.state.in_flight = 0;
            return Ok(None);
        }
        let byte = self.registers.read8(DATA)?;
        self.state.in_flight = self.state.in_flight.saturating_sub(1);
        Ok(Some(byte))
    }
}

impl Read for &Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.exclusive().receive(buffer).map_err(io::Error::other)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            received => Ok(received),
        }
    }
}

impl Write for &Port {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.exclusive().send(buffer).map_err(io::Error::other)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            sent => Ok(sent),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
