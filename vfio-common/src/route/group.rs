//! IOMMU groups.

use std::sync::Arc;

use super::container::Container;
use super::error::OpenStep;
use super::node::{self, DeviceNumber};
use super::once::OpenOnce;
use super::{Member, Nodes, OpenError};
use crate::iommu::AddressSpace;
use crate::sysfs::Host;
use crate::uapi::GroupFd;

/// The groups that are open in this process.
static OPEN: OpenOnce<Group> = OpenOnce::new();

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
        nodes: &dyn Nodes,
        host: &Host,
        number: u32,
        container: impl Fn() -> Result<Arc<Container>, OpenError>,
    ) -> Result<Arc<Self>, OpenError> {
        // Only the node tells: the group of a device that does no DMA has the same name in sysfs.
        if DeviceNumber::in_sysfs(host, format!("class/vfio/noiommu-{number}")).is_some() {
            return Err(OpenError::NoIommu { group: number });
        }
        let name = format!("vfio/{number}");
        let in_sysfs = DeviceNumber::in_sysfs(host, format!("class/vfio/{number}"));
        let explained = |error: OpenError| error.explained(host, number);
        let device_number =
            in_sysfs.map_or_else(|| DeviceNumber::of_path(host, &name), Ok).map_err(explained)?;
        let group = OPEN.acquire(device_number.0, || {
            let opened = node::open(nodes, host, &name, Some(device_number));
            let fd = GroupFd::new(opened.map_err(explained)?);
            let step = OpenStep::AskGroup { group: number };
            if !fd.is_viable().map_err(|source| OpenError::Step { step, source })? {
                let members = Member::of_group(host, number).unwrap_or_default();
                return Err(OpenError::NotViable { group: number, members });
            }
            let container = container()?;
            container.attach(&fd, number)?;
            Ok(Self { number, device_number: device_number.0, fd: Some(fd), container })
        })?;
        let same = Arc::ptr_eq(&group.container, &container()?);
        same.then_some(group).ok_or(OpenError::OtherContainer { group: number })
    }

    pub(super) fn address_space(&self) -> AddressSpace {
        self.container.address_space()
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
        OPEN.release(self.device_number, || {
            if let Some(fd) = self.fd.take() {
                self.container.detach(&fd, self.number);
            }
        });
    }
}
