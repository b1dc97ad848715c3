//! Opening devices through the kernel.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::io::Errno;

use super::cdev::{Cdev, Place};
use super::container::Container;
use super::group::Group;
use super::ioas::Ioas;
use super::kernel::KernelDevice;
use super::node::ByPath;
use super::{Nodes, OpenError, Opener, Target};
use crate::device::Device;
use crate::iommu::AddressSpace;
use crate::sysfs::Host;
use crate::uapi::DeviceFd;

/// Opens devices through the kernel's VFIO. All devices that one `Vfio` opens share one address space
/// for their DMA, which exists as long as one of them is open. There is no limit to their number.
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
    nodes: Arc<dyn Nodes>,
    route: Route,
    container: Mutex<Weak<Container>>,
    ioas: Mutex<Weak<Ioas>>,
}

/// Which way leads to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Route {
    /// Its character device where there is one that can be opened, its group elsewhere; the log says
    /// why.
    #[default]
    Auto,
    /// Its character device and an iommufd: Linux 6.6 and later, where they are built in.
    Cdev,
    /// Its IOMMU group and a container.
    Group,
}

impl Vfio {
    /// Devices of `host`, by whichever route there is. Nothing is opened yet.
    #[must_use]
    pub fn new(host: Host) -> Self {
        let nodes = Arc::new(ByPath(host.clone()));
        let (container, ioas) = Default::default();
        Self { host, nodes, route: Route::Auto, container, ioas }
    }

    /// By this route.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// With nodes that somebody else opens.
    #[must_use]
    pub fn nodes(mut self, nodes: Arc<dyn Nodes>) -> Self {
        self.nodes = nodes;
        self
    }

    /// The address space that all devices share which this `Vfio` opens by one route. It takes mappings
    /// as long as one of these devices is open; see [`AddressSpace`].
    ///
    /// With [`Route::Auto`] it is the one of the devices that are open, by character device before by
    /// group; when none is, that of the route which a device with a character device would take. Devices
    /// that were opened by different routes are in different address spaces: force a route where that
    /// matters.
    ///
    /// # Errors
    /// [`OpenError`] when the container or the iommufd cannot be opened.
    pub fn address_space(&self) -> Result<AddressSpace, OpenError> {
        match self.route {
            Route::Group => Ok(self.container()?.address_space()),
            Route::Cdev => Ok(self.ioas()?.address_space()),
            Route::Auto => match (in_use(&self.ioas), in_use(&self.container)) {
                (Some(ioas), _) => Ok(ioas.address_space()),
                (None, Some(container)) => Ok(container.address_space()),
                (None, None) => match self.ioas() {
                    Err(OpenError::Node { source, .. }) if is_out_of_reach(&source) => {
                        Ok(self.container()?.address_space())
                    }
                    ioas => Ok(ioas?.address_space()),
                },
            },
        }
    }

    fn container(&self) -> Result<Arc<Container>, OpenError> {
        shared(&self.container, Container::is_sound, || Container::open(&*self.nodes, &self.host))
    }

    fn ioas(&self) -> Result<Arc<Ioas>, OpenError> {
        shared(&self.ioas, |_| true, || Ioas::open(&*self.nodes, &self.host))
    }

    fn open_by_group(&self, target: &Target) -> Result<Device, OpenError> {
        let number = target.iommu_group(&self.host)?;
        let group = Group::acquire(&*self.nodes, &self.host, number, || self.container())?;
        let name = CString::new(target.name.as_str())
            .map_err(|_| OpenError::NoDevice { device: target.name.clone() })?;
        let fd = group.fd().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        let fd = fd.and_then(|fd| fd.device(&name));
        let fd = fd.map_err(|source| {
            OpenError::get_device(&self.host, &target.name, group.number(), source)
        })?;
        finish(target, KernelDevice::OfGroup { fd: DeviceFd::new(fd), _group: group })
    }

    fn open_by_cdev(&self, target: &Target, place: &Place) -> Result<Device, OpenError> {
        let cdev = Cdev::acquire(&*self.nodes, &self.host, place, target, self.ioas()?)?;
        finish(target, KernelDevice::Cdev(cdev))
    }

    fn open_by_either(&self, target: &Target) -> Result<Device, OpenError> {
        let device = target.name.as_str();
        let Some(place) = Place::of(&self.host, target)? else {
            tracing::debug!(device, "opened by its group: the kernel gives it no character device");
            return self.open_by_group(target);
        };
        match self.open_by_cdev(target, &place) {
            Err(OpenError::Node { node, source }) if is_out_of_reach(&source) => {
                let node = node.display();
                tracing::info!(device, %node, %source, "opened by its group: no way to the node");
                self.open_by_group(target)
            }
            opened => opened,
        }
    }
}

impl Opener for Vfio {
    fn open(&self, target: &Target) -> Result<Device, OpenError> {
        match self.route {
            Route::Auto => self.open_by_either(target),
            Route::Group => self.open_by_group(target),
            Route::Cdev => match Place::of(&self.host, target)? {
                Some(place) => self.open_by_cdev(target, &place),
                None => Err(OpenError::NoCdev { device: target.name.clone() }),
            },
        }
    }
}

/// A device that somebody else opened, by the descriptor that its group gave or that is bound to an
/// iommufd. Its group and container, or its iommufd, are that somebody's affair; the kernel keeps them
/// as long as the device is open.
///
/// # Errors
/// [`OpenError::Device`] when the descriptor is not one of a VFIO device.
pub fn adopt(name: &str, fd: OwnedFd) -> Result<Device, OpenError> {
    Ok(Device::new(name, Arc::new(KernelDevice::Adopted(DeviceFd::new(fd))))?)
}

fn finish(target: &Target, device: KernelDevice) -> Result<Device, OpenError> {
    Ok(Device::new(target.name.as_str(), Arc::new(device))?)
}

fn in_use<T>(slot: &Mutex<Weak<T>>) -> Option<Arc<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
}

/// What is shared as long as somebody uses it.
fn shared<T>(
    slot: &Mutex<Weak<T>>,
    is_sound: impl FnOnce(&T) -> bool,
    open: impl FnOnce() -> Result<T, OpenError>,
) -> Result<Arc<T>, OpenError> {
    let mut current = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = current.upgrade().filter(|shared| is_sound(shared)) {
        return Ok(shared);
    }
    let shared = Arc::new(open()?);
    *current = Arc::downgrade(&shared);
    Ok(shared)
}

/// Whether the other route is worth a try: the node is not there, or not ours.
fn is_out_of_reach(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::NODEV | Errno::NXIO))
}
