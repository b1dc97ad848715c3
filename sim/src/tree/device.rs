//! Mediated devices: how they come and go.

use std::path::{Path, PathBuf};

use super::vfio::Group;
use super::{Tree, TreeError};

/// A mediated device in a mock tree. What is said of it is not checked against the parent's types.
#[derive(Debug, Clone)]
pub struct MdevDevice {
    uuid: String,
    parent: String,
    mdev_type: Option<String>,
    kernel_driver: Option<String>,
    group: Group,
    cdev: Option<(u32, u32)>,
}

impl MdevDevice {
    /// A device as `create` of the type makes it: with the lowest free group, bound to the kernel
    /// driver that has the parent's name. The UUID is taken as it is, odd ones too.
    pub fn new(
        uuid: impl Into<String>,
        parent: impl Into<String>,
        mdev_type: impl Into<String>,
    ) -> Self {
        let parent = parent.into();
        Self {
            uuid: uuid.into(),
            mdev_type: Some(mdev_type.into()),
            kernel_driver: Some(parent.clone()),
            parent,
            group: Group::Lowest,
            cdev: None,
        }
    }

    /// Puts it in this IOMMU group, which other devices may be in.
    #[must_use]
    pub fn group(mut self, number: u32) -> Self {
        self.group = Group::Number(number);
        self
    }

    /// Binds it to this kernel driver.
    #[must_use]
    pub fn kernel_driver(mut self, name: impl Into<String>) -> Self {
        self.kernel_driver = Some(name.into());
        self
    }

    /// Leaves it without kernel driver, and so without group and VFIO device, as after a write to
    /// the driver's `unbind`.
    #[must_use]
    pub fn without_driver(mut self) -> Self {
        self.kernel_driver = None;
        self.without_group()
    }

    /// Leaves out its `mdev_type` link and its entry with the type, as while it is created or
    /// removed.
    #[must_use]
    pub fn without_type(mut self) -> Self {
        self.mdev_type = None;
        self
    }

    /// Leaves it without IOMMU group.
    #[must_use]
    pub fn without_group(mut self) -> Self {
        self.group = Group::None;
        self
    }

    /// Gives it a VFIO character device with this number, as kernels with `CONFIG_VFIO_DEVICE_CDEV`
    /// do.
    #[must_use]
    pub fn with_cdev(mut self, major: u32, minor: u32) -> Self {
        self.cdev = Some((major, minor));
        self
    }

    pub(crate) fn uuid(&self) -> &str {
        &self.uuid
    }

    pub(crate) fn parent(&self) -> &str {
        &self.parent
    }

    pub(crate) fn mdev_type(&self) -> &str {
        self.mdev_type.as_deref().unwrap_or_default()
    }
}

/// What a tree remembers of a device, so that it can be removed.
#[derive(Debug)]
pub(super) struct Placed {
    dir: PathBuf,
    /// Its entry with its type.
    of_type: Option<PathBuf>,
    /// Its entry with its kernel driver.
    of_driver: Option<PathBuf>,
    vfio_dev: Option<u32>,
    group: Option<u32>,
    leaving: bool,
}

impl Tree {
    /// Adds a device below a parent that was added before, in the order in which the kernel does: who
    /// looks meanwhile sees it without type.
    ///
    /// # Errors
    /// [`TreeError`], with `ENOENT` when there is no such parent or type, with `EEXIST` when there is
    /// such a device.
    pub fn add_device(&self, device: &MdevDevice) -> Result<(), TreeError> {
        let uuid = &device.uuid;
        let mut state = self.state();
        let parent = Path::new("class/mdev_bus").join(&device.parent);
        let parent = state.parents.get(&device.parent).ok_or(TreeError::missing("open", parent))?;
        let dir = parent.join(uuid);
        let mdev_type = device.mdev_type.as_ref().map(|name| types_of(&dir).join(name));
        if let Some(missing) = mdev_type.as_ref().filter(|path| !self.sysfs().join(path).exists()) {
            return Err(TreeError::missing("open", missing));
        }
        self.files.new_dir(&dir)?;

        let uevent = device.kernel_driver.as_deref().map(|driver| format!("DRIVER={driver}\n"));
        self.files.attribute(dir.join("uevent"), 0o644, uevent.as_deref().unwrap_or_default())?;
        self.files.attribute(dir.join("remove"), 0o200, "")?;
        self.files.link_to(dir.join("subsystem"), "bus/mdev")?;
        self.files.link_to(bus_entry(uuid), &dir)?;

        let (mut of_driver, mut of_type, mut vfio_dev, mut group) = (None, None, None, None);
        if let Some(name) = &device.kernel_driver {
            let driver = Path::new("bus/mdev/drivers").join(name);
            let entry = driver.join(uuid);
            self.files.dirs(&driver)?;
            self.files.link_to(&entry, &dir)?;
            self.files.link_to(dir.join("driver"), driver)?;
            of_driver = Some(entry);

            group = self.join_group(&mut state, device.group, uuid, &dir)?;
            if let Some(number) = group {
                // What no IOMMU has to do with: mediated devices do no DMA of their own.
                self.name_group(number, "vfio-noiommu", "unknown")?;
                self.add_group_node(&mut state, number)?;
            }
            vfio_dev = Some(self.add_vfio_dev(&mut state, &dir, device.cdev)?);
        }
        if let Some(mdev_type) = mdev_type {
            let entry = mdev_type.join("devices").join(uuid);
            self.files.link_to(&entry, &dir)?;
            self.files.link_to(dir.join("mdev_type"), mdev_type)?;
            of_type = Some(entry);
        }
        let placed = Placed { dir, of_type, of_driver, vfio_dev, group, leaving: false };
        state.devices.insert(uuid.clone(), placed);
        Ok(())
    }

    /// Removes a device, wholly.
    ///
    /// # Errors
    /// [`TreeError`], with `ENOENT` when there is no such device.
    pub fn remove_device(&self, uuid: &str) -> Result<(), TreeError> {
        self.begin_removal(uuid)?;
        self.finish_removal(uuid)
    }

    /// Removes of a device what the kernel removes while a program still has it open: first its type,
    /// then its entry on the bus, then its driver and VFIO device. Its directory and its group stay
    /// until [`Tree::finish_removal`].
    ///
    /// # Errors
    /// [`TreeError`], with `ENOENT` when there is no such device or this was done before.
    pub fn begin_removal(&self, uuid: &str) -> Result<(), TreeError> {
        let mut state = self.state();
        let state = &mut *state;
        let placed = state.devices.get_mut(uuid).filter(|placed| !placed.leaving);
        let placed = placed.ok_or_else(|| TreeError::missing("remove", bus_entry(uuid)))?;
        placed.leaving = true;

        for name in ["remove", "mdev_type"] {
            self.files.remove(placed.dir.join(name))?;
        }
        placed.of_type.iter().try_for_each(|entry| self.files.remove(entry))?;
        for name in ["uevent", "subsystem"] {
            self.files.remove(placed.dir.join(name))?;
        }
        self.files.retire(bus_entry(uuid))?;
        placed.of_driver.iter().try_for_each(|entry| self.files.remove(entry))?;
        self.files.remove(placed.dir.join("driver"))?;
        if let Some(number) = placed.vfio_dev {
            let dir = placed.dir.clone();
            self.remove_vfio_dev(state, number, &dir)?;
        }
        Ok(())
    }

    /// Removes the rest of a device after [`Tree::begin_removal`]: its group and its directory.
    ///
    /// # Errors
    /// [`TreeError`], with `ENOENT` when its removal was not begun.
    pub fn finish_removal(&self, uuid: &str) -> Result<(), TreeError> {
        let mut state = self.state();
        let leaving = state.devices.get(uuid).is_some_and(|placed| placed.leaving);
        let placed = if leaving { state.devices.remove(uuid) } else { None };
        let placed = placed.ok_or_else(|| TreeError::missing("remove", bus_entry(uuid)))?;
        if let Some(number) = placed.group {
            self.remove_group_node(&mut state, number)?;
            self.leave_group(&mut state, number, uuid, &placed.dir)?;
        }
        self.files.remove(placed.dir)
    }
}

fn bus_entry(uuid: &str) -> PathBuf {
    Path::new("bus/mdev/devices").join(uuid)
}

/// Where the parent of the device in `dir` keeps its types.
fn types_of(dir: &Path) -> PathBuf {
    dir.with_file_name("mdev_supported_types")
}
