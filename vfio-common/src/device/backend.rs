//! What stands behind a device: the kernel, or software.

use std::fmt::Debug;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{DeviceInfo, EventWriteRequest, HotResetInfo, IrqInfo, IrqRequest};
use crate::iommu::{AddressSpace, IovaRange};
use crate::mapping::{Mapping, Protection};
use crate::migration::PreCopyInfo;
use crate::region::RegionInfo;

/// What a [`Device`](super::Device) needs from whoever provides it. The kernel is one backend; a
/// software device implements the same calls, and everything above them is shared.
///
/// Errors are those of the kernel's ioctls (`include/uapi/linux/vfio.h`), as
/// [`io::Error::from_raw_os_error`]; the device adds its name and the operation to them.
/// A backend must not call back into the [`Device`](super::Device) that it stands behind: a region is
/// described and mapped under a lock.
///
/// The trait is off the hot path: once a range is mapped, an access is a load or a store.
pub trait Backend: Debug + Send + Sync {
    /// `VFIO_DEVICE_GET_INFO`. It comes before any other call: some kernel drivers answer
    /// `VFIO_DEVICE_GET_IRQ_INFO` only afterwards.
    ///
    /// # Errors
    /// What the kernel says.
    fn device_info(&self) -> io::Result<DeviceInfo>;

    /// `VFIO_DEVICE_GET_REGION_INFO` with its whole capability chain.
    ///
    /// # Errors
    /// `EINVAL` for an index that the device does not have; `InvalidData` with a
    /// [`ChainError`](crate::region::ChainError) inside for a malformed chain.
    fn region_info(&self, index: u32) -> io::Result<RegionInfo>;

    /// `VFIO_DEVICE_GET_IRQ_INFO`.
    ///
    /// # Errors
    /// `EINVAL` for an index that the device does not have.
    fn irq_info(&self, index: u32) -> io::Result<IrqInfo>;

    /// `pread(2)` on the device, at an offset that counts from the device's start
    /// ([`RegionInfo::offset`] plus the place in the region). Returns the bytes read.
    ///
    /// # Errors
    /// What the kernel driver says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// `pwrite(2)` on the device, at an offset as for [`Backend::read_at`]. Returns the bytes
    /// written.
    ///
    /// # Errors
    /// What the kernel driver says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// `mmap(2)` of the device, shared, at an offset as for [`Backend::read_at`]; offset and length
    /// in bytes, the offset page-aligned.
    ///
    /// # Errors
    /// What the kernel driver says; the caller falls back to [`Backend::read_at`].
    fn map(&self, offset: u64, length: usize, protection: Protection) -> io::Result<Mapping>;

    /// `VFIO_DEVICE_SET_IRQS`. Returns 0 when all vectors were set up, otherwise how many could be:
    /// then none is.
    ///
    /// # Errors
    /// `EINVAL` for what the device does not have; `ENOTTY` for what its kernel driver does not do.
    fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        let _ = request;
        Err(unsupported())
    }

    /// `VFIO_DEVICE_FEATURE`: `flags` is the feature's number with the `GET`, `SET` and `PROBE` bits,
    /// `data` what the feature reads and writes. Not for features whose data holds descriptors or
    /// addresses.
    ///
    /// # Errors
    /// `ENOTTY` for a feature that the device does not have.
    fn feature(&self, flags: u32, data: &mut [u8]) -> io::Result<()> {
        let _ = (flags, data);
        Err(unsupported())
    }

    /// `VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE`: asks the device to go to a migration state
    /// (`enum vfio_device_mig_state`). Where the state has a data stream, its descriptor comes back.
    ///
    /// # Errors
    /// `ENOTTY` when the device cannot migrate, `EINVAL` when it cannot go to the state.
    fn set_migration_state(&self, state: u32) -> io::Result<Option<OwnedFd>> {
        let _ = state;
        Err(unsupported())
    }

    /// The address space that the device is in, if whoever opened it knows one.
    fn address_space(&self) -> Option<AddressSpace> {
        None
    }

    /// `VFIO_MIG_GET_PRECOPY_INFO` on the data that [`Backend::set_migration_state`] gave: what is left
    /// to read of it while the device runs.
    ///
    /// # Errors
    /// `EINVAL` outside of `PRE_COPY` and `PRE_COPY_P2P`, `ENODEV` for data of a transfer that has ended,
    /// `ENOTTY` when the device does not have these states.
    fn precopy_info(&self, stream: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
        let _ = stream;
        Err(unsupported())
    }

    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_START`: logs the writes of the device to these ranges, by pages
    /// of this size if it can. Returns the size that it takes. The ranges are whole pages and do not
    /// overlap. [`Backend::feature`] ends the log.
    ///
    /// # Errors
    /// `ENOTTY` when the device has no log; `E2BIG` for more ranges than it can tell apart.
    fn start_dma_log(&self, page_size: u64, ranges: &[IovaRange]) -> io::Result<u64> {
        let _ = (page_size, ranges);
        Err(unsupported())
    }

    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT`: the pages of a range that were written, and forgets
    /// them. Bit 0 of word 0 is the first page; words that are not there are 0.
    ///
    /// # Errors
    /// `ENOTTY` when the device has no log; `EINVAL` when it does not run. What was written is lost
    /// then, as the kernel has it.
    fn read_dma_log(&self, page_size: u64, range: IovaRange) -> io::Result<Vec<u64>> {
        let _ = (page_size, range);
        Err(unsupported())
    }

    /// `VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP`: the eventfd is signalled when the device wakes
    /// up.
    ///
    /// # Errors
    /// `ENOTTY` when the device has no low power, `EINVAL` when it is there already.
    fn enter_low_power(&self, wake_up: BorrowedFd<'_>) -> io::Result<()> {
        let _ = wake_up;
        Err(unsupported())
    }

    /// `VFIO_DEVICE_IOEVENTFD`: writes a value whenever the eventfd is signalled; `None` ends that.
    ///
    /// # Errors
    /// `ENOTTY` when the device does not do it, `EEXIST` when it is done already, `ENODEV` when it is
    /// to end and was not done.
    fn set_event_write(
        &self,
        write: EventWriteRequest,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let _ = (write, eventfd);
        Err(unsupported())
    }

    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`: the devices that a reset of the bus or slot reaches.
    ///
    /// # Errors
    /// `ENODEV` when neither can be reset, `ENOTTY` when the device is no PCI device, `EAGAIN` when
    /// devices came or went meanwhile.
    fn hot_reset_info(&self) -> io::Result<HotResetInfo> {
        Err(unsupported())
    }

    /// `VFIO_DEVICE_PCI_HOT_RESET`, with the groups of all devices that it reaches, and with none where
    /// an iommufd owns them.
    ///
    /// # Errors
    /// `EINVAL` when not all devices are owned, `EAGAIN` or `EBUSY` while one is locked.
    fn hot_reset(&self, groups: &[BorrowedFd<'_>]) -> io::Result<()> {
        let _ = groups;
        Err(unsupported())
    }

    /// The IOMMU group that the device was opened by; `None` for a device of an iommufd, one that
    /// somebody else opened, and one in software.
    fn group(&self) -> Option<OpenGroup<'_>> {
        None
    }

    /// The device's descriptor, if there is one behind it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// `VFIO_DEVICE_RESET`.
    ///
    /// # Errors
    /// `ENOTTY` or `EINVAL` when the device cannot be reset, `EAGAIN` while it is locked.
    fn reset(&self) -> io::Result<()>;
}

/// An open IOMMU group, which shows that its devices are owned (`VFIO_DEVICE_PCI_HOT_RESET`).
#[derive(Debug, Clone, Copy)]
pub struct OpenGroup<'a> {
    /// Its number.
    pub number: u32,
    /// Its descriptor.
    pub descriptor: BorrowedFd<'a>,
}

fn unsupported() -> io::Error {
    Errno::NOTTY.into()
}
