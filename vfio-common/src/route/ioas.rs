//! An I/O address space of an iommufd, which devices are attached to.

use std::sync::Arc;

use super::error::OpenStep;
use super::{Nodes, OpenError, node};
use crate::sysfs::Host;
use crate::uapi::IommuFd;

/// An iommufd and one address space in it.
#[derive(Debug)]
pub(super) struct Ioas {
    pub(super) fd: Arc<IommuFd>,
    pub(super) id: u32,
}

impl Ioas {
    pub(super) fn open(nodes: &dyn Nodes, host: &Host) -> Result<Self, OpenError> {
        let fd = Arc::new(IommuFd::new(node::open(nodes, host, "iommu", None)?));
        let step = OpenStep::AllocateIoas;
        let id = fd.allocate_ioas().map_err(|source| OpenError::Step { step, source })?;
        Ok(Self { fd, id })
    }
}

impl Drop for Ioas {
    fn drop(&mut self) {
        if let Err(error) = self.fd.destroy(self.id) {
            // It goes with the iommufd's last descriptor.
            tracing::debug!(ioas = self.id, %error, "the address space was not destroyed");
        }
    }
}
