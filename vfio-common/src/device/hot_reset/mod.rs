//! The reset of a PCI device together with all that share its bus or slot.

mod affected;
mod error;

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

pub use affected::{Affected, HotResetInfo, Ownership};
pub use error::HotResetError;

use super::handle::{is_errno, while_locked};
use super::{Device, OpenGroup, ResetOutcome};

impl Device {
    /// The devices that a hot reset of this one would reset, itself among them; `None` when neither its
    /// bus nor its slot can be reset, as for a device on the root bus, or it is no PCI device
    /// (`VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`).
    ///
    /// # Errors
    /// [`HotResetError::Info`] when there are such devices and the kernel cannot tell which.
    pub fn hot_reset_info(&self) -> Result<Option<HotResetInfo>, HotResetError> {
        let mut info = None;
        let asked = while_locked(|| {
            info = Some(self.shared().backend.hot_reset_info()?);
            Ok(())
        });
        match asked {
            Ok(()) => Ok(info),
            Err(error) if is_errno(&error, Errno::NODEV) || is_errno(&error, Errno::NOTTY) => {
                Ok(None)
            }
            Err(source) => Err(HotResetError::Info { device: self.shared().name.clone(), source }),
        }
    }

    /// Resets the device by resetting its bus or slot, and with it every device there
    /// (`VFIO_DEVICE_PCI_HOT_RESET`). It works where [`Device::reset`] does not, and goes deeper.
    ///
    /// All devices there must be bound to a VFIO kernel driver and owned by this program. On the cdev
    /// route they are when they, or others of their IOMMU groups, were opened by the same
    /// [`Vfio`](crate::route::Vfio). On the group route, they are when their group is that of this device
    /// or of one of `with`.
    ///
    /// Mapped memory of all these devices may fault while the reset runs: no other thread may access
    /// them then. Their registers are as after power-on, but for the configuration space, which the
    /// kernel restores.
    ///
    /// ```no_run
    /// use vfio_common::device::{Device, HotResetError, ResetOutcome};
    ///
    /// // Two functions of one card.
    /// fn begin_anew(first: &Device, second: &Device) -> Result<(), HotResetError> {
    ///     match first.hot_reset(&[second])? {
    ///         ResetOutcome::Done => println!("both are as after power-on"),
    ///         ResetOutcome::Unsupported => println!("neither their bus nor their slot can be reset"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`HotResetError::NotOwned`] when some devices are not owned, and then nothing was reset;
    /// [`HotResetError::Failed`] when the kernel refuses or fails.
    pub fn hot_reset(&self, with: &[&Self]) -> Result<ResetOutcome, HotResetError> {
        let Some(info) = self.hot_reset_info()? else { return Ok(ResetOutcome::Unsupported) };
        let device = || self.shared().name.clone();
        let mut groups: Vec<OpenGroup<'_>> = [self]
            .iter()
            .chain(with)
            .filter_map(|device| device.shared().backend.group())
            .collect();
        // One descriptor a group, and only of those that the reset reaches: the kernel counts.
        groups.sort_unstable_by_key(|group| group.number);
        groups.dedup_by_key(|group| group.number);
        groups.retain(|group| info.has_group(group.number));
        let owned = |affected: &&Affected| match affected.owner {
            Ownership::Group(number) => groups.iter().any(|group| group.number == number),
            Ownership::Iommufd(_) | Ownership::SameGroup => true,
            Ownership::NotOwned => false,
        };
        let missing: Vec<_> =
            info.devices.iter().filter(|affected| !owned(affected)).copied().collect();
        if !missing.is_empty() {
            return Err(HotResetError::NotOwned { device: device(), missing });
        }
        let groups: Vec<BorrowedFd<'_>> = groups.iter().map(|group| group.descriptor).collect();
        while_locked(|| self.shared().backend.hot_reset(&groups))
            .map(|()| ResetOutcome::Done)
            .map_err(|source| HotResetError::Failed { device: device(), info, source })
    }
}
