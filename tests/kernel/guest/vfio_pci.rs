//! PCI devices of the machine under vfio-pci, for the length of a test.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use vfio_common::device::Device;
use vfio_common::pci_config::Command;
use vfio_common::route::{Opener as _, Target};

use crate::machine;

/// The folder of a PCI device in sysfs.
pub(crate) fn directory(address: impl Display) -> PathBuf {
    PathBuf::from("/sys/bus/pci/devices").join(address.to_string())
}

/// What an opener wants to know of a PCI device.
pub(crate) fn target(address: &str) -> Target {
    let sysfs = format!("bus/pci/devices/{address}").into();
    Target { name: address.to_owned(), sysfs }
}

/// Sets bits of the command register, besides those that are set.
pub(crate) fn switch_on(device: &Device, command: Command) {
    let config = device.pci_config().unwrap().unwrap();
    config.set_command(config.command().unwrap() | command).unwrap();
}

/// A physical function with two virtual functions, until this is dropped.
pub(crate) struct Split(&'static str);

impl Split {
    pub(crate) fn of(physical: &'static str) -> Self {
        fs::write(directory(physical).join("sriov_numvfs"), "2").unwrap();
        Self(physical)
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        let _ = fs::write(directory(self.0).join("sriov_numvfs"), "0");
    }
}

/// A PCI device bound to vfio-pci until it is dropped.
pub(crate) struct Bound(&'static str);

impl Bound {
    pub(crate) fn new(address: &'static str) -> Self {
        let bound = Self(address);
        if bound.path("driver").exists() {
            fs::write(bound.path("driver/unbind"), address).unwrap();
        }
        fs::write(bound.path("driver_override"), "vfio-pci").unwrap();
        fs::write("/sys/bus/pci/drivers_probe", address).unwrap();
        bound
    }

    /// A file of its folder in sysfs.
    pub(crate) fn path(&self, attribute: &str) -> PathBuf {
        directory(self.0).join(attribute)
    }

    /// Opens it by the route of this run, in an address space of its own.
    pub(crate) fn open(&self) -> Device {
        machine::vfio().open(&self.target()).unwrap()
    }

    /// What an opener wants to know of it.
    pub(crate) fn target(&self) -> Target {
        target(self.0)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // It is gone already where a test unbound it itself.
        let _ = fs::write(self.path("driver/unbind"), self.0);
        let _ = fs::write(self.path("driver_override"), "\n");
        // Back to the driver that the kernel had for it.
        let _ = fs::write("/sys/bus/pci/drivers_probe", self.0);
    }
}
