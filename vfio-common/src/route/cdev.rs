//! Devices by their own character device and an iommufd.

use std::sync::Arc;

use super::error::OpenStep;
use super::ioas::Ioas;
use super::node::{self, DeviceNumber};
use super::once::OpenOnce;
use super::{Nodes, OpenError, Target};
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
    fd: Option<DeviceFd>,
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
        ioas: Arc<Ioas>,
    ) -> Result<Arc<Self>, OpenError> {
        let number = place.device_number;
        let cdev = OPEN.acquire(number.0, || -> Result<Self, OpenError> {
            let fd = DeviceFd::new(node::open(nodes, host, &place.name, Some(number))?.into());
            let node = || host.device_node(&place.name);
            fd.bind(&ioas.fd).map_err(|source| OpenError::bind(host, target, node(), source))?;
            let step = || OpenStep::AttachIoas { device: target.name.clone() };
            fd.attach(ioas.id).map_err(|source| OpenError::Step { step: step(), source })?;
            ioas.attach.attach();
            Ok(Self { device_number: number.0, fd: Some(fd), ioas: ioas.clone() })
        })?;
        let same = Arc::ptr_eq(&cdev.ioas, &ioas);
        same.then_some(cdev).ok_or_else(|| OpenError::OtherIoas { device: target.name.clone() })
    }

    pub(super) fn address_space(&self) -> AddressSpace {
        self.ioas.address_space()
    }

    pub(super) fn fd(&self) -> Option<&DeviceFd> {
        self.fd.as_ref()
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
