//! What can go wrong with a device as a whole.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

/// A device could not tell about itself or do as told. Register accesses have an error of their
/// own, [`RegionError`](crate::region::RegionError).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// `VFIO_DEVICE_GET_INFO` failed.
    #[error("cannot read what kind of device {device} is")]
    Info {
        /// The device's name.
        device: Arc<str>,
        /// What the kernel said.
        source: io::Error,
    },
    /// `VFIO_DEVICE_GET_REGION_INFO` failed, for another reason than that there is no such region.
    #[error("cannot read the description of region {index} of {device}")]
    RegionInfo {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        index: u32,
        /// What the kernel said, or the [`ChainError`](crate::region::ChainError).
        source: io::Error,
    },
    /// `VFIO_DEVICE_GET_IRQ_INFO` failed, for another reason than that there is no such interrupt.
    #[error("cannot read the description of interrupt {index} of {device}")]
    IrqInfo {
        /// The device's name.
        device: Arc<str>,
        /// The interrupt.
        index: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// `VFIO_DEVICE_RESET` failed on a device that can be reset.
    #[error("cannot reset {device}{}", reset_hint(source))]
    Reset {
        /// The device's name.
        device: Arc<str>,
        /// What the kernel said.
        source: io::Error,
    },
}

fn reset_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN) => {
            ": another reset, or a change of its power state, keeps it busy; try again"
        }
        _ => "",
    }
}
