//! The DMA engine: it copies between memory and a buffer inside the device.

use std::fmt;
use std::ops::Range;

use vfio_common::iommu::AddressSpace;

/// Where the device sees its own buffer.
const BUFFER: u64 = 0x4_0000;
const BUFFER_LENGTH: usize = 0x1000;
/// The device has 28 address bits (`dma_mask`).
const ADDRESS_BITS: u64 = (1 << 28) - 1;

const RUN: u64 = 1 << 0;
const TO_MEMORY: u64 = 1 << 1;
const INTERRUPT: u64 = 1 << 2;

/// The registers of the engine, and its buffer.
pub(super) struct Engine {
    pub(super) source: u64,
    pub(super) target: u64,
    pub(super) count: u64,
    pub(super) command: u64,
    buffer: [u8; BUFFER_LENGTH],
}

impl Engine {
    /// Does what a command says. Returns whether it asks for an interrupt. Where the device reaches
    /// nothing, because it is in no address space or nothing is mapped, its buffer is filled with zeroes,
    /// and memory stays as it is.
    pub(super) fn start(&mut self, command: u64, space: Option<&AddressSpace>) -> bool {
        self.command = command & !RUN;
        if command & RUN == 0 {
            return false;
        }
        let (inside, outside) = match command & TO_MEMORY == 0 {
            true => (self.target, self.source),
            false => (self.source, self.target),
        };
        let outside = outside & ADDRESS_BITS;
        // The real one ends the whole machine when it is told to leave its buffer.
        let Some(bytes) = place(inside, self.count).and_then(|place| self.buffer.get_mut(place))
        else {
            return false;
        };
        let reached = match (space, command & TO_MEMORY == 0) {
            (None, _) => false,
            (Some(space), true) => space.read_as_device(outside, bytes).is_ok(),
            (Some(space), false) => space.write_as_device(outside, bytes).is_ok(),
        };
        if !reached && command & TO_MEMORY == 0 {
            bytes.fill(0);
        }
        command & INTERRUPT != 0
    }
}

/// The bytes of the buffer that a transfer is about.
fn place(inside: u64, count: u64) -> Option<Range<usize>> {
    let start = usize::try_from(inside.checked_sub(BUFFER)?).ok()?;
    let end = start.checked_add(usize::try_from(count).ok()?)?;
    (end <= BUFFER_LENGTH).then_some(start..end)
}

impl Default for Engine {
    fn default() -> Self {
        let buffer = [0; BUFFER_LENGTH];
        Self { source: 0, target: 0, count: 0, command: 0, buffer }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, target, count, command, .. } = self;
        f.debug_struct("Engine")
            .field("source", source)
            .field("target", target)
            .field("count", count)
            .field("command", command)
            .finish_non_exhaustive()
    }
}
