//! Devices from the kernel.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::cdev::Cdev;
use super::group::Group;
use crate::device::{Backend, DeviceInfo, IrqInfo, IrqRequest};
use crate::iommu::AddressSpace;
use crate::mapping::{Mapping, Protection};
use crate::region::RegionInfo;
use crate::uapi::DeviceFd;

/// A device descriptor, and what must stay open as long as it is.
#[derive(Debug)]
pub(super) enum KernelDevice {
    /// From a group. The descriptor comes first, so that it closes first.
    OfGroup { fd: DeviceFd, group: Arc<Group> },
    /// Bound to an iommufd.
    Cdev(Arc<Cdev>),
    /// Opened by somebody else, who saw to the rest.
    Adopted(DeviceFd),
}

impl KernelDevice {
    fn fd(&self) -> io::Result<&DeviceFd> {
        match self {
            Self::OfGroup { fd, .. } | Self::Adopted(fd) => Ok(fd),
            // It has none only while it is dropped, and nobody can call it then.
            Self::Cdev(cdev) => cdev.fd().ok_or_else(|| io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Backend for KernelDevice {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        self.fd()?.info()
    }

    fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        self.fd()?.region_info(index)
    }

    fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        self.fd()?.irq_info(index)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.fd()?.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.fd()?.write_at(offset, bytes)
    }

    fn map(&self, offset: u64, length: usize, protection: Protection) -> io::Result<Mapping> {
        self.fd()?.map(offset, length, protection)
    }

    fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        self.fd()?.set_irqs(request)
    }

    fn feature(&self, flags: u32, data: &mut [u8]) -> io::Result<()> {
        self.fd()?.feature(flags, data)
    }

    fn set_migration_state(&self, state: u32) -> io::Result<Option<OwnedFd>> {
        self.fd()?.set_migration_state(state)
    }

    fn address_space(&self) -> Option<AddressSpace> {
        match self {
            Self::OfGroup { group, .. } => group.address_space(),
            Self::Cdev(cdev) => Some(cdev.address_space()),
            Self::Adopted(_) => None,
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.fd().ok().map(DeviceFd::as_fd)
    }

    fn reset(&self) -> io::Result<()> {
        self.fd()?.reset()
    }
}
