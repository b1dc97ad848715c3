//! IOMMU groups. The kernel lets a group be opened once at a time, also by one process, so this
//! process has one [`Group`] for each that is open, shared by its devices.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use super::container::Container;
use super::error::OpenStep;
use super::{Member, OpenError, node};
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
        let explained = |error: OpenError| error.explained(host, number);
        let device_number = node::device_number(&node).map_err(explained)?;
        node::check_group(host, number, &node, device_number)?;

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
        let fd = GroupFd::new(node::open(&node).map_err(explained)?);
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
