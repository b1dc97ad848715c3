//! Ioctls of a device.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use super::{argsz, call};
use crate::device::{DeviceFlags, DeviceInfo, IrqFlags, IrqInfo};
use crate::mapping::{Mapping, Protection};
use crate::region::RegionInfo;

/// `struct vfio_device_info` up to the capability chain's offset, as every kernel knows it.
const DEVICE_INFO_LENGTH: usize = 16;
/// `struct vfio_irq_info`.
const IRQ_INFO_LENGTH: usize = 16;

/// An open device.
#[derive(Debug)]
pub(crate) struct DeviceFd(File);

impl DeviceFd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }

    /// `VFIO_DEVICE_GET_INFO`.
    pub(crate) fn info(&self) -> io::Result<DeviceInfo> {
        let [_, flags, num_regions, num_irqs] = words(&self.fetch(7, DEVICE_INFO_LENGTH, None)?);
        Ok(DeviceInfo { flags: DeviceFlags::from_bits_retain(flags), num_regions, num_irqs })
    }

    /// `VFIO_DEVICE_GET_REGION_INFO`.
    pub(crate) fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        let bytes = self.fetch(8, RegionInfo::FIXED_LENGTH, Some(index))?;
        RegionInfo::parse(index, &bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// `VFIO_DEVICE_GET_IRQ_INFO`.
    pub(crate) fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        let [_, flags, _, count] = words(&self.fetch(9, IRQ_INFO_LENGTH, Some(index))?);
        Ok(IrqInfo { index, flags: IrqFlags::from_bits_retain(flags), count })
    }

    /// `VFIO_DEVICE_RESET`.
    pub(crate) fn reset(&self) -> io::Result<()> {
        call::number(self.0.as_fd(), call::vfio(11), 0).map(drop)
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    pub(crate) fn map(
        &self,
        offset: u64,
        length: usize,
        protection: Protection,
    ) -> io::Result<Mapping> {
        Mapping::new(&self.0, offset, length, protection)
    }

    fn fetch(&self, request: u8, fixed: usize, index: Option<u32>) -> io::Result<Vec<u8>> {
        let fill = |buffer: &mut [u64]| call::sized(self.0.as_fd(), call::vfio(request), buffer);
        argsz::fetch(fixed, index, fill)
    }
}

/// The first four 32-bit fields of a struct; fields that are not there read 0.
fn words(bytes: &[u8]) -> [u32; 4] {
    let (fields, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|at| fields.get(at).map_or(0, |field| u32::from_ne_bytes(*field)))
}
