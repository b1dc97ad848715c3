//! What stands behind a device: the kernel, or software.

use std::fmt::Debug;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{DeviceInfo, IrqInfo, IrqRequest};
use crate::iommu::AddressSpace;
use crate::mapping::{Mapping, Protection};
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

fn unsupported() -> io::Error {
    Errno::NOTTY.into()
}
