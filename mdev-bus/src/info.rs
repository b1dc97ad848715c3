//! What sysfs says of a mediated device.

use std::path::{Path, PathBuf};

use vfio_common::bus::BusType as _;
use vfio_common::sysfs::{Host, SysfsError};

use crate::{Address, DeviceApi, Mdev};

/// The identity of a mediated device, read from sysfs when it was scanned. No descriptor is behind
/// it. What is `None` was not there: a device that is being created or removed lacks its type, one
/// without a kernel driver lacks its group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MdevInfo {
    /// Its UUID.
    pub address: Address,
    /// The name of the device it is a part of, as below `/sys/class/mdev_bus`.
    pub parent: String,
    /// Its type, as below the parent's `mdev_supported_types`.
    pub mdev_type: Option<String>,
    /// What kind of VFIO device it is.
    pub device_api: Option<DeviceApi>,
    /// Its IOMMU group, by number. Numbers are given again when a device is removed.
    pub iommu_group: Option<u32>,
    /// The kernel driver that is bound to it.
    pub kernel_driver: Option<String>,
}

impl MdevInfo {
    /// Its directory, below the root of sysfs.
    #[must_use]
    pub fn sysfs_path(&self) -> PathBuf {
        Path::new(crate::bus::DEVICES).join(self.address.to_string())
    }

    /// The name of its VFIO character device, as in `/dev/vfio/devices/<name>`; `None` on kernels
    /// before 6.1 and when no kernel driver is bound. The name is there also on kernels that are
    /// built without the character device.
    ///
    /// # Errors
    /// [`SysfsError`] when its directory is there and cannot be read.
    pub fn vfio_dev(&self, host: &Host) -> Result<Option<String>, SysfsError> {
        Mdev::target(self).vfio_dev(host)
    }
}
