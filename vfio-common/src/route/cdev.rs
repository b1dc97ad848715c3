//! Devices by their own character device and an iommufd.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use vfio_bindings::bindings::vfio as sys;

use super::error::{OpenStep, errno};
use super::ioas::Ioas;
use super::kvm::Linked;
use super::node::{self, DeviceNumber};
use super::once::OpenOnce;
use super::sriov::Function;
use super::{Nodes, OpenError, OpenWith, Target};
use crate::iommu::AddressSpace;
use crate::sysfs::Host;
use crate::uapi::DeviceFd;

/// The devices that are open in this process by this way: the kernel lets each be bound once.
static OPEN: OpenOnce<Cdev> = OpenOnce::new();

/// A device that is bound to an iommufd and attached to an address space.
#[derive(Debug)]
pub(super) struct Cdev {
    device_number: u64,
    /// `None` only while it is dropped.
    fd: Option<Linked<DeviceFd>>,
    ioas: Arc<Ioas>,
}

/// Where a device's character device is.
#[derive(Debug)]
pub(super) struct Place {
    name: String,
    device_number: DeviceNumber,
}

impl Place {
    /// Looks the device up in sysfs; `None` when this kernel gives it no character device.
    pub(super) fn of(host: &Host, target: &Target) -> Result<Option<Self>, OpenError> {
        let failed = |source| OpenError::Sysfs { device: target.name.clone(), source };
        let Some(name) = target.vfio_dev(host).map_err(failed)? else { return Ok(None) };
        let directory = target.sysfs.join("vfio-dev").join(&name);
        let number = DeviceNumber::in_sysfs(host, directory);
        let name = format!("vfio/devices/{name}");
        Ok(number.map(|device_number| Self { name, device_number }))
    }
}

impl Cdev {
    pub(super) fn acquire(
        nodes: &dyn Nodes,
        host: &Host,
        place: &Place,
        target: &Target,
        with: &OpenWith,
        ioas: Arc<Ioas>,
    ) -> Result<Arc<Self>, OpenError> {
        let number = place.device_number;
        let cdev = OPEN.acquire(number.0, || -> Result<Self, OpenError> {
            let node = node::open(nodes, host, &place.name, Some(number))?;
            let mut fd = Linked::not_yet(DeviceFd::new(node.into()));
            // What is linked later, the driver does not see.
            fd.link(with.kvm.as_ref(), &target.name)?;
            if let Err(source) = bind(&fd, &ioas, host, target, with) {
                drop(fd);
                let node = host.device_node(&place.name);
                return Err(OpenError::bind(host, target, with, node, source));
            }
            let step = || OpenStep::AttachIoas { device: target.name.clone() };
            fd.attach(ioas.id).map_err(|source| OpenError::Step { step: step(), source })?;
            ioas.attach.attach();
            Ok(Self { device_number: number.0, fd: Some(fd), ioas: ioas.clone() })
        })?;
        if !Arc::ptr_eq(&cdev.ioas, &ioas) {
            return Err(OpenError::OtherIoas { device: target.name.clone() });
        }
        if !cdev.fd.as_ref().is_some_and(|fd| fd.suits(with.kvm.as_ref())) {
            return Err(OpenError::OtherVm { device: target.name.clone() });
        }
        Ok(cdev)
    }

    pub(super) fn address_space(&self) -> AddressSpace {
        self.ioas.address_space()
    }

    pub(super) fn fd(&self) -> Option<&DeviceFd> {
        self.fd.as_deref()
    }
}

impl Drop for Cdev {
    fn drop(&mut self) {
        OPEN.release(self.device_number, || {
            // The device leaves its address space when it closes.
            self.ioas.attach.detach(|| drop(self.fd.take()));
        });
    }
}

/// Binds a device to an iommufd, with its token. Kernels that do not know tokens on this route (before
/// Linux 6.17) check none on it: there the device opens without, and a physical function, which others
/// may open by its group, is given the token as it would be given on that route.
fn bind(
    fd: &DeviceFd,
    ioas: &Ioas,
    host: &Host,
    target: &Target,
    with: &OpenWith,
) -> io::Result<()> {
    let Some(token) = with.vf_token else { return fd.bind(&ioas.fd) };
    match fd.bind_with_token(&ioas.fd, token.as_bytes()) {
        Err(error) if errno(&error) == Some(Errno::INVAL) => {}
        bound => return bound,
    }
    fd.bind(&ioas.fd)?;
    if matches!(Function::of(host, target), Ok(Function::Physical)) {
        let flags = sys::VFIO_DEVICE_FEATURE_SET | sys::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
        fd.feature(flags, &mut token.as_bytes().clone())?;
    }
    Ok(())
}
