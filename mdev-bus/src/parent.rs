//! The devices that can be split, and the types of device that they can be split into.

use std::path::Path;

use vfio_common::sysfs::{Dir, Host, SysfsError, base_name};

use crate::DeviceApi;

const PARENTS: &str = "class/mdev_bus";
const TYPES: &str = "mdev_supported_types";

/// A device that its kernel driver can split into mediated devices: an entry of `/sys/class/mdev_bus`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parent {
    /// Its name below `/sys/class/mdev_bus`: a PCI address, or a name of the driver's.
    pub name: String,
    /// The NUMA node it is nearest to; `None` when the kernel does not say.
    pub numa_node: Option<u32>,
    /// The types it supports, sorted by id.
    pub types: Vec<MdevType>,
}

/// A type of mediated device that a parent supports
/// (`Documentation/ABI/testing/sysfs-bus-vfio-mdev`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MdevType {
    /// Its id: the kernel driver's name, a hyphen, and the driver's name for it.
    pub id: String,
    /// A name for people.
    pub name: Option<String>,
    /// What it is; may have several lines.
    pub description: Option<String>,
    /// What kind of VFIO device its devices are; `None` is a defect of the kernel driver.
    pub device_api: Option<DeviceApi>,
    /// How many more devices can be created now. Types of one parent may share a pool. `None` when
    /// the kernel driver gives no number.
    pub available_instances: Option<u32>,
}

/// The parents of a machine.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parents {
    /// Those that could be read, sorted by name.
    pub parents: Vec<Parent>,
    /// What could not be read and is left out: a parent, or a type of one.
    pub failed: Vec<SysfsError>,
}

/// The parents of a machine. A kernel without mediated devices has none. Parents and types that vanish
/// meanwhile are left out; attributes that hold nonsense or cannot be read are `None`.
///
/// # Errors
/// [`SysfsError`] when sysfs itself, or its list of parents, cannot be read.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = vfio_sim::Machine::demo()?;
/// let parents = mdev_bus::parents(&machine.host())?;
/// let mtty = parents.parents.iter().find(|parent| parent.name == "mtty").ok_or("no mtty")?;
/// assert_eq!(mtty.types[1].id, "mtty-2");
/// # Ok(()) }
/// ```
pub fn parents(host: &Host) -> Result<Parents, SysfsError> {
    let mut found = Parents { parents: Vec::new(), failed: Vec::new() };
    let Some(class) = host.sysfs_dir(PARENTS)? else { return Ok(found) };
    for entry in class.entries()? {
        let Some(name) = base_name(&entry.name) else { continue };
        // The link is followed before anything below it is read.
        match class.dir(name) {
            Ok(Some(dir)) => {
                let parent = Parent::read(name.to_owned(), &dir, &mut found.failed);
                found.parents.push(parent);
            }
            Ok(None) => {}
            Err(error) => found.failed.push(error),
        }
    }
    found.parents.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether the kernel has the mediated device bus at all. It comes with the first module that splits
/// a device.
///
/// # Errors
/// [`SysfsError`] when sysfs cannot be read.
pub fn is_bus_present(host: &Host) -> Result<bool, SysfsError> {
    Ok(host.sysfs_dir(crate::bus::DEVICES)?.is_some())
}

impl Parent {
    fn read(name: String, dir: &Dir, failed: &mut Vec<SysfsError>) -> Self {
        let mut types = match dir.dir(TYPES) {
            Ok(Some(supported)) => MdevType::read_all(&supported, failed),
            Ok(None) => Vec::new(),
            Err(error) => {
                failed.push(error);
                Vec::new()
            }
        };
        types.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        // -1 stands for no node.
        let numa_node = number(dir, Path::new("numa_node"));
        Self { name, numa_node, types }
    }
}

impl MdevType {
    fn read_all(supported: &Dir, failed: &mut Vec<SysfsError>) -> Vec<Self> {
        let entries = supported.entries().unwrap_or_else(|error| {
            failed.push(error);
            Vec::new()
        });
        let mut types = Vec::new();
        for id in entries.iter().filter_map(|entry| base_name(&entry.name)) {
            match supported.dir(id) {
                Ok(Some(dir)) => types.push(Self::read(id, &dir)),
                Ok(None) => {}
                Err(error) => failed.push(error),
            }
        }
        types
    }

    fn read(id: &str, dir: &Dir) -> Self {
        let text = |name| text(dir, Path::new(name)).filter(|text| !text.is_empty());
        Self {
            id: id.to_owned(),
            name: text("name"),
            description: text("description"),
            device_api: text("device_api").map(|api| DeviceApi::from(api.trim())),
            available_instances: number(dir, Path::new("available_instances")),
        }
    }
}

/// An attribute that says nothing when it cannot be read: it is the kernel driver's, and one that fails
/// must not hide the others.
fn text(dir: &Dir, attribute: &Path) -> Option<String> {
    match dir.read(attribute) {
        Ok(text) => text,
        Err(error) => {
            tracing::debug!(%error, "an attribute is left out");
            None
        }
    }
}

/// A number that is not negative; `None` for anything else that the attribute may hold.
fn number(dir: &Dir, attribute: &Path) -> Option<u32> {
    text(dir, attribute)?.trim().parse().ok()
}
