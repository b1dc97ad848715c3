//! Devices from the kernel.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::cdev::Cdev;
use super::group::Group;
use crate::device::{
    Backend, DeviceInfo, EventWriteRequest, HotResetInfo, IrqInfo, IrqRequest, OpenGroup,
};
use crate::iommu::{AddressSpace, IovaRange};
use crate::mapping::{Mapping, Protection};
use crate::migration::PreCopyInfo;
use crate::region::RegionInfo;
use crate::uapi::{self, DeviceFd};

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

    fn precopy_info(&self, stream: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
        uapi::precopy_info(stream)
    }

    fn start_dma_log(&self, page_size: u64, ranges: &[IovaRange]) -> io::Result<u64> {
        self.fd()?.start_dma_log(page_size, ranges)
    }

    fn read_dma_log(&self, page_size: u64, range: IovaRange) -> io::Result<Vec<u64>> {
        self.fd()?.read_dma_log(page_size, range)
    }

    fn enter_low_power(&self, wake_up: BorrowedFd<'_>) -> io::Result<()> {
        self.fd()?.enter_low_power(wake_up)
    }

    fn set_event_write(
        &self,
        write: EventWriteRequest,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.fd()?.set_event_write(write, eventfd)
    }

    fn hot_reset_info(&self) -> io::Result<HotResetInfo> {
        self.fd()?.hot_reset_info()
    }

    fn hot_reset(&self, groups: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.fd()?.hot_reset(groups)
    }

    fn group(&self) -> Option<OpenGroup<'_>> {
        let Self::OfGroup { group, .. } = self else { return None };
        Some(OpenGroup { number: group.number(), descriptor: group.fd()?.as_fd() })
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.fd().ok().map(DeviceFd::as_fd)
    }

    fn reset(&self) -> io::Result<()> {
        self.fd()?.reset()
    }
}
