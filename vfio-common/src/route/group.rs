//! IOMMU groups. The kernel lets a group be opened once at a time, also by one process, so this
//! process has one [`Group`] for each that is open, shared by its devices.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use super::container::Container;
use super::error::OpenStep;
use super::{Member, OpenError};
use crate::sysfs::Host;
use crate::uapi::GroupFd;

/// The groups that are open in this process, by device number: names and group numbers are given
/// again as soon as a device is removed.
static OPEN: Mutex<BTreeMap<u64, Weak<Group>>> = Mutex::new(BTreeMap::new());
/// Notified when a group has closed.
static CLOSED: Condvar = Condvar::new();

/// An open group, attached to its container until it is dropped.
#[derive(Debug)]
pub(super) struct Group {
    number: u32,
    device_number: u64,
    /// `None` only while it is dropped.
    fd: Option<GroupFd>,
    container: Arc<Container>,
}

impl Group {
    /// The group `number`, from those that are open or newly opened and attached to what
    /// `container` gives.
    pub(super) fn acquire(
        host: &Host,
        number: u32,
        container: impl FnOnce() -> Result<Arc<Container>, OpenError>,
    ) -> Result<Arc<Self>, OpenError> {
        let node = host.device_node(&format!("vfio/{number}"));
        let device_number = device_number(&node)?;
        check_against_sysfs(host, number, &node, device_number)?;

        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let container = container()?;
        while let Some(known) = open.get(&device_number) {
            if let Some(group) = known.upgrade() {
                let same = Arc::ptr_eq(&group.container, &container);
                // Dropping the last handle here would lock what is locked.
                drop(open);
                return same.then_some(group).ok_or(OpenError::OtherContainer { group: number });
            }
            // Its last user is about to close it: the kernel would say EBUSY until then.
            open = CLOSED.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        let fd = GroupFd::new(open_node(&node)?);
        let step = OpenStep::AskGroup { group: number };
        if !fd.is_viable().map_err(|source| OpenError::Step { step, source })? {
            let members = Member::of_group(host, number).unwrap_or_default();
            return Err(OpenError::NotViable { group: number, members });
        }
        container.attach(&fd, number)?;
        let group = Arc::new(Self { number, device_number, fd: Some(fd), container });
        open.insert(device_number, Arc::downgrade(&group));
        Ok(group)
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn fd(&self) -> Option<&GroupFd> {
        self.fd.as_ref()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fd) = self.fd.take() {
            self.container.detach(&fd, self.number);
        }
        open.remove(&self.device_number);
        CLOSED.notify_all();
    }
}

/// Opens a device node for reading and writing; close-on-exec, as all files of the standard library.
pub(super) fn open_node(node: &Path) -> Result<File, OpenError> {
    let opened = OpenOptions::new().read(true).write(true).open(node);
    opened.map_err(|source| OpenError::Node { node: node.into(), source })
}

fn device_number(node: &Path) -> Result<u64, OpenError> {
    let metadata =
        std::fs::metadata(node).map_err(|source| OpenError::Node { node: node.into(), source })?;
    if !metadata.file_type().is_char_device() {
        return Err(OpenError::NotANode { node: node.into() });
    }
    Ok(metadata.rdev())
}

/// Refuses a node that was left behind by a group which had the same number. Says nothing where
/// sysfs has no device number to compare with.
fn check_against_sysfs(
    host: &Host,
    number: u32,
    node: &Path,
    device_number: u64,
) -> Result<(), OpenError> {
    let found = rustix::fs::major(device_number).to_string()
        + ":"
        + &rustix::fs::minor(device_number).to_string();
    let attribute = host.sysfs_dir(format!("class/vfio/{number}"));
    let expected = attribute.ok().flatten().and_then(|dir| dir.read("dev").ok().flatten());
    match expected {
        Some(expected) if expected.trim() != found => {
            let expected = expected.trim().to_owned();
            Err(OpenError::StaleNode { node: node.into(), found, expected })
        }
        _ => Ok(()),
    }
}
