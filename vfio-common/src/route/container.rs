//! A container: the IOMMU address space that groups are attached to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::OpenStep;
use super::{Nodes, OpenError, node};
use crate::iommu::{AddressSpace, Attach, Type1};
use crate::sysfs::Host;
use crate::uapi::{ContainerFd, GroupFd};

/// What is between the devices of a container and memory.
#[derive(Debug)]
enum Iommu {
    /// The type 1 version 2 IOMMU.
    Type1 {
        space: AddressSpace,
        /// Tells the address space of groups that come and go.
        attach: Attach,
    },
    /// Nothing.
    Absent,
}

/// The only version of the interface there has ever been.
const API_VERSION: i32 = 0;

/// An open container.
#[derive(Debug)]
pub(super) struct Container {
    fd: Arc<ContainerFd>,
    iommu: Iommu,
    /// Number of groups attached. The kernel takes an IOMMU only once the first is attached, and
    /// forgets it when the last one leaves.
    attached: Mutex<usize>,
    /// A group could not leave: a forked child may hold its device. The count says nothing then.
    is_spoiled: AtomicBool,
}

impl Container {
    /// For groups with an IOMMU.
    pub(super) fn open(nodes: &dyn Nodes, host: &Host) -> Result<Self, OpenError> {
        let fd = open(nodes, host)?;
        if !fd.has_type1v2().map_err(ask)? {
            return Err(OpenError::NoType1);
        }
        let (space, attach) = AddressSpace::with_devices(Type1::new(fd.clone()));
        Ok(Self::new(fd, Iommu::Type1 { space, attach }))
    }

    /// For groups without. That it takes them, the kernel says only when it has one.
    pub(super) fn open_no_iommu(nodes: &dyn Nodes, host: &Host) -> Result<Self, OpenError> {
        Ok(Self::new(open(nodes, host)?, Iommu::Absent))
    }

    fn new(fd: Arc<ContainerFd>, iommu: Iommu) -> Self {
        let (attached, is_spoiled) = Default::default();
        Self { fd, iommu, attached, is_spoiled }
    }

    /// Whether more groups can be attached.
    pub(super) fn is_sound(&self) -> bool {
        !self.is_spoiled.load(Ordering::Relaxed)
    }

    /// Its address space, in a handle that keeps the container open.
    pub(super) fn address_space(self: &Arc<Self>) -> Result<AddressSpace, OpenError> {
        match &self.iommu {
            Iommu::Type1 { space, .. } => Ok(space.keeping(self.clone())),
            Iommu::Absent => Err(OpenError::NoAddressSpace),
        }
    }

    pub(super) fn attach(&self, group: &GroupFd, number: u32) -> Result<(), OpenError> {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let (set_container, set_iommu) = match self.iommu {
            Iommu::Type1 { .. } => {
                (OpenStep::SetContainer { group: number }, OpenStep::SetIommu { group: number })
            }
            Iommu::Absent => {
                let step = OpenStep::AttachNoIommu { group: number };
                (step.clone(), step)
            }
        };
        let failed = |step| move |source| OpenError::Step { step, source };
        group.set_container(&self.fd).map_err(failed(set_container))?;
        if *attached == 0
            && let Err(source) = self.set_iommu()
        {
            // The group leaves the container when it closes; leaving now says so at once.
            let left = group.unset_container();
            tracing::debug!(group = number, ?left, "detached after a failure");
            return Err(failed(set_iommu)(source));
        }
        *attached = attached.saturating_add(1);
        if let Iommu::Type1 { attach, .. } = &self.iommu {
            attach.attach();
        }
        Ok(())
    }

    fn set_iommu(&self) -> io::Result<()> {
        match self.iommu {
            Iommu::Type1 { .. } => self.fd.set_type1v2(),
            Iommu::Absent => self.fd.set_no_iommu(),
        }
    }

    pub(super) fn detach(&self, group: &GroupFd, number: u32) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let leave = || {
            if let Err(error) = group.unset_container() {
                // It leaves when the last descriptor of its devices closes.
                self.is_spoiled.store(true, Ordering::Relaxed);
                tracing::debug!(group = number, %error, "the group did not leave its container");
            }
        };
        match &self.iommu {
            Iommu::Type1 { attach, .. } => attach.detach(leave),
            Iommu::Absent => leave(),
        }
        *attached = attached.saturating_sub(1);
    }
}

/// A container that speaks our version of the interface.
fn open(nodes: &dyn Nodes, host: &Host) -> Result<Arc<ContainerFd>, OpenError> {
    let fd = ContainerFd::new(node::open(nodes, host, "vfio/vfio", None)?);
    match fd.api_version().map_err(ask)? {
        API_VERSION => Ok(Arc::new(fd)),
        found => Err(OpenError::ApiVersion { found }),
    }
}

fn ask(source: io::Error) -> OpenError {
    OpenError::Step { step: OpenStep::AskContainer, source }
}
