//! Ioctls of an iommufd, `/dev/iommu` (`include/uapi/linux/iommufd.h`).

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::ioctl::opcode;
use vfio_bindings::bindings::vfio as sys;

use super::call::{self, Request};

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
        let mut buffer = super::argsz::buffer(&[&[0; 8]])?;
        call::sized(self.0.as_fd(), iommufd(1), &mut buffer)?;
        Ok(buffer.get(1).map_or(0, |word| super::argsz::low_half(*word)))
    }

    /// `IOMMU_DESTROY`: frees an object by its id.
    pub(crate) fn destroy(&self, id: u32) -> io::Result<()> {
        let mut buffer = super::argsz::buffer(&[&id.to_ne_bytes()])?;
        call::sized(self.0.as_fd(), iommufd(0), &mut buffer).map(drop)
    }
}
