//! An I/O address space of an iommufd, which devices are attached to.

use std::sync::Arc;

use super::error::OpenStep;
use super::{Nodes, OpenError, node};
use crate::iommu::{AddressSpace, Attach};
use crate::sysfs::Host;
use crate::uapi::IommuFd;

/// An iommufd and one address space in it, which is destroyed with its last handle.
#[derive(Debug)]
pub(super) struct Ioas {
    pub(super) fd: Arc<IommuFd>,
    pub(super) id: u32,
    space: AddressSpace,
    /// Tells the address space of devices that come and go.
    pub(super) attach: Attach,
}

impl Ioas {
    pub(super) fn open(nodes: &dyn Nodes, host: &Host) -> Result<Self, OpenError> {
        let fd = Arc::new(IommuFd::new(node::open(nodes, host, "iommu", None)?));
        let step = OpenStep::AllocateIoas;
        let id = fd.allocate_ioas().map_err(|source| OpenError::Step { step, source })?;
        let (space, attach) = AddressSpace::of_ioas_with_devices(fd.clone(), id);
        Ok(Self { fd, id, space, attach })
    }

    /// Its address space, in a handle that keeps the iommufd open.
    pub(super) fn address_space(self: &Arc<Self>) -> AddressSpace {
        self.space.keeping(self.clone())
    }
}
