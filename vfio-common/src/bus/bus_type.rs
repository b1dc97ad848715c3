//! What a bus crate tells the engine about its bus.

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::{Debug, Display};

use super::Registration;
use crate::device::Device;
use crate::pci_config::PciIds;
use crate::route::Target;
use crate::sysfs::{Dir, SysfsError};

/// A kind of bus: how its devices are named, identified and matched. A type without values that
/// stands for the bus.
pub trait BusType: Debug + Send + Sync + Sized + 'static {
    /// The directory of its devices, below the root of sysfs (`bus/pci/devices`).
    const DEVICES: &'static str;

    /// What names a device on this bus, unique on a machine at one time.
    type Address: Clone + Debug + Display + Ord + Send + Sync;
    /// What sysfs says of a device: its identity, without any descriptor.
    type Info: Debug + Send + Sync;
    /// One line of a driver's id table.
    type Id: Debug + Sync + 'static;
    /// What is worth remembering from one device to the next within a scan.
    type Scanner: Debug + Default + Send;
    /// What the bus holds of a device from before it is offered to a driver until the driver is gone:
    /// its drop undoes what [`BusType::enable`] did. `()` where nothing has to be done.
    type Enabled: Send + Sync + 'static;

    /// The address that an entry of [`BusType::DEVICES`] stands for; `None` if it is not a device.
    fn address(entry: &OsStr) -> Option<Self::Address>;

    /// Reads what sysfs says of one device, in few system calls. `devices` is the open
    /// [`BusType::DEVICES`]. `None`: the device vanished.
    ///
    /// # Errors
    /// [`SysfsError`] when the device's entries are there and cannot be read.
    fn identify(
        scanner: &mut Self::Scanner,
        devices: &Dir,
        address: &Self::Address,
    ) -> Result<Option<Self::Info>, SysfsError>;

    /// Whether what is known of a device that is still there needs no reading anew. By default that
    /// is so if nothing keeps it from being opened: what does may have been mended.
    fn is_current(
        scanner: &mut Self::Scanner,
        devices: &Dir,
        address: &Self::Address,
        info: &Self::Info,
    ) -> bool {
        let _ = (scanner, devices, address);
        Self::fault(info).is_none()
    }

    /// What keeps a device from being opened, as far as its identity shows.
    fn fault(info: &Self::Info) -> Option<Fault>;

    /// What the opener needs to know of a device.
    fn target(info: &Self::Info) -> Target;

    /// The PCI ids of a device, where sysfs tells them. Then it need not be opened to be matched.
    fn pci_ids(info: &Self::Info) -> Option<PciIds> {
        let _ = info;
        None
    }

    /// Makes an open device ready for a driver.
    ///
    /// # Errors
    /// What went wrong; then nothing has changed, and the device is not offered to any driver.
    fn enable(info: &Self::Info, device: &Device) -> Result<Self::Enabled, EnableError>;

    /// Whether an id matches a device.
    fn matches(id: &Self::Id, info: &Self::Info, ids: DeviceIds) -> Match;

    /// The drivers that registered themselves in this program, in any order.
    fn registered() -> Vec<Registration<Self>>;
}

/// Why a bus could not make a device ready for a driver.
pub type EnableError = Box<dyn Error + Send + Sync>;

/// Why a device cannot be opened although it is there. Each is the second half of a sentence that
/// starts with the device's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is being created or removed: a moment later it is complete or gone.
    Unsettled(&'static str),
    /// Something must be done about it first.
    Unusable(Cow<'static, str>),
}

/// The PCI ids of a device, as far as they are known when an id is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceIds {
    /// The device is not open yet.
    Unread,
    /// The device is open and not a PCI function.
    NotPci,
    /// The device is open and these are its ids.
    Pci(PciIds),
}

/// The answer to whether an id matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It does not.
    No,
    /// It may: open the device, read its PCI ids, and ask again.
    AskDevice,
    /// It does.
    Yes(Specificity),
}

/// How closely an id describes a device. Of several drivers that match, the one with the higher
/// number is tried first; what the numbers mean is each bus's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Specificity(pub u32);
