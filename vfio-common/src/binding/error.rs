//! Why a device is not bound, unbound or restored.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use super::attributes::errno;
use super::{JournalError, Uses};
use crate::diagnosis::Holders;
use crate::sysfs::SysfsError;

/// A device was not bound, unbound or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// There is no such device.
    #[error("there is no device {address}: no {}", place.display())]
    NoDevice {
        /// Its address.
        address: String,
        /// Where it was looked for.
        place: PathBuf,
    },
    /// Sysfs does not have the bus, so it cannot be told what became of a device.
    #[error("there is no {}: mount sysfs there, or run this where the machine's sysfs is", place.display())]
    NoBus {
        /// Where the devices of the bus should be.
        place: PathBuf,
    },
    /// No driver can have this name.
    #[error("{driver:?} is no name of a driver: give one such as vfio-pci")]
    BadDriverName {
        /// The name.
        driver: String,
    },
    /// The driver is not there, or takes no devices by name.
    #[error("there is no driver {driver} that devices can be bound to: modprobe {driver}")]
    NoDriver {
        /// The driver.
        driver: String,
    },
    /// No driver of VFIO ever takes it.
    #[error("{address} {why}")]
    Unbindable {
        /// The device.
        address: String,
        /// What it is and what to do, as the second half of a sentence.
        why: Cow<'static, str>,
    },
    /// VFIO lets in groups only, and the device is in none.
    #[error(
        "{address} is in no IOMMU group: {}",
        if *is_iommu_off {
            "the IOMMU is off; switch it on in the firmware (VT-d, AMD-Vi) and on the kernel's command \
             line (intel_iommu=on)"
        } else {
            "no IOMMU is in front of it, so VFIO does not take it"
        }
    )]
    NoIommuGroup {
        /// The device.
        address: String,
        /// No device of this machine is in a group.
        is_iommu_off: bool,
    },
    /// Taking the device away would take something away that is in use.
    #[error("{address} is in use: {uses}; put an end to that, or force it")]
    InUse {
        /// The device.
        address: String,
        /// What is in use, and how to end that.
        uses: Uses,
    },
    /// The kernel would wait for whoever has the device open.
    #[error(
        "{address} cannot be taken from {driver}: {holders}; end it, or force it: the kernel then asks \
         for the device and waits"
    )]
    Held {
        /// The device.
        address: String,
        /// The driver of VFIO that it is bound to.
        driver: String,
        /// Who has it open.
        holders: Holders,
    },
    /// Only what VFIO has is unbound.
    #[error(
        "{address} is bound to {driver}, which does not offer it through VFIO: bind it to a driver that \
         does (vfio-pci), which takes it from there"
    )]
    NotOfVfio {
        /// The device.
        address: String,
        /// The driver that has it.
        driver: String,
    },
    /// The kernel refused a write.
    #[error("cannot {action}: {hint}")]
    Write {
        /// What was to be done.
        action: String,
        /// What it may lie in, and the way out.
        hint: &'static str,
        /// The attribute and the error.
        source: SysfsError,
    },
    /// The kernel has not finished. It goes on by itself, and a process that waits for it ends no earlier,
    /// killed or not.
    #[error(
        "the kernel has not finished to {action} after {} s: {}; it goes on by itself, and this process \
         ends no earlier; repeat this then",
        patience.as_secs(),
        holders.as_ref().map_or_else(
            || "its log (dmesg) may say why".to_owned(),
            |holders| format!("{holders}, and must close it"),
        )
    )]
    Waits {
        /// What was to be done.
        action: String,
        /// How long it was waited for.
        patience: Duration,
        /// Who has the device open, as far as is known.
        holders: Option<Holders>,
    },
    /// There was no thread to wait for the kernel in.
    #[error("cannot {action}: there is no thread for it")]
    NoThread {
        /// What was to be done.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The writes went well, and the device is bound otherwise.
    #[error(
        "{address} is {}: another program binds devices at the same time; see which (driverctl, \
         libvirt, udev), and try again",
        match driver {
            Some(driver) => format!("bound to {driver} now"),
            None => "without driver now".to_owned(),
        }
    )]
    TakenMeanwhile {
        /// The device.
        address: String,
        /// The driver that has it.
        driver: Option<String>,
    },
    /// A bind failed on the way, and was undone.
    #[error("{address} is not bound to {driver}, and is as it was")]
    Undone {
        /// The device.
        address: String,
        /// The driver that it was to be bound to.
        driver: String,
        /// What failed.
        source: Box<Self>,
    },
    /// A bind failed on the way, and so did undoing it.
    #[error(
        "{address} is not bound to {driver} and could not be put back ({undoing}): restore it when that \
         is mended"
    )]
    Halfway {
        /// The device.
        address: String,
        /// The driver that it was to be bound to.
        driver: String,
        /// Why it could not be put back.
        undoing: Box<Self>,
        /// What failed first.
        source: Box<Self>,
    },
    /// The driver that a device came from is not loaded any more.
    #[error(
        "{address} is without driver: {driver}, which had it, is not loaded any more; modprobe \
         {driver}, which takes it then, or restore it again"
    )]
    OriginGone {
        /// The device.
        address: String,
        /// The driver that it came from.
        driver: String,
    },
    /// What is recorded of devices cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Sysfs cannot be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
}

impl BindingError {
    pub(super) fn write(action: String, source: SysfsError) -> Self {
        let hint = match errno(&source) {
            Some(Errno::ACCESS | Errno::PERM) => "run as root",
            Some(Errno::ROFS) => "sysfs is mounted read-only here, as in most containers",
            Some(Errno::NODEV | Errno::NOENT) => {
                "it is gone, or was bound by somebody else meanwhile, or the driver does not take it"
            }
            Some(Errno::BUSY) => {
                "something of it is in use, such as its virtual functions (sriov_numvfs)"
            }
            _ => "the kernel's log (dmesg) says why",
        };
        Self::Write { action, hint, source }
    }
}
