//! A platform device: no configuration space, a mappable and a tiny register block.

use std::io;

use rustix::io::Errno;
use vfio_common::device::{DeviceFlags, DeviceInfo, IrqFlags, IrqInfo};

use crate::errno::failed;
use crate::model::{Board, Layout, Model, RegionModel};

const REGIONS: u32 = 2;

/// The type `mdevtest-platform`: two regions of memory, of which the first can be mapped, and one
/// automasked interrupt.
#[derive(Debug, Default)]
pub struct Platform(());

impl Platform {
    /// A new device.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Model for Platform {
    fn layout(&self) -> Layout {
        Layout::packed([RegionModel::memory(0, 0x1000).mappable(), RegionModel::memory(1, 0x20)])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        let flags = DeviceFlags::PLATFORM | DeviceFlags::RESET;
        Ok(DeviceInfo::new(flags, REGIONS, 1))
    }

    fn irq_info(&mut self, index: u32) -> io::Result<IrqInfo> {
        if index != 0 {
            return Err(failed(Errno::INVAL));
        }
        Ok(IrqInfo { index, flags: IrqFlags::EVENTFD | IrqFlags::AUTOMASKED, count: 1 })
    }

    fn reset(&mut self, board: &Board) -> io::Result<()> {
        (0..REGIONS).try_for_each(|region| board.clear(region))
    }
}
