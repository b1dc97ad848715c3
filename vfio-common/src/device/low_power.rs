//! Low power, and what wakes a device up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::{Device, Feature, FeatureError, FeatureUse};
use crate::eventfd::EventFd;

impl Device {
    /// Lets the device go to low power, until [`Device::exit_low_power`] or the next access to it,
    /// which wakes it up and lets it go again: `VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY`, Linux 6.1.
    /// Access to mapped memory fails meanwhile: no window may be used.
    ///
    /// # Errors
    /// [`FeatureError::Unsupported`] when the device has no such feature, [`FeatureError::Failed`]
    /// when the kernel refuses, which it does for a device that is there already.
    pub fn enter_low_power(&self) -> Result<(), FeatureError> {
        self.set_feature(Feature::LOW_POWER_ENTRY)
    }

    /// Brings the device back from low power: `VFIO_DEVICE_FEATURE_LOW_POWER_EXIT`, Linux 6.1.
    ///
    /// # Errors
    /// [`FeatureError::Unsupported`] when the device has no such feature, [`FeatureError::Failed`]
    /// when the kernel refuses.
    pub fn exit_low_power(&self) -> Result<(), FeatureError> {
        self.set_feature(Feature::LOW_POWER_EXIT)
    }

    /// As [`Device::enter_low_power`], once: what wakes the device up keeps it awake and signals the
    /// [`WakeUp`] (`VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP`, Linux 6.1). The host does, for a
    /// need of its own or for an event of the device, and every call of this program on the device,
    /// [`Device::exit_low_power`] too.
    ///
    /// The device goes to low power a little after this returns. What comes earlier does not wake it up
    /// and does not keep it from going, but for [`Device::exit_low_power`]. Mapped memory faults until the
    /// wake-up or the exit: no window may be used.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn f(device: &vfio_common::device::Device) -> Result<(), Box<dyn std::error::Error>> {
    /// let wake_up = device.enter_low_power_with_wake_up()?;
    /// if !wake_up.wait(Some(Duration::from_secs(60)))? {
    ///     device.exit_low_power()?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`LowPowerError::Feature`] as for [`Device::enter_low_power`], [`LowPowerError::EventFd`] when no
    /// eventfd can be had.
    pub fn enter_low_power_with_wake_up(&self) -> Result<WakeUp, LowPowerError> {
        let device = self.shared().name.clone();
        let eventfd = EventFd::new();
        let eventfd =
            eventfd.map_err(|source| LowPowerError::EventFd { device: device.clone(), source })?;
        self.shared().backend.enter_low_power(eventfd.as_fd()).map_err(|source| {
            let feature = Feature::LOW_POWER_ENTRY_WITH_WAKEUP;
            self.feature_error(feature, FeatureUse::Set, source)
        })?;
        Ok(WakeUp { device, eventfd })
    }
}

/// Tells when a device has woken up from low power: the eventfd of
/// `struct vfio_device_low_power_entry_with_wakeup`. It does not keep the device open, and dropping it
/// wakes nothing.
///
/// Through [`AsFd`] it goes into `poll`, `epoll`, or what an event loop takes: it is readable when the
/// device has woken up.
#[derive(Debug)]
pub struct WakeUp {
    device: Arc<str>,
    eventfd: EventFd,
}

impl WakeUp {
    /// Waits until the device wakes up, at most as long as `timeout` says; `None` waits for ever. Returns
    /// whether it did. It is told once.
    ///
    /// # Errors
    /// [`LowPowerError::Wait`] when the kernel refuses to wait.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, LowPowerError> {
        self.told(self.eventfd.wait(timeout))
    }

    /// Whether the device has woken up since this was asked last. It does not wait.
    ///
    /// # Errors
    /// [`LowPowerError::Wait`] when the kernel refuses.
    pub fn try_read(&self) -> Result<bool, LowPowerError> {
        self.told(self.eventfd.try_read())
    }

    fn told(&self, count: io::Result<Option<u64>>) -> Result<bool, LowPowerError> {
        let device = || self.device.clone();
        let count = count.map_err(|source| LowPowerError::Wait { device: device(), source })?;
        Ok(count.is_some())
    }
}

impl AsFd for WakeUp {
    /// The eventfd, non-blocking.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// A device did not go to low power, or cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowPowerError {
    /// The kernel refused, or has no such feature.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// No eventfd could be had.
    #[error("cannot make an eventfd for the wake-up of {device}: raise the limit of open files")]
    EventFd {
        /// The device's name.
        device: Arc<str>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The eventfd could not be waited for or read.
    #[error("cannot wait for the wake-up of {device}")]
    Wait {
        /// The device's name.
        device: Arc<str>,
        /// What the kernel said.
        source: io::Error,
    },
}
