//! Virtual machines of this process, for devices that open only when they are linked to one.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::error::{OpenStep, errno};
use super::node::{self, ByPath};
use super::{Nodes, OpenError};
use crate::sysfs::Host;
use crate::uapi::{KvmFd, KvmVfioFd};

/// The only version of the interface there is.
const API_VERSION: i32 = 12;

/// Kernel drivers that let a device be opened only when a KVM virtual machine is linked to it
/// (`drivers/gpu/drm/i915/gvt/kvmgt.c`, `drivers/s390/crypto/vfio_ap_ops.c`).
const DRIVERS_THAT_WANT_IT: [&str; 2] = ["intel_vgpu_mdev", "vfio_ap_mdev"];

/// A KVM virtual machine of this process, to link devices to: some kernel drivers open a device only
/// for a virtual machine (GVT-g answers `ESRCH` otherwise, `vfio_ap` `EINVAL`). It needs neither memory
/// nor processors for that. Give it to [`Vfio::kvm`](super::Vfio::kvm) or
/// [`OpenWith::kvm`](super::OpenWith::kvm).
///
/// A cheap handle. A device that is open keeps the machine that it is linked to, and takes leave of it
/// when it closes.
///
/// ```no_run
/// use vfio_common::route::{Kvm, Opener as _, Target, Vfio};
/// use vfio_common::sysfs::Host;
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Host::system();
/// let vfio = Vfio::new(host.clone()).kvm(&Kvm::create(&host)?);
/// let name = "4f1d8a3e-7f5c-4c3e-9f7f-0d2f5e1c6b7a".to_owned();
/// let device = vfio.open(&Target { sysfs: format!("bus/mdev/devices/{name}").into(), name })?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Kvm(Arc<Machine>);

#[derive(Debug)]
struct Machine {
    /// It holds the machine.
    vfio: KvmVfioFd,
    /// Of a machine that was made here.
    vm: Option<OwnedFd>,
}

impl Kvm {
    /// A new virtual machine, with nothing in it.
    ///
    /// # Errors
    /// [`OpenError`] when `/dev/kvm` cannot be opened, or KVM refuses.
    pub fn create(host: &Host) -> Result<Self, OpenError> {
        Self::create_through(&ByPath(host.clone()), host)
    }

    /// The same, with the node `kvm` from somebody else.
    ///
    /// # Errors
    /// As [`Kvm::create`].
    pub fn create_through(nodes: &dyn Nodes, host: &Host) -> Result<Self, OpenError> {
        let kvm = KvmFd::new(node::open(nodes, host, "kvm", None)?);
        let failed = |source| OpenError::Step { step: OpenStep::CreateVm, source };
        let found = kvm.api_version().map_err(failed)?;
        if found != API_VERSION {
            return Err(failed(io::Error::other(format!("it speaks version {found} of KVM"))));
        }
        let vm = kvm.create_vm().map_err(failed)?;
        let vfio = create_vfio_device(vm.as_fd())?;
        Ok(Self(Arc::new(Machine { vfio, vm: Some(vm) })))
    }

    /// A virtual machine that there is, by its descriptor, for a monitor that did not make the VFIO
    /// device of its machine: there is one a machine, and this makes it.
    ///
    /// # Errors
    /// [`OpenError::Step`] when KVM refuses.
    pub fn of_vm(vm: impl AsFd) -> Result<Self, OpenError> {
        let vfio = create_vfio_device(vm.as_fd())?;
        Ok(Self(Arc::new(Machine { vfio, vm: None })))
    }

    /// A virtual machine by the descriptor of its VFIO device (`KVM_CREATE_DEVICE` with
    /// `KVM_DEV_TYPE_VFIO`), for a monitor that made it.
    #[must_use]
    pub fn of_vfio_device(fd: OwnedFd) -> Self {
        Self(Arc::new(Machine { vfio: KvmVfioFd::new(fd), vm: None }))
    }

    /// The descriptor of a virtual machine that [`Kvm::create`] made, for what else is done with it.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.vm.as_ref().map(AsFd::as_fd)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn create_vfio_device(vm: BorrowedFd<'_>) -> Result<KvmVfioFd, OpenError> {
    let step = OpenStep::CreateKvmDevice;
    KvmVfioFd::create(vm).map_err(|source| OpenError::Step { step, source })
}

/// Whether devices of a kernel driver are known to open only when they are linked.
pub(crate) fn is_wanted_by(driver: &str) -> bool {
    DRIVERS_THAT_WANT_IT.contains(&driver)
}

/// The descriptor of a group or of a device, which a virtual machine may have been told of. The machine
/// holds the file until it is told to let go, which takes a descriptor that is open: it is told before
/// this one closes.
#[derive(Debug)]
pub(super) struct Linked<T: AsFd> {
    fd: T,
    kvm: Option<Kvm>,
}

impl<T: AsFd> Linked<T> {
    pub(super) fn not_yet(fd: T) -> Self {
        Self { fd, kvm: None }
    }

    /// Links it, if there is something to link it to.
    pub(super) fn link(&mut self, kvm: Option<&Kvm>, device: &str) -> Result<(), OpenError> {
        let Some(kvm) = kvm else { return Ok(()) };
        let step = || OpenStep::LinkKvm { device: device.to_owned() };
        kvm.0
            .vfio
            .add(self.fd.as_fd())
            .map_err(|source| OpenError::Step { step: step(), source })?;
        self.kvm = Some(kvm.clone());
        Ok(())
    }

    /// Whether it is as somebody wants it: linked to this one, or to any when none is asked for.
    pub(super) fn suits(&self, kvm: Option<&Kvm>) -> bool {
        kvm.is_none_or(|kvm| self.kvm.as_ref().is_some_and(|linked| linked.is(kvm)))
    }

    pub(super) fn unlink(&mut self) {
        if let Some(kvm) = self.kvm.take()
            && let Err(error) = kvm.0.vfio.remove(self.fd.as_fd())
        {
            tracing::debug!(%error, "the virtual machine did not let go");
        }
    }
}

impl<T: AsFd> Deref for Linked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.fd
    }
}

impl<T: AsFd> Drop for Linked<T> {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// What to do when `/dev/kvm` does not open; `None` when this is another node.
pub(super) fn node_advice(node: &Path, source: &io::Error) -> Option<String> {
    if !node.ends_with("kvm") {
        return None;
    }
    Some(match errno(source) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => {
            ": modprobe kvm_intel or kvm_amd, where the firmware lets the processor do it, or pass the \
             node into this container (--device /dev/kvm)"
                .into()
        }
        Some(Errno::ACCESS) => {
            format!("{}; add the user to the group kvm", super::error::ownership(node))
        }
        Some(Errno::PERM) => {
            ": the device cgroup of this container forbids it; pass --device /dev/kvm to it".into()
        }
        _ => String::new(),
    })
}

/// What to do when a step with a virtual machine fails.
pub(super) fn step_advice(step: &OpenStep, source: &io::Error) -> &'static str {
    match (step, errno(source)) {
        (OpenStep::CreateVm, Some(Errno::NOTTY)) => ": the node is not that of KVM",
        (OpenStep::CreateVm, Some(Errno::BUSY | Errno::IO)) => {
            ": another hypervisor may have taken the processor, see the kernel log (dmesg)"
        }
        (OpenStep::CreateKvmDevice, Some(Errno::BUSY)) => {
            ": it has one, and has one only; give its descriptor to `Kvm::of_vfio_device`"
        }
        (OpenStep::CreateKvmDevice, Some(Errno::NODEV)) => {
            ": this kernel's KVM is built without VFIO (CONFIG_KVM_VFIO)"
        }
        (OpenStep::CreateKvmDevice | OpenStep::LinkKvm { .. }, Some(Errno::NOTTY)) => {
            ": the descriptor is not that of a KVM virtual machine"
        }
        (OpenStep::CreateKvmDevice | OpenStep::LinkKvm { .. }, Some(Errno::IO)) => {
            ": the virtual machine is another process's, or its owner has ended"
        }
        (OpenStep::LinkKvm { .. }, Some(Errno::EXIST)) => {
            ": the virtual machine's monitor has linked it already"
        }
        _ => "",
    }
}
