//! What a device's driver has made of it: disks, interfaces, displays.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::sysfs::{Dir, Host, SysfsError};

/// Deeper than any controller, hub and disk; a mock tree may be anything.
const DEPTH: usize = 40;
/// `IFF_UP` of `linux/if.h`.
const UP: u32 = 1;

/// A disk, a partition, or what is made of them.
#[derive(Debug)]
pub(super) struct Block {
    /// As below `/dev`.
    pub(super) name: String,
    /// As in sysfs, which has `!` for `/`.
    pub(super) sysfs_name: String,
    /// `major:minor`.
    pub(super) number: String,
}

#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) is_up: bool,
    /// What it is a part of, and so on: bonds, bridges, VLANs.
    pub(super) uppers: BTreeSet<String>,
}

/// All there is below a device.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) blocks: Vec<Block>,
    pub(super) interfaces: Vec<Interface>,
    /// It has interfaces that another network namespace has.
    pub(super) has_hidden_interfaces: bool,
    /// Of displays, those that show a picture.
    pub(super) connectors: Vec<String>,
    /// Two disks may hold one volume, and two paths lead to one disk.
    seen: BTreeSet<u64>,
}

impl Parts {
    pub(super) fn below(host: &Host, device: &Dir) -> Result<Self, SysfsError> {
        let mut parts = Self::default();
        parts.add_children(host, device, DEPTH)?;
        Ok(parts)
    }

    fn add_children(&mut self, host: &Host, dir: &Dir, depth: usize) -> Result<(), SysfsError> {
        let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
        for entry in dir.entries()?.into_iter().filter(|entry| entry.is_dir) {
            if let Some(child) = dir.dir(&entry.name)? {
                self.add(host, &entry.name.to_string_lossy(), &child, depth)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, host: &Host, name: &str, dir: &Dir, depth: usize) -> Result<(), SysfsError> {
        if dir.inode(".")?.is_some_and(|inode| !self.seen.insert(inode)) {
            return Ok(());
        }
        match dir.link_name("subsystem")?.as_deref() {
            Some("block") => self.add_block(host, name, dir, depth)?,
            Some("net") => {
                let flags = dir.read("flags")?.unwrap_or_default();
                let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
                let is_up = flags.is_ok_and(|flags| flags & UP != 0);
                let mut uppers = BTreeSet::new();
                add_uppers(dir, &mut uppers, depth)?;
                self.interfaces.push(Interface { name: name.to_owned(), is_up, uppers });
            }
            // The directory that the kernel keeps interfaces in goes with the last of them.
            None if name == "net" && dir.entries()?.is_empty() => {
                self.has_hidden_interfaces = true;
            }
            Some("drm") if dir.read("enabled")?.as_deref() == Some("enabled") => {
                self.connectors.push(name.to_owned());
            }
            Some("nvme") => self.add_shared_namespaces(host, name, depth)?,
            _ => {}
        }
        self.add_children(host, dir, depth)
    }

    fn add_block(
        &mut self,
        host: &Host,
        name: &str,
        dir: &Dir,
        depth: usize,
    ) -> Result<(), SysfsError> {
        // A hidden one, of which there are others to be used, has no number.
        if let Some(number) = dir.read("dev")? {
            let (sysfs_name, name) = (name.to_owned(), name.replace('!', "/"));
            self.blocks.push(Block { name, sysfs_name, number });
        }
        let Some(holders) = dir.dir("holders")? else { return Ok(()) };
        let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
        // These are links, to volumes that lie elsewhere.
        for entry in holders.entries()? {
            if let Some(holder) = holders.dir(&entry.name)? {
                self.add(host, &entry.name.to_string_lossy(), &holder, depth)?;
            }
        }
        Ok(())
    }

    /// A disk that several controllers (`nvme`) may reach is not below any of them, but below their subsystem
    /// (`nvme_core.multipath`), which links to them. Whether another one would do is not looked into.
    fn add_shared_namespaces(
        &mut self,
        host: &Host,
        controller: &str,
        depth: usize,
    ) -> Result<(), SysfsError> {
        let Some(class) = host.sysfs_dir("class/nvme-subsystem")? else { return Ok(()) };
        for entry in class.entries()? {
            let subsystem = PathBuf::from(&entry.name);
            if class.inode(subsystem.join(controller))?.is_some()
                && let Some(dir) = class.dir(subsystem)?
            {
                self.add_children(host, &dir, depth)?;
            }
        }
        Ok(())
    }
}

/// The interfaces above one, which it has links to.
fn add_uppers(dir: &Dir, uppers: &mut BTreeSet<String>, depth: usize) -> Result<(), SysfsError> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    for entry in dir.entries()? {
        let link = entry.name.to_string_lossy();
        if let Some(upper) = link.strip_prefix("upper_")
            && uppers.insert(upper.to_owned())
            && let Some(dir) = dir.dir(&*link)?
        {
            add_uppers(&dir, uppers, depth)?;
        }
    }
    Ok(())
}
