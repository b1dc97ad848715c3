//! IOMMU groups.

use std::sync::Arc;

use super::container::Container;
use super::error::OpenStep;
use super::kvm::Linked;
use super::node::{self, DeviceNumber};
use super::once::OpenOnce;
use super::{Kvm, Member, Nodes, OpenError, Target};
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
    fd: Option<Linked<GroupFd>>,
    container: Arc<Container>,
}

/// Where a group is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: u32,
    /// No IOMMU is in front of it.
    pub(super) no_iommu: bool,
}

impl Place {
    /// Looks the group of a device up in sysfs.
    pub(super) fn of(host: &Host, target: &Target) -> Result<Self, OpenError> {
        let number = target.iommu_group(host)?;
        // Only the node tells: the group of a device that does no DMA has the same name in sysfs.
        let no_iommu =
            DeviceNumber::in_sysfs(host, format!("class/vfio/noiommu-{number}")).is_some();
        Ok(Self { number, no_iommu })
    }

    /// The last part of its node's name.
    fn name(&self) -> String {
        let prefix = if self.no_iommu { "noiommu-" } else { "" };
        format!("{prefix}{}", self.number)
    }
}

impl Group {
    /// A group, from those that are open or newly opened, attached to what `container` gives and
    /// linked to `kvm`, both for `device`.
    pub(super) fn acquire(
        nodes: &dyn Nodes,
        host: &Host,
        place: &Place,
        device: &str,
        kvm: Option<&Kvm>,
        container: impl Fn() -> Result<Arc<Container>, OpenError>,
    ) -> Result<Arc<Self>, OpenError> {
        let number = place.number;
        let name = format!("vfio/{}", place.name());
        let in_sysfs = DeviceNumber::in_sysfs(host, format!("class/vfio/{}", place.name()));
        let explained = |error: OpenError| error.explained(host, number);
        let device_number =
            in_sysfs.map_or_else(|| DeviceNumber::of_path(host, &name), Ok).map_err(explained)?;
        let group = OPEN.acquire(device_number.0, || {
            let opened = node::open(nodes, host, &name, Some(device_number));
            let mut fd = Linked::not_yet(GroupFd::new(opened.map_err(explained)?));
            let step = OpenStep::AskGroup { group: number };
            if !fd.is_viable().map_err(|source| OpenError::Step { step, source })? {
                let members = Member::of_group(host, number).unwrap_or_default();
                return Err(OpenError::NotViable { group: number, members, source: None });
            }
            let container = container()?;
            container.attach(&fd, number)?;
            // Before Linux 5.19 it must have a container to be linked, and keeps it while it is.
            if let Err(error) = fd.link(kvm, device) {
                container.detach(&fd, number);
                return Err(error);
            }
            Ok(Self { number, device_number: device_number.0, fd: Some(fd), container })
        })?;
        if !Arc::ptr_eq(&group.container, &container()?) {
            return Err(OpenError::OtherContainer { group: number });
        }
        if !group.fd.as_ref().is_some_and(|fd| fd.suits(kvm)) {
            return Err(OpenError::OtherVm { device: device.to_owned() });
        }
        Ok(group)
    }

    /// `None` when no IOMMU is in front of it.
    pub(super) fn address_space(&self) -> Option<AddressSpace> {
        self.container.address_space().ok()
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn fd(&self) -> Option<&GroupFd> {
        self.fd.as_deref()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        OPEN.release(self.device_number, || {
            if let Some(mut fd) = self.fd.take() {
                fd.unlink();
                self.container.detach(&fd, self.number);
            }
        });
    }
}
