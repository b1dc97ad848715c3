//! The PCI bus, as the engine sees it.

use std::ffi::OsStr;
use std::path::Path;

use vfio_common::bus::{BusType, DeviceIds, EnableError, Fault, Match, Registration, Specificity};
use vfio_common::device::Device;
use vfio_common::pci_config::PciIds;
use vfio_common::route::Target;
use vfio_common::sysfs::{Dir, SysfsError};

use crate::registered::Registered;
use crate::{Address, Enabled, PciId, PciInfo, Sriov};

/// Where the kernel lists PCI functions, below the root of sysfs.
pub(crate) const DEVICES: &str = "bus/pci/devices";

/// The PCI bus, `/sys/bus/pci`. It has no values: it is the parameter of the engine's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pci {}

/// How the kernel shows that a driver offers a function through VFIO: found out once a scan.
#[derive(Debug, Default)]
pub struct Reach {
    only_groups: Option<bool>,
}

impl BusType for Pci {
    const DEVICES: &'static str = DEVICES;

    type Address = Address;
    type Info = PciInfo;
    type Id = PciId;
    type Scanner = Reach;
    type Enabled = Enabled;

    fn address(entry: &OsStr) -> Option<Address> {
        let name = entry.to_str()?;
        // The kernel writes one form; what it would not write could not be read back either.
        name.parse().ok().filter(|address: &Address| address.to_string() == name)
    }

    fn identify(
        reach: &mut Reach,
        devices: &Dir,
        address: &Address,
    ) -> Result<Option<PciInfo>, SysfsError> {
        PciInfo::read(reach, devices, *address)
    }

    /// A function stays where it is while kernel drivers come and go: two system calls tell. One that
    /// can be split is read anew, for virtual functions come and go, too.
    fn is_current(reach: &mut Reach, devices: &Dir, address: &Address, info: &PciInfo) -> bool {
        let name = address.to_string();
        let name = Path::new(&name);
        let unchanged = |reach: &mut Reach| {
            let driver = devices.link_name(name.join("driver"))?;
            let offered = driver.is_some() && reach.offers(devices, name, info.iommu_group)?;
            Ok::<_, SysfsError>(driver == info.kernel_driver && offered == info.offered)
        };
        !matches!(info.sriov, Some(Sriov::Physical { .. })) && unchanged(reach).unwrap_or(false)
    }

    fn fault(info: &PciInfo) -> Option<Fault> {
        let fault = match info {
            PciInfo { offered: true, .. } => return None,
            PciInfo { iommu_group: None, .. } => {
                "is in no IOMMU group: switch on the IOMMU in the firmware and on the kernel's command \
                 line (intel_iommu=on), then bind it to vfio-pci"
                    .into()
            }
            PciInfo { kernel_driver: None, .. } => {
                "is bound to no kernel driver: bind it to vfio-pci".into()
            }
            PciInfo { kernel_driver: Some(driver), .. } => format!(
                "is bound to {driver}, a kernel driver of the host: bind it to vfio-pci if the host \
                 can do without it"
            )
            .into(),
        };
        Some(Fault::Unusable(fault))
    }

    fn target(info: &PciInfo) -> Target {
        Target { name: info.address.to_string(), sysfs: info.sysfs_path() }
    }

    fn pci_ids(info: &PciInfo) -> Option<PciIds> {
        info.ids()
    }

    fn enable(_: &PciInfo, device: &Device) -> Result<Enabled, EnableError> {
        Ok(Enabled::new(device)?)
    }

    /// Sysfs tells all that is asked: no function is opened to match it.
    fn matches(id: &PciId, info: &PciInfo, _: DeviceIds) -> Match {
        match info.ids() {
            Some(ids) if id.matches(&ids) => Match::Yes(Specificity(u32::from(id.specificity()))),
            _ => Match::No,
        }
    }

    fn registered() -> Vec<Registration<Self>> {
        Registered::all()
    }
}

impl Reach {
    /// Whether the kernel driver that is bound to a function offers it through VFIO: it has a folder
    /// `vfio-dev`, from Linux 6.1. Before that, its group is in the hands of VFIO; then another function
    /// of the group may be meant, which opening it says.
    pub(crate) fn offers(
        &mut self,
        devices: &Dir,
        name: &Path,
        group: Option<u32>,
    ) -> Result<bool, SysfsError> {
        if devices.inode(name.join("vfio-dev"))?.is_some() {
            return Ok(true);
        }
        match group {
            Some(group) if self.only_groups(devices)? => {
                let entry = Path::new(CLASSES).join("vfio").join(group.to_string());
                Ok(devices.inode(entry)?.is_some())
            }
            _ => Ok(false),
        }
    }

    fn only_groups(&mut self, devices: &Dir) -> Result<bool, SysfsError> {
        if let Some(only_groups) = self.only_groups {
            return Ok(only_groups);
        }
        let has = |class| Ok(devices.inode(Path::new(CLASSES).join(class))?.is_some());
        let only_groups = !has("vfio-dev")? && has("vfio")?;
        self.only_groups = Some(only_groups);
        Ok(only_groups)
    }
}

/// Classes of devices, as seen from [`DEVICES`].
const CLASSES: &str = "../../../class";
