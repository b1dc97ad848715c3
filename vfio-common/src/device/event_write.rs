//! Writes to a device that an eventfd sets off, without a system call of the program.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::handle::is_errno;
use super::{Device, DeviceError};
use crate::process::Doer;

/// A write that an eventfd sets off: `struct vfio_device_ioeventfd` (`include/uapi/linux/vfio.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventWriteRequest {
    /// Where, from the device's start.
    pub offset: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub width: u8,
    /// What, in the byte order of the host; the kernel writes it little-endian.
    pub value: u64,
}

impl Device {
    /// Lets the kernel write `value`, of `width` bytes, to a register whenever `eventfd` is signalled,
    /// until the [`EventWrite`] is dropped (`VFIO_DEVICE_IOEVENTFD`, Linux 4.17). vfio-pci does it for
    /// memory and ports of a device, not over its MSI-X table, and for at most 1000 registers and values
    /// a device. The kernel keeps the eventfd.
    ///
    /// ```no_run
    /// use std::os::fd::AsFd as _;
    ///
    /// use rustix::event::{EventfdFlags, eventfd};
    ///
    /// # fn f(device: &vfio_common::device::Device) -> Result<(), Box<dyn std::error::Error>> {
    /// let doorbell = eventfd(0, EventfdFlags::CLOEXEC)?;
    /// let _rings = device.write_on_event(0, 0x1000, 4, 7, doorbell.as_fd())?;
    /// // Whoever has the eventfd, in any process: 7 goes to the register at 0x1000 of region 0.
    /// rustix::io::write(&doorbell, &1u64.to_ne_bytes())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`EventWriteError::Invalid`] when the region has no such register, [`EventWriteError::Unsupported`]
    /// when the device's kernel driver does not do it, [`EventWriteError::Failed`] when it refuses.
    pub fn write_on_event(
        &self,
        region: u32,
        offset: u64,
        width: u8,
        value: u64,
        eventfd: BorrowedFd<'_>,
    ) -> Result<EventWrite, EventWriteError> {
        let device = || self.shared().name.clone();
        let info = self.region_info(region)?;
        let place = info.filter(|info| {
            let end = offset.checked_add(width.into());
            matches!(width, 1 | 2 | 4 | 8)
                && offset.is_multiple_of(width.into())
                && end.is_some_and(|end| end <= info.size)
        });
        let place = place.and_then(|info| info.offset.checked_add(offset));
        let Some(place) = place else {
            return Err(EventWriteError::Invalid { device: device(), region, offset, width });
        };
        // The kernel compares the value when it is to end, so what is behind its width must not differ.
        let value = value & u64::MAX.checked_shr(64 - 8 * u32::from(width)).unwrap_or_default();
        let request = EventWriteRequest { offset: place, width, value };
        let set = self.shared().backend.set_event_write(request, Some(eventfd));
        set.map_err(|source| {
            if is_errno(&source, Errno::NOTTY) {
                return EventWriteError::Unsupported { device: device() };
            }
            EventWriteError::Failed { device: device(), region, offset, source }
        })?;
        Ok(EventWrite { device: self.clone(), request, doer: Doer::here() })
    }
}

/// A write that an eventfd sets off, until this is dropped. It keeps the device open.
#[derive(Debug)]
#[must_use = "the write is not set off any more when this is dropped"]
pub struct EventWrite {
    device: Device,
    request: EventWriteRequest,
    /// Who set it up.
    doer: Doer,
}

impl Drop for EventWrite {
    fn drop(&mut self) {
        if !self.doer.is_here() {
            return;
        }
        let ended = self.device.shared().backend.set_event_write(self.request, None);
        if let Err(error) = ended {
            tracing::warn!(device = %self.device.name(), %error, "an eventfd still sets off a write");
        }
    }
}

/// An eventfd does not set off a write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventWriteError {
    /// The region cannot be described.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no such register.
    #[error(
        "region {region} of {device} has no register of {width} bytes at {offset:#x}: it must be whole, \
         1, 2, 4 or 8 bytes wide and at a multiple of that"
    )]
    Invalid {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        region: u32,
        /// Where in the region.
        offset: u64,
        /// Bytes.
        width: u8,
    },
    /// The device's kernel driver does not do it.
    #[error("the kernel driver of {device} writes nothing for an eventfd: wait for it and write")]
    Unsupported {
        /// The device's name.
        device: Arc<str>,
    },
    /// The kernel refused.
    #[error(
        "no eventfd sets off a write at {offset:#x} of region {region} of {device}{}",
        hint(source)
    )]
    Failed {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        region: u32,
        /// Where in the region.
        offset: u64,
        /// What the kernel said.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::EXIST) => ": an eventfd sets off this write already, use that",
        Some(Errno::NOSPC) => ": the device has as many as it can, drop another first",
        Some(Errno::INVAL) => ": the kernel does it only for BARs, and not over the MSI-X table",
        _ => "",
    }
}
