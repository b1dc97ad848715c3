//! A device's entry in sysfs: what it is, and what it is bound to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::BindingError;
use super::kernel::Kernel;
use crate::route::is_of_vfio;
use crate::sysfs::{Dir, SysfsError};

/// How a device is bound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The kernel driver that has it.
    pub driver: Option<String>,
    /// The only driver that may have it (`driver_override`); `None` leaves it to the drivers' tables.
    pub driver_override: Option<String>,
}

impl State {
    /// With which override the kernel lets the driver take the device: one that names another driver
    /// keeps it out.
    pub(super) fn override_to_bind(&self) -> &Option<String> {
        let lets_in = self.driver.is_none() || self.driver_override.is_none();
        if lets_in { &self.driver_override } else { &self.driver }
    }
}

/// By what a device is told from another one that has its address later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The attributes that the bus names ([`DriverBus::IDENTITY`](super::DriverBus::IDENTITY)).
    #[serde(flatten)]
    attributes: BTreeMap<String, Option<String>>,
    /// The inode number of its directory: a device that comes back has a new one.
    inode: Option<u64>,
}

/// A device that is there.
#[derive(Debug)]
pub(super) struct DeviceDir {
    pub(super) address: String,
    /// Where sysfs has it, below its root.
    pub(super) place: PathBuf,
    pub(super) dir: Dir,
}

impl DeviceDir {
    /// `None` when it is not there.
    pub(super) fn find(kernel: &Kernel, address: &str) -> Result<Option<Self>, SysfsError> {
        let place = kernel.of_bus("devices").join(address);
        let dir = kernel.host.sysfs_dir(&place)?;
        Ok(dir.map(|dir| Self { address: address.to_owned(), place, dir }))
    }

    pub(super) fn open(kernel: &Kernel, address: &str) -> Result<Self, BindingError> {
        let place = || kernel.host.sysfs_root().join(kernel.of_bus("devices")).join(address);
        let missing = || BindingError::NoDevice { address: address.to_owned(), place: place() };
        Self::find(kernel, address)?.ok_or_else(missing)
    }

    /// `attributes` are those of which one differs where the device does.
    pub(super) fn identity(&self, attributes: &[&str]) -> Result<Identity, SysfsError> {
        let read = |name: &&str| Ok(((*name).to_owned(), self.dir.read(name)?));
        let attributes = attributes.iter().map(read).collect::<Result<_, SysfsError>>()?;
        Ok(Identity { attributes, inode: self.dir.inode(".")? })
    }

    pub(super) fn driver(&self) -> Result<Option<String>, SysfsError> {
        self.dir.link_name("driver")
    }

    pub(super) fn iommu_group(&self) -> Result<Option<u32>, SysfsError> {
        let group = self.dir.link_name("iommu_group")?;
        Ok(group.and_then(|group| group.parse().ok()))
    }

    /// Whether `driver`, which has it, offers it through VFIO.
    pub(super) fn is_offered_by(&self, driver: &str) -> Result<bool, SysfsError> {
        Ok(is_of_vfio(driver) || self.dir.inode("vfio-dev")?.is_some())
    }
}
