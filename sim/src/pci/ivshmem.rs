//! QEMU's shared memory, in software.

use std::io;

use rustix::io::Errno;
use vfio_common::device::{DeviceFlags, DeviceInfo};
use vfio_common::pci_config::{Command, PciIds, REGION_INDEX};

use super::ConfigSpace;
use crate::errno::failed;
use crate::model::{Board, Layout, Model, RegionModel};
use crate::tree::PciFunction;

const REGISTERS: u32 = 0;
const REGISTERS_SIZE: u32 = 0x100;
const MEMORY: u32 = 2;
const MEMORY_SIZE: u32 = 1 << 20;

const IDS: PciIds = PciIds {
    vendor: 0x1af4,
    device: 0x1110,
    subsystem_vendor: 0x1af4,
    subsystem_device: 0x1100,
    class: 0x05_0000,
    revision: 1,
};

/// QEMU's `ivshmem-plain` (`docs/specs/ivshmem-spec.rst` of QEMU), with 1 MiB of memory in BAR 2, which can
/// be mapped, and the registers of BAR 0, which do nothing in a device without interrupts and read 0.
///
/// Memory that is mapped answers also while memory decode is off. With a real device such an access
/// faults; here the command register only decides about reads and writes through the descriptor.
#[derive(Debug)]
pub struct Ivshmem {
    config: ConfigSpace,
}

impl Ivshmem {
    /// A new device, its memory all 0.
    #[must_use]
    pub fn new() -> Self {
        let config = ConfigSpace::new(IDS);
        Self { config: config.memory_bar(0, REGISTERS_SIZE).memory_bar(2, MEMORY_SIZE) }
    }

    /// How it looks in sysfs.
    pub fn function(address: impl Into<String>) -> PciFunction {
        PciFunction::with_ids(address, IDS)
    }

    fn check_decode(&self, region: u32) -> io::Result<()> {
        let answers = region == REGION_INDEX || self.config.command().contains(Command::MEMORY);
        if answers { Ok(()) } else { Err(failed(Errno::IO)) }
    }
}

impl Default for Ivshmem {
    fn default() -> Self {
        Self::new()
    }
}

impl Model for Ivshmem {
    fn layout(&self) -> Layout {
        Layout::by_index([
            RegionModel::registers(REGISTERS, REGISTERS_SIZE.into()),
            RegionModel::unused(1),
            RegionModel::memory(MEMORY, MEMORY_SIZE.into()).mappable(),
            RegionModel::unused(3),
            RegionModel::unused(4),
            RegionModel::unused(5),
            RegionModel::unused(6),
            RegionModel::registers(REGION_INDEX, ConfigSpace::SIZE),
        ])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PCI, 9, 5))
    }

    fn read(
        &mut self,
        board: &Board,
        region: u32,
        offset: u64,
        bytes: &mut [u8],
    ) -> io::Result<()> {
        self.check_decode(region)?;
        match region {
            REGION_INDEX => self.config.read(offset, bytes),
            MEMORY => board.read(region, offset, bytes)?,
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, board: &Board, region: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_decode(region)?;
        match region {
            REGION_INDEX => self.config.write(offset, bytes),
            MEMORY => board.write(region, offset, bytes)?,
            _ => {}
        }
        Ok(())
    }

    fn reset(&mut self, _: &Board) -> io::Result<()> {
        Err(failed(Errno::INVAL))
    }
}
