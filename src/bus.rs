//! What the program says of each bus and its devices.

use std::fmt;

use mdev_bus::Mdev;
use pci_bus::Pci;
use serde::Serialize;
use vfio_common::bus::{BusType, PlugError, ScanReport};

use crate::arguments::Device;
use crate::failure::{Failure, left_out};
use crate::session::Session;

/// A bus of which the program shows devices.
pub(crate) trait Shown: BusType {
    /// What names its devices.
    const NAMES: &'static str;

    fn name(address: &Self::Address) -> Name;

    /// Why one of its devices could not be found or opened.
    fn failure(error: PlugError) -> Failure;
}

/// What names a device, under the key that it has in JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    Uuid(String),
    Address(String),
}

impl Name {
    pub(crate) fn of(device: &Device) -> Self {
        match device {
            Device::Mdev(address) => Mdev::name(address),
            Device::Pci(address) => Pci::name(address),
        }
    }

    /// What kind of name it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Uuid(_) => "uuid",
            Self::Address(_) => "address",
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Uuid(name) | Self::Address(name) => name,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Shown for Mdev {
    const NAMES: &'static str = "a UUID";

    fn name(address: &mdev_bus::Address) -> Name {
        Name::Uuid(address.to_string())
    }

    fn failure(error: PlugError) -> Failure {
        error.into()
    }
}

impl Shown for Pci {
    const NAMES: &'static str = "a PCI address";

    fn name(address: &pci_bus::Address) -> Name {
        Name::Address(address.to_string())
    }

    fn failure(error: PlugError) -> Failure {
        match error {
            PlugError::NoDevice { .. } => Failure::NoFunction(error),
            _ => Failure::Plug(error),
        }
    }
}

/// What a scan left out: devices that could not be read, and what is no device.
pub(crate) fn left_out_of<B: Shown>(
    session: &Session,
    scan: &ScanReport<B>,
) -> (Vec<String>, Vec<String>) {
    let failed = scan.failed.iter();
    let failed = failed.map(|(address, error)| format!("{address}: {}", left_out(error)));
    let directory = session.host.sysfs_root().join(B::DEVICES);
    let ignored = scan.ignored.iter().map(|name| {
        format!(
            "{name:?} in {} is not {} as the kernel writes it: it is left out",
            directory.display(),
            B::NAMES
        )
    });
    (failed.collect(), ignored.collect())
}
