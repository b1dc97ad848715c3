//! Devices from the kernel.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::container::Container;
use super::group::Group;
use super::{OpenError, Opener, Target};
use crate::device::{Backend, Device, DeviceInfo, IrqInfo, IrqRequest};
use crate::mapping::{Mapping, Protection};
use crate::region::RegionInfo;
use crate::sysfs::Host;
use crate::uapi::DeviceFd;

/// Opens devices through the kernel's VFIO, by group and container. All devices that one `Vfio` opens
/// share one container, which is open as long as one of them is. There is no limit to the number of
/// groups.
///
/// ```no_run
/// use vfio_common::route::{Opener as _, Target, Vfio};
/// use vfio_common::sysfs::Host;
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let vfio = Vfio::new(Host::system());
/// let name = "0000:3b:00.0".to_owned();
/// let device = vfio.open(&Target { sysfs: format!("bus/pci/devices/{name}").into(), name })?;
/// println!("{} has {} regions", device.name(), device.info().num_regions);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Vfio {
    host: Host,
    container: Mutex<Weak<Container>>,
}

impl Vfio {
    /// Devices of `host`. Nothing is opened yet.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host, container: Mutex::default() }
    }

    fn container(&self) -> Result<Arc<Container>, OpenError> {
        let mut current = self.container.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(container) = current.upgrade() {
            return Ok(container);
        }
        let container = Arc::new(Container::open(&self.host)?);
        *current = Arc::downgrade(&container);
        Ok(container)
    }
}

impl Opener for Vfio {
    fn open(&self, target: &Target) -> Result<Device, OpenError> {
        let number = target.iommu_group(&self.host)?;
        let group = Group::acquire(&self.host, number, || self.container())?;
        let name = CString::new(target.name.as_str())
            .map_err(|_| OpenError::NoDevice { device: target.name.clone() })?;
        let fd = group.fd().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe));
        let fd = fd.and_then(|fd| fd.device(&name)).map_err(|source| {
            OpenError::get_device(&self.host, &target.name, group.number(), source)
        })?;
        let backend = KernelDevice { fd: DeviceFd::new(fd), _group: group };
        Ok(Device::new(target.name.as_str(), Arc::new(backend))?)
    }
}

/// A device descriptor and the group that it needs. The descriptor comes first, so that it closes
/// first.
#[derive(Debug)]
struct KernelDevice {
    fd: DeviceFd,
    _group: Arc<Group>,
}

impl Backend for KernelDevice {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        self.fd.info()
    }

    fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        self.fd.region_info(index)
    }

    fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        self.fd.irq_info(index)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.fd.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.fd.write_at(offset, bytes)
    }

    fn map(&self, offset: u64, length: usize, protection: Protection) -> io::Result<Mapping> {
        self.fd.map(offset, length, protection)
    }

    fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        self.fd.set_irqs(request)
    }

    fn feature(&self, flags: u32, data: &mut [u8]) -> io::Result<()> {
        self.fd.feature(flags, data)
    }

    fn set_migration_state(&self, state: u32) -> io::Result<Option<OwnedFd>> {
        self.fd.set_migration_state(state)
    }

    fn reset(&self) -> io::Result<()> {
        self.fd.reset()
    }
}
