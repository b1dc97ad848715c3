//! Parents and the types they support.

use std::path::{Path, PathBuf};

use super::files::Files;
use super::{Tree, TreeError};

/// A device that its kernel driver can split into mediated devices.
///
/// ```
/// use vfio_sim::tree::{MdevType, Parent, Tree};
///
/// let tree = Tree::new()?;
/// let aperture = MdevType::new("i915-GVTg_V5_4", "vfio-pci").description("low_gm_size: 128MB");
/// tree.add_parent(&Parent::new("0000:00:02.0").pci().numa_node(0).with_type(aperture))?;
/// let types = "class/mdev_bus/0000:00:02.0/mdev_supported_types";
/// let name = std::fs::read_to_string(tree.sysfs().join(types).join("i915-GVTg_V5_4/name"))?;
/// assert_eq!(name, "GVTg_V5_4\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Parent {
    name: String,
    /// The directory it lies in, below `devices`.
    below: PathBuf,
    pci: bool,
    numa_node: i32,
    types: Vec<MdevType>,
}

impl Parent {
    /// A parent at `devices/virtual/<name>/<name>`, without types.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let below = Path::new("virtual").join(&name);
        Self { name, below, pci: false, numa_node: -1, types: Vec::new() }
    }

    /// Places it at `devices/<directory>/<name>`; the last name of the directory is its class.
    #[must_use]
    pub fn below(mut self, directory: impl Into<PathBuf>) -> Self {
        self.below = directory.into();
        self
    }

    /// Makes it a PCI function at `devices/pci0000:00/<name>`, with a NUMA node.
    #[must_use]
    pub fn pci(mut self) -> Self {
        self.pci = true;
        self.below("pci0000:00")
    }

    /// The NUMA node of a PCI function; -1, which means none, if this is not called.
    #[must_use]
    pub fn numa_node(mut self, node: i32) -> Self {
        self.numa_node = node;
        self
    }

    /// Adds a type.
    #[must_use]
    pub fn with_type(mut self, mdev_type: MdevType) -> Self {
        self.types.push(mdev_type);
        self
    }

    /// Its directory.
    fn dir(&self) -> PathBuf {
        Path::new("devices").join(&self.below).join(&self.name)
    }

    /// What its `subsystem` link leads to, and its entry there.
    fn subsystem(&self) -> (PathBuf, PathBuf) {
        if self.pci {
            return ("bus/pci".into(), Path::new("bus/pci/devices").join(&self.name));
        }
        let class = self.below.file_name().unwrap_or(self.name.as_ref());
        let class = Path::new("class").join(class);
        let entry = class.join(&self.name);
        (class, entry)
    }
}

/// A type of mediated device that a parent supports.
#[derive(Debug, Clone)]
pub struct MdevType {
    id: String,
    device_api: String,
    name: String,
    description: Option<String>,
    instances: u32,
}

impl MdevType {
    /// A type by its id (`mtty-2`) and its `device_api` (`vfio-pci`), of which one instance is
    /// available. Its name is the id behind the first hyphen.
    pub fn new(id: impl Into<String>, device_api: impl Into<String>) -> Self {
        let id = id.into();
        let name = id.split_once('-').map_or(id.as_str(), |(_, name)| name).to_owned();
        Self { id, device_api: device_api.into(), name, description: None, instances: 1 }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What it is; may have several lines. Without it there is no such attribute.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// How many instances are available.
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = instances;
        self
    }

    fn add(&self, files: &Files, types: &Path) -> Result<(), TreeError> {
        let dir = types.join(&self.id);
        let show =
            |name: &str, text: &str| files.attribute(dir.join(name), 0o444, &format!("{text}\n"));
        files.dirs(dir.join("devices"))?;
        files.attribute(dir.join("create"), 0o200, "")?;
        show("device_api", &self.device_api)?;
        show("name", &self.name)?;
        show("available_instances", &self.instances.to_string())?;
        self.description.iter().try_for_each(|text| show("description", text))
    }
}

impl Tree {
    /// Adds a parent with its types, and the mdev bus if it was absent: it comes with the first
    /// kernel driver that has use for it.
    ///
    /// # Errors
    /// [`TreeError`], with `EEXIST` when there is such a parent.
    pub fn add_parent(&self, parent: &Parent) -> Result<(), TreeError> {
        let dir = parent.dir();
        let (subsystem, entry) = parent.subsystem();
        self.add_mdev_bus()?;
        self.files.dirs(Path::new("devices").join(&parent.below))?;
        self.files.new_dir(&dir)?;
        self.files.attribute(dir.join("uevent"), 0o644, "")?;
        if let Some(list) = entry.parent() {
            self.files.dirs(list)?;
        }
        self.files.link_to(dir.join("subsystem"), subsystem)?;
        self.files.link_to(entry, &dir)?;
        if parent.pci {
            self.files.attribute(
                dir.join("numa_node"),
                0o644,
                &format!("{}\n", parent.numa_node),
            )?;
        }
        let types = dir.join("mdev_supported_types");
        self.files.new_dir(&types)?;
        for mdev_type in &parent.types {
            mdev_type.add(&self.files, &types)?;
        }
        // It appears on the bus when all of it is there.
        self.files.link_to(Path::new("class/mdev_bus").join(&parent.name), &dir)?;
        self.state().parents.insert(parent.name.clone(), dir);
        Ok(())
    }

    /// Whether a parent was added.
    #[must_use]
    pub fn has_parent(&self, name: &str) -> bool {
        self.state().parents.contains_key(name)
    }
}
