//! The registers of BAR 0.

use vfio_common::iommu::AddressSpace;

use super::engine::Engine;

const IDENTIFICATION: u64 = 0x00;
const LIVENESS: u64 = 0x04;
const FACTORIAL: u64 = 0x08;
const STATUS: u64 = 0x20;
const INTERRUPT_STATUS: u64 = 0x24;
const RAISE: u64 = 0x60;
const ACKNOWLEDGE: u64 = 0x64;
const DMA_SOURCE: u64 = 0x80;
const DMA_TARGET: u64 = 0x88;
const DMA_COUNT: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;
/// Below are registers of 4 bytes only, from here on of 4 or 8.
const WIDE: u64 = 0x80;

const IDENTITY: u32 = 0x0100_00ed;
const INTERRUPT_WHEN_DONE: u32 = 0x80;
const FACTORIAL_DONE: u32 = 0x1;
const DMA_DONE: u32 = 0x100;

#[derive(Debug, Default)]
pub(super) struct Registers {
    liveness: u32,
    factorial: u32,
    status: u32,
    interrupts: u32,
    dma: Engine,
}

impl Registers {
    /// What is raised and not acknowledged.
    pub(super) fn raised(&self) -> u32 {
        self.interrupts
    }

    /// Reads `width` bytes; all ones where there is no register of that width.
    pub(super) fn read(&self, offset: u64, width: usize) -> u64 {
        if !is_valid(offset, width) {
            return u64::MAX;
        }
        match offset {
            IDENTIFICATION => IDENTITY.into(),
            LIVENESS => self.liveness.into(),
            FACTORIAL => self.factorial.into(),
            STATUS => self.status.into(),
            INTERRUPT_STATUS => self.interrupts.into(),
            DMA_SOURCE => self.dma.source,
            DMA_TARGET => self.dma.target,
            DMA_COUNT => self.dma.count,
            DMA_COMMAND => self.dma.command,
            _ => u64::MAX,
        }
    }

    /// Writes a register, with the address space that the device reaches now. Returns whether an
    /// interrupt is to be signalled.
    pub(super) fn write(
        &mut self,
        offset: u64,
        width: usize,
        value: u64,
        space: Option<&AddressSpace>,
    ) -> bool {
        if !is_valid(offset, width) {
            return false;
        }
        // Those of 4 bytes take the low half.
        let narrow = u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
        match offset {
            LIVENESS => self.liveness = !narrow,
            FACTORIAL => {
                self.factorial = factorial(narrow);
                if self.status & INTERRUPT_WHEN_DONE != 0 {
                    return self.raise(FACTORIAL_DONE);
                }
            }
            STATUS => self.status = narrow & INTERRUPT_WHEN_DONE,
            RAISE => return self.raise(narrow),
            ACKNOWLEDGE => self.interrupts &= !narrow,
            DMA_SOURCE => self.dma.source = value,
            DMA_TARGET => self.dma.target = value,
            DMA_COUNT => self.dma.count = value,
            DMA_COMMAND if self.dma.start(value, space) => return self.raise(DMA_DONE),
            _ => {}
        }
        false
    }

    fn raise(&mut self, bits: u32) -> bool {
        self.interrupts |= bits;
        self.interrupts != 0
    }
}

fn is_valid(offset: u64, width: usize) -> bool {
    width == 4 || (width == 8 && offset >= WIDE)
}

/// Modulo 2^32, where nothing is left from 34 on.
fn factorial(n: u32) -> u32 {
    (1..=n.min(34)).fold(1, u32::wrapping_mul)
}
