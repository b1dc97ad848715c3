//! A container: the IOMMU address space that groups are attached to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::OpenStep;
use super::{Nodes, OpenError, node};
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
    /// A group could not leave: a forked child may hold its device. The count says nothing then.
    is_spoiled: AtomicBool,
}

impl Container {
    pub(super) fn open(nodes: &dyn Nodes, host: &Host) -> Result<Self, OpenError> {
        let fd = Arc::new(ContainerFd::new(node::open(nodes, host, "vfio/vfio", None)?));
        let ask = |source| OpenError::Step { step: OpenStep::AskContainer, source };
        let found = fd.api_version().map_err(ask)?;
        if found != API_VERSION {
            return Err(OpenError::ApiVersion { found });
        }
        if !fd.has_type1v2().map_err(ask)? {
            return Err(OpenError::NoType1);
        }
        let (space, attach) = AddressSpace::with_devices(Type1::new(fd.clone()));
        let (attached, is_spoiled) = Default::default();
        Ok(Self { fd, space, attach, attached, is_spoiled })
    }

    /// Whether more groups can be attached.
    pub(super) fn is_sound(&self) -> bool {
        !self.is_spoiled.load(Ordering::Relaxed)
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
            return Err(OpenError::Step { step: OpenStep::SetIommu { group: number }, source });
        }
        *attached = attached.saturating_add(1);
        self.attach.attach();
        Ok(())
    }

    pub(super) fn detach(&self, group: &GroupFd, number: u32) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        self.attach.detach(|| {
            if let Err(error) = group.unset_container() {
                // It leaves when the last descriptor of its devices closes.
                self.is_spoiled.store(true, Ordering::Relaxed);
                tracing::debug!(group = number, %error, "the group did not leave its container");
            }
        });
        *attached = attached.saturating_sub(1);
    }
}
