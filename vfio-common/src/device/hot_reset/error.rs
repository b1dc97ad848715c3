//! What can go wrong with a hot reset.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Affected, HotResetInfo};

/// A hot reset cannot be, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HotResetError {
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO` failed, for another reason than that there is no such reset.
    #[error("cannot read which devices a hot reset of {device} would reset")]
    Info {
        /// The device's name.
        device: Arc<str>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The reset would reach devices that are not this program's.
    #[error(
        "a hot reset of {device} would also reset {}, not owned by this program: bind {it} to vfio-pci, \
         open {it} through the same `Vfio`, and pass {it} to the reset",
        names(missing), it = if missing.len() == 1 { "it" } else { "them" }
    )]
    NotOwned {
        /// The device's name.
        device: Arc<str>,
        /// The devices that are not owned.
        missing: Vec<Affected>,
    },
    /// `VFIO_DEVICE_PCI_HOT_RESET` failed.
    #[error("cannot hot reset {device} with {}{}", names(&info.devices), hint(source))]
    Failed {
        /// The device's name.
        device: Arc<str>,
        /// What the reset would have reached.
        info: HotResetInfo,
        /// What the kernel said.
        source: io::Error,
    },
}

fn names(devices: &[Affected]) -> String {
    devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The kernel wants more than ownership, and says `EINVAL` for all of it.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL) => {
            ": one of them is not bound to vfio-pci, or not owned any more; bind them all"
        }
        Some(Errno::AGAIN | Errno::BUSY) => ": one of them is in use at this moment, try again",
        // The reset was made, and the kernel waited in vain for one of them to answer.
        Some(Errno::NOTTY) => ": one of them did not come back from it, look into the kernel's log",
        _ => "",
    }
}
