//! Opening devices through the kernel.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::io::Errno;

use super::cdev::{Cdev, Place};
use super::container::Container;
use super::group::{self, Group};
use super::ioas::Ioas;
use super::kernel::KernelDevice;
use super::node::ByPath;
use super::{Kvm, Nodes, OpenError, OpenWith, Opener, Target};
use crate::device::{Device, VfToken};
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
    /// What all devices are opened with.
    with: OpenWith,
    pub(super) allows_no_iommu: bool,
    container: Mutex<Weak<Container>>,
    /// For groups without an IOMMU, which the kernel does not let in with others.
    no_iommu: Mutex<Weak<Container>>,
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
        let (with, allows_no_iommu, container, no_iommu, ioas) = Default::default();
        let route = Route::Auto;
        Self { host, nodes, route, with, allows_no_iommu, container, no_iommu, ioas }
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

    /// With all devices linked to a virtual machine, for those that open only so (`KVM_DEV_VFIO_FILE_ADD`
    /// of `include/uapi/linux/kvm.h`); see [`Kvm`].
    #[must_use]
    pub fn kvm(mut self, vm: &Kvm) -> Self {
        self.with = self.with.kvm(vm);
        self
    }

    /// With a token for those devices that take one: virtual functions, and the physical functions that
    /// have them; see [`OpenWith::vf_token`].
    #[must_use]
    pub fn vf_token(mut self, token: VfToken) -> Self {
        self.with = self.with.vf_token(token);
        self
    }

    /// Opens a device with what it alone is to be opened with, on top of what all devices are.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing stays open.
    pub fn open_with(&self, target: &Target, with: &OpenWith) -> Result<Device, OpenError> {
        let with = &with.or(&self.with, &self.host, target)?;
        match self.route {
            Route::Auto => self.open_by_either(target, with),
            Route::Group => self.open_by_group(target, with),
            Route::Cdev => match Place::of(&self.host, target)? {
                Some(place) => self.open_by_cdev(target, with, &place),
                None => Err(self.no_cdev(target)),
            },
        }
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
    /// [`OpenError`] when the container or the iommufd cannot be opened, and
    /// [`OpenError::NoAddressSpace`] when only devices without an IOMMU are open.
    pub fn address_space(&self) -> Result<AddressSpace, OpenError> {
        match (in_use(&self.ioas), in_use(&self.container), in_use(&self.no_iommu)) {
            (None, None, Some(no_iommu)) => return no_iommu.address_space(),
            (Some(ioas), _, _) if self.route == Route::Auto => return Ok(ioas.address_space()),
            (None, Some(container), _) if self.route == Route::Auto => {
                return container.address_space();
            }
            _ => {}
        }
        match self.route {
            Route::Group => self.container()?.address_space(),
            Route::Cdev => Ok(self.ioas()?.address_space()),
            Route::Auto => match self.ioas() {
                Err(OpenError::Node { source, .. }) if is_out_of_reach(&source) => {
                    self.container()?.address_space()
                }
                ioas => Ok(ioas?.address_space()),
            },
        }
    }

    fn container(&self) -> Result<Arc<Container>, OpenError> {
        shared(&self.container, Container::is_sound, || Container::open(&*self.nodes, &self.host))
    }

    fn ioas(&self) -> Result<Arc<Ioas>, OpenError> {
        shared(&self.ioas, |_| true, || Ioas::open(&*self.nodes, &self.host))
    }

    fn no_iommu_container(&self) -> Result<Arc<Container>, OpenError> {
        let open = || Container::open_no_iommu(&*self.nodes, &self.host);
        shared(&self.no_iommu, Container::is_sound, open)
    }

    fn open_by_group(&self, target: &Target, with: &OpenWith) -> Result<Device, OpenError> {
        let place = self.group(target)?;
        let container =
            || if place.no_iommu { self.no_iommu_container() } else { self.container() };
        let (nodes, host, kvm) = (&*self.nodes, &self.host, with.kvm.as_ref());
        let group = Group::acquire(nodes, host, &place, &target.name, kvm, container)?;
        let mut name = target.name.clone();
        if let Some(token) = with.vf_token {
            name = format!("{name} vf_token={}", token.as_text());
        }
        let name =
            CString::new(name).map_err(|_| OpenError::NoDevice { device: target.name.clone() })?;
        let fd = group.fd().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        let fd = fd.and_then(|fd| fd.device(&name));
        let fd =
            fd.map_err(|source| OpenError::get_device(host, target, with, group.number(), source))?;
        finish(target, KernelDevice::OfGroup { fd: DeviceFd::new(fd), group })
    }

    /// The group of a device, if it may be opened.
    fn group(&self, target: &Target) -> Result<group::Place, OpenError> {
        let place = group::Place::of(&self.host, target)?;
        if place.no_iommu && !self.allows_no_iommu {
            return Err(OpenError::NoIommu { group: place.number });
        }
        Ok(place)
    }

    fn open_by_cdev(
        &self,
        target: &Target,
        with: &OpenWith,
        place: &Place,
    ) -> Result<Device, OpenError> {
        let cdev = Cdev::acquire(&*self.nodes, &self.host, place, target, with, self.ioas()?)?;
        finish(target, KernelDevice::Cdev(cdev))
    }

    fn open_by_either(&self, target: &Target, with: &OpenWith) -> Result<Device, OpenError> {
        let device = target.name.as_str();
        let Some(place) = Place::of(&self.host, target)? else {
            tracing::debug!(device, "opened by its group: the kernel gives it no character device");
            return self.open_by_group(target, with);
        };
        match self.open_by_cdev(target, with, &place) {
            Err(OpenError::Node { node, source }) if is_out_of_reach(&source) => {
                let node = node.display();
                tracing::info!(device, %node, %source, "opened by its group: no way to the node");
                self.open_by_group(target, with)
            }
            opened => opened,
        }
    }

    /// Why a device has no character device.
    fn no_cdev(&self, target: &Target) -> OpenError {
        let device = || target.name.clone();
        match self.group(target) {
            Err(error @ OpenError::NoIommu { .. }) => error,
            Ok(place) if place.no_iommu => OpenError::NoIommuByCdev { device: device() },
            _ => OpenError::NoCdev { device: device() },
        }
    }
}

impl Opener for Vfio {
    fn open(&self, target: &Target) -> Result<Device, OpenError> {
        self.open_with(target, &OpenWith::new())
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
