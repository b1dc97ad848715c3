//! Ioctls of a container, `/dev/vfio/vfio`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use vfio_bindings::bindings::vfio as sys;

use super::call;

/// An open container.
#[derive(Debug)]
pub(crate) struct ContainerFd(File);

impl ContainerFd {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }

    /// `VFIO_GET_API_VERSION`.
    pub(crate) fn api_version(&self) -> io::Result<i32> {
        call::number(self.0.as_fd(), call::vfio(0), 0)
    }

    /// `VFIO_CHECK_EXTENSION` for `VFIO_TYPE1v2_IOMMU`.
    pub(crate) fn has_type1v2(&self) -> io::Result<bool> {
        let extension = sys::VFIO_TYPE1v2_IOMMU.into();
        call::number(self.0.as_fd(), call::vfio(1), extension).map(|answer| answer > 0)
    }

    /// `VFIO_SET_IOMMU` with `VFIO_TYPE1v2_IOMMU`: version 1 would keep software devices from
    /// pinning memory.
    pub(crate) fn set_type1v2(&self) -> io::Result<()> {
        call::number(self.0.as_fd(), call::vfio(2), sys::VFIO_TYPE1v2_IOMMU.into()).map(drop)
    }
}
