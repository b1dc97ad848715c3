//! The mediated device bus, as the engine sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use vfio_common::bus::{BusType, DeviceIds, EnableError, Fault, Match, Registration};
use vfio_common::device::Device;
use vfio_common::route::Target;
use vfio_common::sysfs::{Dir, SysfsError, base_name};

use crate::registered::Registered;
use crate::{Address, DeviceApi, MdevId, MdevInfo};

/// Where the kernel lists mediated devices, below the root of sysfs.
pub(crate) const DEVICES: &str = "bus/mdev/devices";

/// The mediated device bus, `/sys/bus/mdev`. It has no values: it is the parameter of the engine's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mdev {}

/// The interfaces of the types met in a scan: read once a type, not once a device.
#[derive(Debug, Default)]
pub struct Types {
    api_of: BTreeMap<(PathBuf, String), Option<DeviceApi>>,
}

impl BusType for Mdev {
    const DEVICES: &'static str = DEVICES;

    type Address = Address;
    type Info = MdevInfo;
    type Id = MdevId;
    type Scanner = Types;
    type Enabled = ();

    fn address(entry: &OsStr) -> Option<Address> {
        let name = entry.to_str()?;
        // The kernel writes lower case; what it would not write could not be read back either.
        name.parse().ok().filter(|address: &Address| address.to_string() == name)
    }

    /// Four `readlink` calls a device, and three calls more for the first device of each type.
    fn identify(
        types: &mut Types,
        devices: &Dir,
        address: &Address,
    ) -> Result<Option<MdevInfo>, SysfsError> {
        let name = address.to_string();
        let name = Path::new(&name);
        // The entry links to the device's directory, which lies in its parent's.
        let Some(target) = devices.link(name)? else { return Ok(None) };
        let Some(parent) = target.parent().and_then(|parent| base_name(parent)) else {
            return Ok(None);
        };
        let mdev_type = devices.link_name(name.join("mdev_type"))?;
        let group = devices.link_name(name.join("iommu_group"))?;
        let kernel_driver = devices.link_name(name.join("driver"))?;
        let device_api = match &mdev_type {
            Some(mdev_type) => types.api(devices, &target, name, mdev_type)?,
            None => None,
        };
        Ok(Some(MdevInfo {
            address: *address,
            parent: parent.to_owned(),
            mdev_type,
            device_api,
            iommu_group: group.and_then(|group| group.parse().ok()),
            kernel_driver,
        }))
    }

    fn fault(info: &MdevInfo) -> Option<Fault> {
        const NO_TYPE: Fault = Fault::Unsettled(
            "has no type: it is being created or removed, so wait a moment and try again",
        );
        const NO_API: Fault = Fault::Unusable(Cow::Borrowed(
            "has a type without a device API: its kernel driver is broken, report it to its vendor",
        ));
        const NO_DRIVER: Fault = Fault::Unusable(Cow::Borrowed(
            "has no kernel driver bound to it: remove and create it again",
        ));
        const NO_GROUP: Fault = Fault::Unusable(Cow::Borrowed(
            "has no IOMMU group, so it cannot be opened: remove and create it again",
        ));
        match info {
            MdevInfo { mdev_type: None, .. } => Some(NO_TYPE),
            MdevInfo { device_api: None, .. } => Some(NO_API),
            MdevInfo { kernel_driver: None, .. } => Some(NO_DRIVER),
            MdevInfo { iommu_group: None, .. } => Some(NO_GROUP),
            _ => None,
        }
    }

    fn target(info: &MdevInfo) -> Target {
        Target { name: info.address.to_string(), sysfs: info.sysfs_path() }
    }

    /// Its kernel driver made it ready.
    fn enable(_: &MdevInfo, _: &Device) -> Result<(), EnableError> {
        Ok(())
    }

    fn matches(id: &MdevId, info: &MdevInfo, ids: DeviceIds) -> Match {
        id.matches(info, ids)
    }

    fn registered() -> Vec<Registration<Self>> {
        Registered::all()
    }
}

impl Types {
    fn api(
        &mut self,
        devices: &Dir,
        target: &Path,
        device: &Path,
        mdev_type: &str,
    ) -> Result<Option<DeviceApi>, SysfsError> {
        let parent = target.parent().unwrap_or(target).to_owned();
        let key = (parent, mdev_type.to_owned());
        if let Some(api) = self.api_of.get(&key) {
            return Ok(api.clone());
        }
        let api = devices.read(device.join("mdev_type/device_api"))?;
        let api = api.map(|api| api.trim().to_owned()).filter(|api| !api.is_empty());
        let api = api.map(|api| DeviceApi::from(api.as_str()));
        // Absence is not remembered: the device that was asked may just have vanished.
        if api.is_some() {
            self.api_of.insert(key, api.clone());
        }
        Ok(api)
    }
}
