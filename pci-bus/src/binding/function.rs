//! A function's entry in sysfs: what it is, and what it is bound to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vfio_common::route::is_of_vfio;
use vfio_common::sysfs::{Dir, Host, SysfsError};

use super::BindingError;
use crate::Address;

/// How a function is bound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The kernel driver that has it.
    pub driver: Option<String>,
    /// The only driver that may have it (`driver_override`); `None` leaves it to the drivers' tables.
    pub driver_override: Option<String>,
}

impl State {
    /// With which override the kernel lets the driver take the function: one that names another driver
    /// keeps it out.
    pub(super) fn override_to_bind(&self) -> &Option<String> {
        let lets_in = self.driver.is_none() || self.driver_override.is_none();
        if lets_in { &self.driver_override } else { &self.driver }
    }
}

/// By what a function is told from another one that has its address later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    vendor: Option<String>,
    device: Option<String>,
    subsystem_vendor: Option<String>,
    subsystem_device: Option<String>,
    /// The inode number of its directory: a device that comes back has a new one.
    inode: Option<u64>,
}

/// A function that is there.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) address: Address,
    pub(super) dir: Dir,
}

/// A function that another one has made of itself (SR-IOV), and the driver that it is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VirtualFunction {
    pub(super) name: String,
    pub(super) driver: Option<String>,
}

/// Where sysfs has a function, below its root.
pub(super) fn place(address: Address) -> PathBuf {
    PathBuf::from(format!("bus/pci/devices/{address}"))
}

impl Function {
    /// `None` when it is not there.
    pub(super) fn find(host: &Host, address: Address) -> Result<Option<Self>, SysfsError> {
        let dir = host.sysfs_dir(place(address))?;
        Ok(dir.map(|dir| Self { address, dir }))
    }

    pub(super) fn open(host: &Host, address: Address) -> Result<Self, BindingError> {
        let place = || host.sysfs_root().join(place(address));
        Self::find(host, address)?
            .ok_or_else(|| BindingError::NoFunction { address, place: place() })
    }

    pub(super) fn identity(&self) -> Result<Identity, SysfsError> {
        Ok(Identity {
            vendor: self.dir.read("vendor")?,
            device: self.dir.read("device")?,
            subsystem_vendor: self.dir.read("subsystem_vendor")?,
            subsystem_device: self.dir.read("subsystem_device")?,
            inode: self.dir.inode(".")?,
        })
    }

    pub(super) fn driver(&self) -> Result<Option<String>, SysfsError> {
        self.dir.link_name("driver")
    }

    /// A bridge has buses of its own, and drivers of VFIO take only functions of header type 0.
    pub(super) fn is_bridge(&self) -> Result<bool, SysfsError> {
        let class = self.dir.read("class")?;
        Ok(class.is_some_and(|class| class.starts_with("0x0604"))
            || self.dir.inode("secondary_bus_number")?.is_some())
    }

    pub(super) fn iommu_group(&self) -> Result<Option<u32>, SysfsError> {
        let group = self.dir.link_name("iommu_group")?;
        Ok(group.and_then(|group| group.parse().ok()))
    }

    /// Whether `driver`, which has it, offers it through VFIO.
    pub(super) fn is_offered_by(&self, driver: &str) -> Result<bool, SysfsError> {
        Ok(is_of_vfio(driver) || self.dir.inode("vfio-dev")?.is_some())
    }

    pub(super) fn virtual_functions(&self) -> Result<Vec<VirtualFunction>, SysfsError> {
        let mut functions = Vec::new();
        for entry in self.dir.entries()? {
            let link = entry.name.to_string_lossy();
            if link.starts_with("virtfn")
                && let Some(name) = self.dir.link_name(&*link)?
            {
                let driver = self.dir.link_name(format!("{link}/driver"))?;
                functions.push(VirtualFunction { name, driver });
            }
        }
        functions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(functions)
    }
}
