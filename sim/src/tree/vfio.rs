//! What the IOMMU and VFIO add to a device: its group, the group's node, and its VFIO device.

use std::path::{Path, PathBuf};

use super::{State, Tree, TreeError};

/// The major number of group nodes. The kernel gives any that is free.
const GROUP_MAJOR: u32 = 511;
const VFIO_DEVS: &str = "class/vfio-dev";

/// Which IOMMU group a device is in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group {
    None,
    Lowest,
    Number(u32),
}

impl Tree {
    /// Puts a device in a group, which is made if it is not there.
    pub(super) fn join_group(
        &self,
        state: &mut State,
        group: Group,
        name: &str,
        dir: &Path,
    ) -> Result<Option<u32>, TreeError> {
        let number = match group {
            Group::None => return Ok(None),
            Group::Lowest => state.groups.take(),
            Group::Number(number) => state.groups.share(number),
        };
        let group = group_dir(number);
        let members = group.join("devices");
        if !self.files.sysfs().join(&group).exists() {
            self.files.dirs(&members)?;
            self.files.attribute(group.join("reserved_regions"), 0o444, "")?;
            self.files.attribute(group.join("type"), 0o644, "DMA-FQ\n")?;
        }
        self.files.link_to(members.join(name), dir)?;
        self.files.link_to(dir.join("iommu_group"), group)?;
        Ok(Some(number))
    }

    /// Gives a group a name, which most have not, and says what its domain is.
    pub(super) fn name_group(&self, number: u32, name: &str, kind: &str) -> Result<(), TreeError> {
        self.files.replace(&group_dir(number).join("name"), format!("{name}\n").as_bytes())?;
        self.files.replace(&group_dir(number).join("type"), format!("{kind}\n").as_bytes())
    }

    /// Takes a device out of its group, which goes with its last member.
    pub(super) fn leave_group(
        &self,
        state: &mut State,
        number: u32,
        name: &str,
        dir: &Path,
    ) -> Result<(), TreeError> {
        self.files.remove(dir.join("iommu_group"))?;
        self.files.remove(group_dir(number).join("devices").join(name))?;
        if state.groups.give_back(number) { self.files.remove(group_dir(number)) } else { Ok(()) }
    }

    /// Another member of a group is offered through VFIO; with the first, the group gets its node.
    pub(super) fn add_group_node(&self, state: &mut State, number: u32) -> Result<(), TreeError> {
        state.group_nodes.share(number);
        let node = group_node_dir(number);
        if self.files.sysfs().join(&node).exists() {
            return Ok(());
        }
        self.files.dirs(&node)?;
        let dev = format!("{GROUP_MAJOR}:{number}\n");
        self.files.attribute(node.join("dev"), 0o444, &dev)?;
        self.files.link_to(node.join("subsystem"), "class/vfio")?;
        self.files.link_to(group_class_entry(number), node)?;
        self.files.node(&format!("vfio/{number}"), 0o600)
    }

    /// The other way round.
    pub(super) fn remove_group_node(
        &self,
        state: &mut State,
        number: u32,
    ) -> Result<(), TreeError> {
        if !state.group_nodes.give_back(number) {
            return Ok(());
        }
        self.files.remove_node(&format!("vfio/{number}"))?;
        self.files.remove(group_class_entry(number))?;
        self.files.remove(group_node_dir(number))
    }

    /// Makes a device's VFIO device, with a character device if it has a number.
    pub(super) fn add_vfio_dev(
        &self,
        state: &mut State,
        dir: &Path,
        cdev: Option<(u32, u32)>,
    ) -> Result<u32, TreeError> {
        let number = state.vfio_devs.take();
        let vfio_dev = dir.join("vfio-dev").join(format!("vfio{number}"));
        self.files.dirs(&vfio_dev)?;
        self.files.link_to(vfio_dev.join("device"), dir)?;
        self.files.link_to(vfio_dev.join("subsystem"), VFIO_DEVS)?;
        self.files.attribute(vfio_dev.join("uevent"), 0o644, "")?;
        if let Some((major, minor)) = cdev {
            self.files.attribute(vfio_dev.join("dev"), 0o444, &format!("{major}:{minor}\n"))?;
            self.files.node(&cdev_node(number), 0o600)?;
        }
        self.files.link_to(vfio_dev_entry(number), vfio_dev)?;
        Ok(number)
    }

    pub(super) fn remove_vfio_dev(
        &self,
        state: &mut State,
        number: u32,
        dir: &Path,
    ) -> Result<(), TreeError> {
        self.files.remove_node(&cdev_node(number))?;
        self.files.remove(vfio_dev_entry(number))?;
        self.files.remove(dir.join("vfio-dev"))?;
        state.vfio_devs.give_back(number);
        Ok(())
    }
}

fn group_dir(number: u32) -> PathBuf {
    Path::new("kernel/iommu_groups").join(number.to_string())
}

fn group_node_dir(number: u32) -> PathBuf {
    Path::new("devices/virtual/vfio").join(number.to_string())
}

fn group_class_entry(number: u32) -> PathBuf {
    Path::new("class/vfio").join(number.to_string())
}

fn vfio_dev_entry(number: u32) -> PathBuf {
    Path::new(VFIO_DEVS).join(format!("vfio{number}"))
}

fn cdev_node(number: u32) -> String {
    format!("vfio/devices/vfio{number}")
}
