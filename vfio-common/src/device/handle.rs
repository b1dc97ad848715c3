//! The handle to an open device.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::{Backend, DeviceError, DeviceInfo, IrqInfo};
use crate::iommu::AddressSpace;
use crate::irq::Claims;
use crate::pci_config::{ConfigError, PciConfig};
use crate::region::{Region, RegionError, RegionInfo, RegionState};

/// An open device: what `VFIO_GROUP_GET_DEVICE_FD` gives, or a character device that is bound. Clones
/// are handles to the same one. It closes when the last of them is dropped, and the last of what keeps it
/// open: a [`Region`], [`Window`](crate::region::Window), [`IrqSet`](crate::irq::IrqSet), and what else
/// says so.
#[derive(Debug, Clone)]
pub struct Device {
    shared: Arc<Shared>,
}

/// Invariant: the fields drop in this order, so the backend's descriptor outlives every mapping of it
/// (regions hold the whole `Shared`, which holds only weak references to them).
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    info: DeviceInfo,
    /// Regions in use, so that one region is mapped once.
    regions: Mutex<BTreeMap<u32, Weak<RegionState>>>,
    /// Interrupts that are on.
    pub(crate) irqs: Claims,
    /// Whether a log of its DMA runs.
    pub(super) is_logging: AtomicBool,
    pub(crate) backend: Arc<dyn Backend>,
}

/// What became of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetOutcome {
    /// The device was reset.
    Done,
    /// The device has no reset.
    Unsupported,
}

impl Device {
    /// A device named `name` in messages and behind `backend`.
    ///
    /// # Errors
    /// [`DeviceError::Info`] when the backend cannot tell what it is.
    pub fn new(name: impl Into<Arc<str>>, backend: Arc<dyn Backend>) -> Result<Self, DeviceError> {
        let name = name.into();
        let info = backend
            .device_info()
            .map_err(|source| DeviceError::Info { device: name.clone(), source })?;
        let (regions, irqs, is_logging) = Default::default();
        Ok(Self { shared: Arc::new(Shared { name, info, regions, irqs, is_logging, backend }) })
    }

    /// The device's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Kind and numbers of regions and interrupts, as read when it was opened (`VFIO_DEVICE_GET_INFO`).
    #[must_use]
    pub fn info(&self) -> DeviceInfo {
        self.shared.info
    }

    /// What the device says of region `index` (`VFIO_DEVICE_GET_REGION_INFO`); `None` when it has no such
    /// region. Any index can be asked for, also one past [`DeviceInfo::num_regions`].
    ///
    /// # Errors
    /// [`DeviceError::RegionInfo`] when the device has it and cannot describe it.
    pub fn region_info(&self, index: u32) -> Result<Option<RegionInfo>, DeviceError> {
        match self.shared.backend.region_info(index) {
            Ok(info) if info.size == 0 => Ok(None),
            // The index is the one asked for, whatever a backend in software fills in.
            Ok(info) => Ok(Some(RegionInfo { index, ..info })),
            Err(error) if is_invalid(&error) => Ok(None),
            Err(source) => {
                Err(DeviceError::RegionInfo { device: self.shared.name.clone(), index, source })
            }
        }
    }

    /// Region `index`, with what can be mapped of it mapped. Asking again for a region in use gives
    /// the same mapping.
    ///
    /// # Errors
    /// [`RegionError::Absent`] when the device has no such region, [`RegionError::Device`] when it
    /// cannot describe it. A mapping that fails is no error: that part is accessed through the
    /// device descriptor, and [`Region::unmapped`] says why.
    pub fn region(&self, index: u32) -> Result<Region, RegionError> {
        // Held over the mapping on purpose: two threads that ask for one region share it.
        let mut regions = self.shared.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = regions.get(&index).and_then(Weak::upgrade) {
            return Ok(Region::from(state));
        }
        let Some(info) = self.region_info(index)? else {
            return Err(RegionError::Absent { device: self.shared.name.clone(), index });
        };
        let state = Arc::new(RegionState::map(self, info));
        regions.insert(index, Arc::downgrade(&state));
        Ok(Region::from(state))
    }

    /// What the device says of interrupt `index` (`VFIO_DEVICE_GET_IRQ_INFO`); `None` when it has no such
    /// interrupt. [`Device::enable_irq`] turns it on.
    ///
    /// # Errors
    /// [`DeviceError::IrqInfo`] when the device has it and cannot describe it.
    pub fn irq_info(&self, index: u32) -> Result<Option<IrqInfo>, DeviceError> {
        match self.shared.backend.irq_info(index) {
            Ok(info) if info.count == 0 => Ok(None),
            Ok(info) => Ok(Some(info)),
            Err(error) if is_invalid(&error) => Ok(None),
            Err(source) => {
                Err(DeviceError::IrqInfo { device: self.shared.name.clone(), index, source })
            }
        }
    }

    /// The PCI configuration space; `None` when the device is not a PCI function.
    ///
    /// # Errors
    /// [`ConfigError`] when it is one and its configuration region cannot be had.
    pub fn pci_config(&self) -> Result<Option<PciConfig>, ConfigError> {
        PciConfig::of(self)
    }

    /// The address space that the device is in: where its driver makes
    /// [`DmaBuffer`](crate::iommu::DmaBuffer)s. Devices that one opener opens by one route share it.
    /// `None` when somebody else opened the device ([`route::adopt`](crate::route::adopt)), who then has
    /// it, and when there is no IOMMU.
    ///
    /// The handle keeps the container or the iommufd open, but not the device.
    ///
    /// ```
    /// use vfio_common::iommu::{DeviceAccess, DmaBuffer};
    /// # use vfio_common::route::{Opener as _, Target};
    /// # let machine = vfio_sim::Machine::demo()?;
    /// # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
    /// # let sysfs = format!("bus/mdev/devices/{name}").into();
    /// # let device = machine.opener().open(&Target { name, sysfs })?;
    ///
    /// let space = device.address_space().ok_or("somebody else opened it")?;
    /// let ring = DmaBuffer::new(&space, 4096, DeviceAccess::READ | DeviceAccess::WRITE)?;
    /// assert!(ring.is_mapped());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn address_space(&self) -> Option<AddressSpace> {
        self.shared.backend.address_space()
    }

    /// The device's descriptor; `None` for a device in software. For ioctls that this crate does not
    /// know, as `VFIO_DEVICE_QUERY_GFX_PLANE`, and to pass the device to another process
    /// ([`route::adopt`](crate::route::adopt)).
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.shared.backend.descriptor()
    }

    /// Resets the device (`VFIO_DEVICE_RESET`). It is tried whatever the
    /// [`DeviceFlags::RESET`](super::DeviceFlags) bit says: the kernel's sample devices can be reset and
    /// do not set it.
    ///
    /// Mapped memory may fault while the reset runs: no other thread may access the device then. For a PCI
    /// device that has no reset of its own there is [`Device::hot_reset`].
    ///
    /// # Errors
    /// [`DeviceError::Reset`] when the device can be reset and it failed.
    pub fn reset(&self) -> Result<ResetOutcome, DeviceError> {
        match while_locked(|| self.shared.backend.reset()) {
            Ok(()) => Ok(ResetOutcome::Done),
            Err(error) if is_invalid(&error) || is_errno(&error, Errno::NOTTY) => {
                Ok(ResetOutcome::Unsupported)
            }
            Err(source) => Err(DeviceError::Reset { device: self.shared.name.clone(), source }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// Tries again, for about a second, as long as a device is locked by another reset or a power
/// transition.
pub(super) fn while_locked(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 1..TRIES {
        match call() {
            Err(error) if is_errno(&error, Errno::AGAIN) || is_errno(&error, Errno::BUSY) => {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
    call()
}

pub(super) fn is_invalid(error: &io::Error) -> bool {
    is_errno(error, Errno::INVAL)
}

pub(super) fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
