//! A container: the IOMMU address space that groups are attached to.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::OpenStep;
use super::{OpenError, node};
use crate::iommu::{AddressSpace, Attach, Type1};
use crate::sysfs::Host;
use crate::uapi::{ContainerFd, GroupFd};

/// The only version of the interface there has ever been.
const API_VERSION: i32 = 0;

/// An open container with the type 1 version 2 IOMMU.
#[derive(Debug)]
pub(super) struct Container {
    fd: Arc<ContainerFd>,
    space: AddressSpace,
    /// Tells the address space of groups that come and go.
    attach: Attach,
    /// Number of groups attached. The kernel takes an IOMMU only once the first is attached, and
    /// forgets it when the last one leaves.
    attached: Mutex<usize>,
}

impl Container {
    pub(super) fn open(host: &Host) -> Result<Self, OpenError> {
        let fd = Arc::new(ContainerFd::new(node::open(&host.device_node("vfio/vfio"))?));
        let ask = |source| OpenError::Step { step: OpenStep::AskContainer, source };
        let found = fd.api_version().map_err(ask)?;
        if found != API_VERSION {
            return Err(OpenError::ApiVersion { found });
        }
        if !fd.has_type1v2().map_err(ask)? {
            return Err(OpenError::NoType1);
        }
        let (space, attach) = AddressSpace::with_devices(Type1::new(fd.clone()));
        Ok(Self { fd, space, attach, attached: Mutex::new(0) })
    }

    /// Its address space, in a handle that keeps the container open.
    pub(super) fn address_space(self: &Arc<Self>) -> AddressSpace {
        self.space.keeping(self.clone())
    }

    pub(super) fn attach(&self, group: &GroupFd, number: u32) -> Result<(), OpenError> {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let step = OpenStep::SetContainer { group: number };
        group.set_container(&self.fd).map_err(|source| OpenError::Step { step, source })?;
        if *attached == 0
            && let Err(source) = self.fd.set_type1v2()
        {
            // The group leaves the container when it closes; leaving now says so at once.
            let left = group.unset_container();
            tracing::debug!(group = number, ?left, "detached after a failure");
            return Err(OpenError::Step { step: OpenStep::SetIommu, source });
        }
        *attached = attached.saturating_add(1);
        self.attach.attach();
        Ok(())
    }

    pub(super) fn detach(&self, group: &GroupFd, number: u32) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        self.attach.detach(|| {
            if let Err(error) = group.unset_container() {
                // It leaves when its descriptor closes, which comes next.
                tracing::debug!(group = number, %error, "the group did not leave its container");
            }
        });
        *attached = attached.saturating_sub(1);
    }
}
