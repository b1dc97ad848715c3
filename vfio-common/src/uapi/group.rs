//! Ioctls of a group, `/dev/vfio/<number>`.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use vfio_bindings::bindings::vfio as sys;

use super::{ContainerFd, argsz, call};

/// `struct vfio_group_status`.
const STATUS_LENGTH: usize = 8;

/// An open group.
#[derive(Debug)]
pub(crate) struct GroupFd(File);

impl GroupFd {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// `VFIO_GROUP_GET_STATUS`: whether the group is viable.
    pub(crate) fn is_viable(&self) -> io::Result<bool> {
        let fill = |buffer: &mut [u64]| call::sized(self.0.as_fd(), call::vfio(3), buffer);
        let status = argsz::fetch(STATUS_LENGTH, None, fill)?;
        let flags = status.last_chunk::<4>().map_or(0, |flags| u32::from_ne_bytes(*flags));
        Ok(flags & sys::VFIO_GROUP_FLAGS_VIABLE != 0)
    }

    /// `VFIO_GROUP_SET_CONTAINER`.
    pub(crate) fn set_container(&self, container: &ContainerFd) -> io::Result<()> {
        let container = container.file().as_fd();
        call::descriptor(self.0.as_fd(), call::vfio(4), container).map(drop)
    }

    /// `VFIO_GROUP_UNSET_CONTAINER`.
    pub(crate) fn unset_container(&self) -> io::Result<()> {
        call::number(self.0.as_fd(), call::vfio(5), 0).map(drop)
    }

    /// `VFIO_GROUP_GET_DEVICE_FD`. The kernel makes the descriptor close-on-exec.
    pub(crate) fn device(&self, name: &CStr) -> io::Result<OwnedFd> {
        call::open(self.0.as_fd(), call::vfio(6), name)
    }
}
