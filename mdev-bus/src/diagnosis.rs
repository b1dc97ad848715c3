//! Why a mediated device does not open: what the bus knows, before and beside what
//! [`vfio_common::diagnosis`] finds.
//!
//! ```
//! use mdev_bus::diagnosis;
//! use vfio_common::diagnosis::{Examination, Severity};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = vfio_sim::Machine::demo()?;
//! let uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".parse()?;
//! let examination = Examination::new(machine.host()).without_nodes();
//! assert_eq!(diagnosis::device(&examination, &uuid), []);
//! machine.remove(&uuid.to_string())?;
//! assert_eq!(diagnosis::device(&examination, &uuid)[0].severity, Severity::Error);
//! # Ok(()) }
//! ```

use std::path::Path;

use vfio_common::bus::BusType as _;
use vfio_common::diagnosis::{Examination, Finding};
use vfio_common::sysfs::{Host, SysfsError};

use crate::bus::{DEVICES, Mdev, Types};
use crate::{Address, MdevInfo, is_bus_present, parents};

/// Examines the bus: whether there is one, whether it has anything to split, and devices.
#[must_use]
pub fn bus(host: &Host) -> Vec<Finding> {
    look_at_bus(host).unwrap_or_else(|error| vec![error.into()])
}

/// Examines one device: what [`Examination::device`] looks at, and whether the device is complete.
#[must_use]
pub fn device(examination: &Examination, address: &Address) -> Vec<Finding> {
    look_at_device(examination, address).unwrap_or_else(|error| vec![error.into()])
}

fn look_at_bus(host: &Host) -> Result<Vec<Finding>, SysfsError> {
    let is_present = is_bus_present(host)?;
    let can_be_split = !parents(host)?.parents.is_empty();
    let functions = if can_be_split { Vec::new() } else { nvidia_functions(host)? };
    let mut findings = Vec::new();
    if !is_present {
        findings.push(
            Finding::error(
                host.sysfs_root().join("bus/mdev").display(),
                "is not there: this kernel has no bus of mediated devices",
            )
            .remedy("load the module of the vendor (kvmgt, mtty, ...); mdev.ko comes only with it"),
        );
    } else if !can_be_split {
        findings.push(
            Finding::warning(
                host.sysfs_root().join("class/mdev_bus").display(),
                "is empty: no device can be split",
            )
            .remedy("load the module of its vendor (kvmgt with i915.enable_gvt=1, mtty, ...)"),
        );
    } else if host.sysfs_dir(DEVICES)?.map_or(Ok(true), |dir| Ok(dir.entries()?.is_empty()))? {
        findings.push(
            Finding::note(
                host.sysfs_root().join(DEVICES).display(),
                "is empty: there is no mediated device",
            )
            .remedy("write a UUID to the `create` of a type; `mdevbus types` lists them"),
        );
    }
    if !functions.is_empty() {
        let problem = "are devices of VFIO themselves: this GPU has no mediated devices (NVIDIA vGPU \
                       on Linux 6.8 and later)";
        findings.push(
            Finding::warning(functions.join(", "), problem)
                .remedy("use the PCI virtual functions, after writing current_vgpu_type"),
        );
    }
    Ok(findings)
}

/// PCI virtual functions that NVIDIA's driver offers instead of mediated devices.
fn nvidia_functions(host: &Host) -> Result<Vec<String>, SysfsError> {
    let Some(devices) = host.sysfs_dir("bus/pci/devices")? else { return Ok(Vec::new()) };
    let mut functions = Vec::new();
    for entry in devices.entries()? {
        if devices.inode(Path::new(&entry.name).join("nvidia"))?.is_some() {
            functions.push(entry.name.to_string_lossy().into_owned());
        }
    }
    functions.sort_unstable();
    Ok(functions)
}

fn look_at_device(
    examination: &Examination,
    address: &Address,
) -> Result<Vec<Finding>, SysfsError> {
    let host = examination.host();
    let devices = host.sysfs_dir(DEVICES)?;
    let info = match &devices {
        Some(devices) => Mdev::identify(&mut Types::default(), devices, address)?,
        None => None,
    };
    let Some(info) = info else {
        let place = host.sysfs_root().join(DEVICES);
        let problem = format!("does not exist: it is not in {}", place.display());
        return Ok(vec![
            Finding::error(address, problem).remedy("`mdevbus list` shows those there are"),
        ]);
    };
    let mut findings: Vec<_> = incomplete(&info).into_iter().collect();
    let revive = "remove and create it again: nothing else binds it";
    match &info {
        MdevInfo { kernel_driver: None, .. } => {
            findings
                .push(Finding::error(address, "has no kernel driver bound to it").remedy(revive));
        }
        MdevInfo { iommu_group: None, .. } => {
            findings.push(Finding::error(address, "has no IOMMU group").remedy(revive));
        }
        _ => findings.extend(examination.device(&Mdev::target(&info))),
    }
    Ok(findings)
}

fn incomplete(info: &MdevInfo) -> Option<Finding> {
    let finding = |problem: &str| Finding::error(info.address, problem);
    match info {
        MdevInfo { mdev_type: None, .. } => Some(
            finding("is not complete: it has no type, as while it is created or removed")
                .remedy("wait a moment and try again"),
        ),
        MdevInfo { device_api: None, .. } => Some(
            finding("has a type without a device API: its kernel driver is broken")
                .remedy("report it to the vendor"),
        ),
        _ => None,
    }
}
