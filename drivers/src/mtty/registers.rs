//! The registers of a port: those of a 16550. Offsets are in bytes; each is 8 bits wide, and wider
//! accesses reach only the first byte.

/// Receive and transmit; low half of the divisor while the latch is set.
pub(super) const DATA: u64 = 0;
/// Interrupt enable; high half of the divisor while the latch is set.
pub(super) const INTERRUPT_ENABLE: u64 = 1;
/// FIFO control, on writes.
pub(super) const FIFO_CONTROL: u64 = 2;
/// Line control.
pub(super) const LINE_CONTROL: u64 = 3;
/// Line status.
pub(super) const LINE_STATUS: u64 = 5;
/// Keeps what is written to it.
pub(super) const SCRATCH: u64 = 7;

/// FIFO control: 16 bytes deep instead of one.
pub(super) const FIFO_ENABLE: u8 = 1 << 0;
/// FIFO control: empty the receiver's and the transmitter's.
pub(super) const FIFO_CLEAR: u8 = 1 << 1 | 1 << 2;

/// Line control: offsets 0 and 1 are the divisor's. Setting it makes the divisor 0.
pub(super) const DIVISOR_LATCH: u8 = 1 << 7;

/// Line status: a byte can be read.
pub(super) const DATA_READY: u8 = 1 << 0;
/// Line status: a byte was lost.
pub(super) const OVERRUN: u8 = 1 << 1;

/// Most bytes in flight: a FIFO of 16 bytes that is full looks empty and stays so until it is
/// cleared.
pub(super) const FIFO_ROOM: usize = 15;
