//! The devices that can be split, and the types of device that they can be split into.

use std::path::{Path, PathBuf};

use vfio_common::sysfs::{Dir, Host, SysfsError, base_name};

use crate::DeviceApi;

const PARENTS: &str = "class/mdev_bus";
const TYPES: &str = "mdev_supported_types";

/// A device that its kernel driver can split into mediated devices.
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

/// The parents of a machine, sorted by name. A kernel without mediated devices has none. Parents and
/// types that vanish meanwhile are left out, attributes that hold nonsense are `None`.
///
/// # Errors
/// [`SysfsError`] when sysfs cannot be read.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = vfio_sim::Machine::demo()?;
/// let parents = mdev_bus::parents(&machine.host())?;
/// let mtty = parents.iter().find(|parent| parent.name == "mtty").ok_or("no mtty")?;
/// assert_eq!(mtty.types[1].id, "mtty-2");
/// # Ok(()) }
/// ```
pub fn parents(host: &Host) -> Result<Vec<Parent>, SysfsError> {
    let Some(class) = host.sysfs_dir(PARENTS)? else { return Ok(Vec::new()) };
    let mut parents = Vec::new();
    for entry in class.entries()? {
        // The link is followed before anything below it is read.
        let Some(name) = base_name(&entry.name) else { continue };
        if let Some(dir) = class.dir(name)? {
            parents.push(Parent::read(name.to_owned(), &dir)?);
        }
    }
    parents.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(parents)
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
    fn read(name: String, dir: &Dir) -> Result<Self, SysfsError> {
        let mut types = Vec::new();
        if let Some(supported) = dir.dir(TYPES)? {
            for entry in supported.entries()? {
                let Some(id) = base_name(&entry.name) else { continue };
                types.extend(MdevType::read(id, &supported)?);
            }
        }
        types.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        // -1 stands for no node.
        let numa_node = number(dir, Path::new("numa_node"))?;
        Ok(Self { name, numa_node, types })
    }
}

impl MdevType {
    fn read(id: &str, supported: &Dir) -> Result<Option<Self>, SysfsError> {
        let attribute = |name: &str| -> PathBuf { Path::new(id).join(name) };
        let text = |name| {
            Ok::<_, SysfsError>(supported.read(attribute(name))?.filter(|text| !text.is_empty()))
        };
        if supported.dir(id)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            id: id.to_owned(),
            name: text("name")?,
            description: text("description")?,
            device_api: text("device_api")?.map(|api| DeviceApi::from(api.trim())),
            available_instances: number(supported, &attribute("available_instances"))?,
        }))
    }
}

/// A number that is not negative; `None` for anything else that the attribute may hold.
fn number(dir: &Dir, attribute: &Path) -> Result<Option<u32>, SysfsError> {
    Ok(dir.read(attribute)?.and_then(|text| text.trim().parse().ok()))
}
