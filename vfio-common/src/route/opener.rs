//! What opens devices, and what it needs to know of one.

use std::fmt::Debug;
use std::path::PathBuf;

use super::{OpenError, is_iommu_off};
use crate::device::Device;
use crate::sysfs::{Host, SysfsError};

/// Whatever opens devices: the kernel ([`Vfio`](super::Vfio)), or software.
pub trait Opener: Debug + Send + Sync {
    /// Opens a device. What it needs besides is opened with it, and shared where it must be.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing stays open.
    fn open(&self, target: &Target) -> Result<Device, OpenError>;
}

/// A device that can be opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The name by which its IOMMU group knows it: the last part of its path in sysfs.
    pub name: String,
    /// Its directory, below the root of sysfs.
    pub sysfs: PathBuf,
}

impl Target {
    /// The name of the device's character device, as in `/dev/vfio/devices/<name>`; `None` before
    /// Linux 6.1 and when no kernel driver of VFIO is bound. The name is there also on kernels that are
    /// built without the character device.
    ///
    /// # Errors
    /// [`SysfsError`] when its directory is there and cannot be read.
    pub fn vfio_dev(&self, host: &Host) -> Result<Option<String>, SysfsError> {
        let Some(dir) = host.sysfs_dir(self.sysfs.join("vfio-dev"))? else { return Ok(None) };
        let entries = dir.entries()?.into_iter();
        let names = entries.filter_map(|entry| entry.name.into_string().ok());
        Ok(names.filter(|name| name.starts_with("vfio")).min())
    }

    /// The number of the IOMMU group that the device is in now. Ask each time: numbers are given again
    /// when a device is removed.
    ///
    /// # Errors
    /// [`OpenError::NoDevice`] when the device is not there, [`OpenError::NoGroup`] when it is in no
    /// group, [`OpenError::IommuOff`] when there is no group of an IOMMU at all, [`OpenError::Sysfs`] when
    /// sysfs cannot be read.
    pub fn iommu_group(&self, host: &Host) -> Result<u32, OpenError> {
        let device = || self.name.clone();
        let sysfs = |source| OpenError::Sysfs { device: device(), source };
        let dir = host.sysfs_dir(&self.sysfs).map_err(sysfs)?;
        let dir = dir.ok_or_else(|| OpenError::NoDevice { device: device() })?;
        let link = dir.link_name("iommu_group").map_err(sysfs)?;
        let number = link.and_then(|name| name.parse().ok());
        if let Some(number) = number {
            return Ok(number);
        }
        match is_iommu_off(host).map_err(sysfs)? {
            true => Err(OpenError::IommuOff { device: device() }),
            false => Err(OpenError::NoGroup { device: device() }),
        }
    }
}
