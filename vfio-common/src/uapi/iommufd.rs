//! Ioctls of an iommufd, `/dev/iommu` (`include/uapi/linux/iommufd.h`).

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::io::Errno;
use rustix::ioctl::opcode;
use vfio_bindings::bindings::vfio as sys;

use super::argsz;
use super::call::{self, Request};
use crate::iommu::{DeviceAccess, DmaMemory, IovaRange};

/// Flags of `struct iommu_ioas_map`.
const MAP_FIXED_IOVA: u32 = 1 << 0;
const MAP_WRITEABLE: u32 = 1 << 1;
const MAP_READABLE: u32 = 1 << 2;
/// An IOAS has few ranges: those between the holes of its devices.
const FIRST_RANGES: usize = 8;
const MOST_RANGES: usize = 1 << 16;

/// `IOMMUFD_CMD_BASE`; the type byte is that of VFIO.
const BASE: u8 = 0x80;

/// The number of an iommufd ioctl.
const fn iommufd(n: u8) -> Request {
    opcode::none(sys::VFIO_TYPE, BASE + n) as Request
}

/// An open iommufd.
#[derive(Debug)]
pub(crate) struct IommuFd(File);

impl IommuFd {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }

    /// `IOMMU_IOAS_ALLOC`: a new, empty address space, by its id.
    pub(crate) fn allocate_ioas(&self) -> io::Result<u32> {
        // size, flags, out_ioas_id, and padding to a whole word.
        let mut buffer = argsz::buffer(&[&[0; 8]])?;
        call::sized(self.0.as_fd(), iommufd(1), &mut buffer)?;
        Ok(buffer.get(1).map_or(0, |word| argsz::low_half(*word)))
    }

    /// `IOMMU_DESTROY`: frees an object by its id.
    pub(crate) fn destroy(&self, id: u32) -> io::Result<()> {
        let mut buffer = argsz::buffer(&[&id.to_ne_bytes()])?;
        call::sized(self.0.as_fd(), iommufd(0), &mut buffer).map(drop)
    }

    /// `IOMMU_IOAS_IOVA_RANGES`: the ranges that every device in the address space can reach, and the
    /// alignment of addresses.
    pub(crate) fn iova_ranges(&self, ioas: u32) -> io::Result<(Vec<IovaRange>, u64)> {
        let mut ranges = vec![[0; 2]; FIRST_RANGES];
        loop {
            let answer = call::iova_ranges(self.0.as_fd(), iommufd(4), ioas, &mut ranges);
            match answer {
                Ok((count, alignment)) => {
                    ranges.truncate(count as usize);
                    let range = |[first, last]: [u64; 2]| IovaRange { first, last };
                    return Ok((ranges.into_iter().map(range).collect(), alignment));
                }
                // It says how many there are; there may be more at the next call.
                Err((count, error))
                    if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error())
                        && (ranges.len()..MOST_RANGES).contains(&(count as usize)) =>
                {
                    ranges.resize((count as usize).saturating_add(FIRST_RANGES), [0; 2]);
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// `IOMMU_IOAS_MAP` at a fixed address.
    pub(crate) fn map(
        &self,
        ioas: u32,
        memory: &DmaMemory,
        iova: u64,
        access: DeviceAccess,
    ) -> io::Result<()> {
        let mut flags = MAP_FIXED_IOVA;
        if access.contains(DeviceAccess::READ) {
            flags |= MAP_READABLE;
        }
        if access.contains(DeviceAccess::WRITE) {
            flags |= MAP_WRITEABLE;
        }
        // size, flags; ioas_id, reserved; user_va; length; iova.
        let fields = [flags, ioas, 0].map(u32::to_ne_bytes);
        let mut buffer = argsz::buffer(&[fields.as_flattened(), &[0; 16], &iova.to_ne_bytes()])?;
        let request = iommufd(5);
        call::sized_lending(self.0.as_fd(), request, &mut buffer, [2, 3], memory).map(drop)
    }

    /// `IOMMU_IOAS_UNMAP`: bytes that were mapped. From 0, the length `u64::MAX` means all.
    pub(crate) fn unmap(&self, ioas: u32, iova: u64, length: u64) -> io::Result<u64> {
        // size, ioas_id; iova; length.
        let fields: [&[u8]; 3] = [&ioas.to_ne_bytes(), &iova.to_ne_bytes(), &length.to_ne_bytes()];
        let mut buffer = argsz::buffer(&fields)?;
        call::sized(self.0.as_fd(), iommufd(6), &mut buffer)?;
        Ok(buffer.get(2).copied().unwrap_or_default())
    }
}
