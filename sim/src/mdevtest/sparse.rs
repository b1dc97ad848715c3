//! A PCI device whose BARs exercise every rule about mappings.

use std::io;

use rustix::io::Errno;
use vfio_common::device::{DeviceFlags, DeviceInfo, IrqFlags, IrqInfo};
use vfio_common::pci_config::{Capability, MsixTable, PciIds};
use vfio_common::region::Area;

use super::registers::{self, Registers};
use crate::errno::failed;
use crate::model::{Board, Layout, Model, RegionModel};
use crate::pci::ConfigSpace;

const REGISTERS: u32 = 0;
const CONFIG: u32 = 7;
const TYPED: u32 = 9;
/// The last BAR that has a size.
const LAST_BAR: u32 = 4;
/// Sizes of the BARs, in bytes.
const BAR_SIZES: [u32; 6] = [0x8000, 0x4000, 0x1000, 0x2000, 0x100, 0];
const TYPED_SIZE: u32 = 0x2000;
/// The vendor type of this device's vendor, 0x6d64.
const TYPED_KIND: u32 = 0x8000_6d64;
const TYPED_MASK: u32 = 0x5a5a_5a5a;

const MSIX: u32 = 2;
const REQ: u32 = 4;
const MSIX_TABLE: MsixTable =
    MsixTable { vectors: 8, bar: 1, offset: 0x2000, pending_bar: 1, pending_offset: 0x3000 };
const IDS: PciIds = PciIds {
    vendor: 0x6d64,
    device: 0x7370,
    subsystem_vendor: 0x6d64,
    subsystem_device: 1,
    class: 0x08_8000,
    revision: 1,
};
/// A capability of the vendor's, of 16 bytes; the first of its body is its length.
const VENDOR_CAPABILITY: [u8; 14] = [16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Not sorted, on purpose.
const AREAS: [Area; 3] = [
    Area { offset: 0x3000, size: 0x2000 },
    Area { offset: 0x1000, size: 0x1000 },
    Area { offset: 0x6000, size: 0x1000 },
];

/// The type `mdevtest-sparse`. Offsets in its file are packed, configuration space first.
///
/// | region | size | |
/// |---|---|---|
/// | 0 | 0x8000 | three sparse areas, unsorted; five registers at its start, the rest memory |
/// | 1 | 0x4000 | wholly mappable, holds the MSI-X table and says that it may be mapped |
/// | 2 | 0x1000 | memory that cannot be mapped |
/// | 3 | 0x2000 | a list of sparse areas without any: cannot be mapped |
/// | 4 | 0x100 | mappable, smaller than a page |
/// | 5, 6 | 0 | |
/// | 7 | 0x100 | configuration space |
/// | 8 | `EINVAL` | |
/// | 9 | 0x2000 | device-specific and read-only: dword i is i ^ 0x5a5a5a5a |
///
/// | register | access | |
/// |---|---|---|
/// | 0x00 | ro | 0x73706172 |
/// | 0x04 | ro | pieces read or written in region 0 through the descriptor, this one included |
/// | 0x08 | rw | scratch |
/// | 0x0c | wo | doorbell: a write of n < 8 fires MSI-X vector n; reads 0 |
/// | 0x10 | ro | writes to the doorbell |
#[derive(Debug)]
pub struct Sparse {
    config: ConfigSpace,
    registers: Registers,
}

impl Sparse {
    /// A new device.
    #[must_use]
    pub fn new() -> Self {
        let bars = BAR_SIZES.into_iter().enumerate().filter(|(_, size)| *size > 0);
        let config = bars
            .fold(ConfigSpace::new(IDS), |config, (bar, size)| config.memory_bar(bar, size))
            .capability(Capability::VENDOR_SPECIFIC, &VENDOR_CAPABILITY)
            .msix(MSIX_TABLE);
        Self { config, registers: Registers::default() }
    }
}

impl Default for Sparse {
    fn default() -> Self {
        Self::new()
    }
}

impl Model for Sparse {
    fn layout(&self) -> Layout {
        let [bar0, bar1, bar2, bar3, bar4, _] = BAR_SIZES.map(u64::from);
        Layout::packed([
            RegionModel::registers(CONFIG, ConfigSpace::SIZE),
            RegionModel::memory(REGISTERS, bar0).sparse(AREAS),
            RegionModel::memory(1, bar1).mappable().msix_mappable(),
            RegionModel::memory(2, bar2),
            RegionModel::memory(3, bar3).sparse([]),
            RegionModel::memory(4, bar4).mappable(),
            RegionModel::unused(5),
            RegionModel::unused(6),
            RegionModel::memory(TYPED, TYPED_SIZE.into())
                .mappable()
                .read_only()
                .typed(TYPED_KIND, 1),
        ])
    }

    fn power_on(&mut self, board: &Board) -> io::Result<()> {
        let dwords = (0..TYPED_SIZE / 4).map(|index| index ^ TYPED_MASK);
        let bytes: Vec<u8> = dwords.flat_map(u32::to_le_bytes).collect();
        board.write(TYPED, 0, &bytes)
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        let flags = DeviceFlags::PCI | DeviceFlags::RESET;
        Ok(DeviceInfo::new(flags, 10, 5))
    }

    fn irq_info(&mut self, index: u32) -> io::Result<IrqInfo> {
        let count = match index {
            MSIX => u32::from(MSIX_TABLE.vectors),
            REQ => 1,
            _ => return Err(failed(Errno::INVAL)),
        };
        Ok(IrqInfo { index, flags: IrqFlags::EVENTFD, count })
    }

    fn read(
        &mut self,
        board: &Board,
        region: u32,
        offset: u64,
        bytes: &mut [u8],
    ) -> io::Result<()> {
        match region {
            CONFIG => self.config.read(offset, bytes),
            REGISTERS => {
                self.registers.accesses = self.registers.accesses.wrapping_add(1);
                for (at, part) in (offset..).step_by(4).zip(bytes.chunks_mut(4)) {
                    if at < registers::SIZE {
                        self.registers.read(at, part);
                    } else {
                        board.read(region, at, part)?;
                    }
                }
            }
            _ => board.read(region, offset, bytes)?,
        }
        Ok(())
    }

    fn write(&mut self, board: &Board, region: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match region {
            CONFIG => self.config.write(offset, bytes),
            REGISTERS => {
                self.registers.accesses = self.registers.accesses.wrapping_add(1);
                for (at, part) in (offset..).step_by(4).zip(bytes.chunks(4)) {
                    if at < registers::SIZE {
                        if let Some(vector) = self.registers.write(at, part) {
                            board.fire(MSIX, vector);
                        }
                    } else {
                        board.write(region, at, part)?;
                    }
                }
            }
            _ => board.write(region, offset, bytes)?,
        }
        Ok(())
    }

    /// Configuration space stays as it is, as a user of vfio-pci sees it.
    fn reset(&mut self, board: &Board) -> io::Result<()> {
        self.registers = Registers::default();
        (0..=LAST_BAR).try_for_each(|bar| board.clear(bar))
    }
}

#[cfg(test)]
mod tests;
