//! Device nodes: whether they are there, are the right ones, and may be opened.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};

use super::{Examination, Finding};
use crate::route::{DeviceNumber, udev_rule};

impl Examination {
    /// `/dev/iommu`.
    pub(super) fn iommufd_node(&self) -> Option<Finding> {
        let missing =
            "modprobe iommufd, or pass the node into this container (--device /dev/iommu)";
        self.shared_node("iommu", missing, |node, problem| {
            Finding::error(node.display(), problem).remedy(to_ordinary_users(node))
        })
    }

    /// `/dev/vfio/vfio`.
    pub(super) fn container_node(&self) -> Option<Finding> {
        let missing =
            "modprobe vfio, or pass the node into this container (--device /dev/vfio/vfio)";
        // Anybody may have it: it gives access to nothing by itself.
        self.shared_node("vfio/vfio", missing, |node, problem| {
            Finding::error(node.display(), format!("{problem}, where mode 0666 is usual"))
                .remedy("udevadm trigger /dev/vfio/vfio (as root), or chmod 0666 it")
        })
    }

    /// A node that devices share; `missing` is the remedy when it is not there.
    fn shared_node(
        &self,
        name: &str,
        missing: &str,
        no_access: impl FnOnce(&Path, String) -> Finding,
    ) -> Option<Finding> {
        let node = self.host.device_node(name);
        match fs::metadata(&node) {
            Err(error) => Some(Finding::error(node.display(), not_seen(&error)).remedy(missing)),
            Ok(found) if !found.file_type().is_char_device() => Some(no_node(&node)),
            Ok(found) => refused(&node, &found, |problem| no_access(&node, problem)),
        }
    }

    /// The node of a group or of a device. `expected` is its device number in sysfs.
    pub(super) fn own_node(&self, node: &Path, expected: Option<DeviceNumber>) -> Vec<Finding> {
        let subject = node.display();
        let found = match fs::metadata(node) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return vec![missing(node, expected)];
            }
            Err(error) => return vec![Finding::error(subject, not_seen(&error))],
        };
        if !found.file_type().is_char_device() {
            return vec![no_node(node)];
        }
        let number = DeviceNumber(found.rdev());
        if let Some(expected) = expected.filter(|expected| *expected != number) {
            let problem = format!("is stale: it is device {number}, and sysfs says {expected}");
            let remedy = "let udev make it again (udevadm trigger), or start the container anew";
            return vec![Finding::error(subject, problem).remedy(remedy)];
        }
        let no_access = |problem| Finding::error(subject, problem).remedy(to_ordinary_users(node));
        refused(node, &found, no_access).into_iter().collect()
    }
}

fn to_ordinary_users(node: &Path) -> String {
    format!("run as root, or give the node to your group with a udev rule: {}", udev_rule(node))
}

fn not_seen(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is not there".into(),
        _ => format!("cannot be seen: {error}"),
    }
}

fn missing(node: &Path, expected: Option<DeviceNumber>) -> Finding {
    match expected {
        Some(number) => Finding::error(
            node.display(),
            format!("is not there, though sysfs has its group as device {number}"),
        )
        .remedy(format!(
            "pass --device {} to the container, or let udev make it (udevadm trigger)",
            node.display()
        )),
        None => Finding::error(node.display(), "is not there, and sysfs does not know it")
            .remedy("bind the device to a driver that offers it through VFIO"),
    }
}

fn no_node(node: &Path) -> Finding {
    Finding::error(node.display(), "is not a device node")
        .remedy("name the directory that stands for /dev")
}

/// Why this process may not open a node for reading and writing. The kernel is asked, for it knows
/// of capabilities, access control lists and device cgroups, and makes the same checks when the node is
/// opened (`inode_permission` in `fs/namei.c`). `no_access` makes a finding of owner and mode.
fn refused(
    node: &Path,
    found: &Metadata,
    no_access: impl FnOnce(String) -> Finding,
) -> Option<Finding> {
    let wanted = Access::READ_OK | Access::WRITE_OK;
    let errno = rustix::fs::accessat(CWD, node, wanted, AtFlags::EACCESS).err()?;
    if errno == Errno::PERM {
        let number = DeviceNumber(found.rdev());
        let remedy = format!("allow `c {number} rw` there (--device {})", node.display());
        let problem = "is forbidden by the device cgroup of this process";
        return Some(Finding::error(node.display(), problem).remedy(remedy));
    }
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mut gids: Vec<_> = getgroups().unwrap_or_default().iter().map(|gid| gid.as_raw()).collect();
    gids.push(gid);
    gids.sort_unstable();
    gids.dedup();
    let gids: Vec<_> = gids.iter().map(u32::to_string).collect();
    Some(no_access(format!(
        "is refused to user {uid} (groups {}): it has owner {}:{} and mode {:04o}",
        gids.join(", "),
        found.uid(),
        found.gid(),
        found.mode() & 0o7777
    )))
}
