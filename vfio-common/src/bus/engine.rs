//! The bus that an application holds.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::bound::BoundSet;
use super::scan::{Known, KnownDevice};
use super::{
    BusType, DriverRef, Fault, PlugError, ProbeReport, ProbeRow, Registers, Registration, Registry,
    RegistryError, ScanReport, SelfTest, SelfTestError, UnbindReason, Unusable,
};
use crate::device::Device;
use crate::route::{Opener, Vfio};
use crate::sysfs::{Host, SysfsError};

/// A bus: the devices that are known, the drivers, and the devices that are bound. All methods take
/// `&self` and may be called from several threads. Dropping it unbinds everything.
#[derive(Debug)]
pub struct Bus<B: BusType> {
    host: Host,
    pub(super) opener: Arc<dyn Opener>,
    pub(super) registry: Registry<B>,
    allow: Option<BTreeSet<B::Address>>,
    block: BTreeSet<B::Address>,
    known: Mutex<Known<B>>,
    pub(super) bound: BoundSet<B::Address>,
}

/// What a bus is made of. See [`Bus::builder`].
#[derive(Debug)]
pub struct Builder<B: BusType> {
    host: Host,
    opener: Option<Arc<dyn Opener>>,
    registered: bool,
    drivers: Vec<Registration<B>>,
    allow: Option<BTreeSet<B::Address>>,
    block: BTreeSet<B::Address>,
}

impl<B: BusType> Builder<B> {
    /// The machine to look at; the running system if this is not called.
    #[must_use]
    pub fn host(mut self, host: Host) -> Self {
        self.host = host;
        self
    }

    /// What opens devices; the kernel's VFIO if this is not called.
    #[must_use]
    pub fn opener(mut self, opener: Arc<dyn Opener>) -> Self {
        self.opener = Some(opener);
        self
    }

    /// Adds a driver by its type, beside those that registered themselves.
    #[must_use]
    pub fn driver<T: Send + Sync + 'static>(mut self) -> Self
    where
        B: Registers<T>,
    {
        self.drivers.push(Registration::of::<T>());
        self
    }

    /// Leaves out the drivers that registered themselves.
    #[must_use]
    pub fn without_registered(mut self) -> Self {
        self.registered = false;
        self
    }

    /// Binds only these devices. Called twice, both count.
    #[must_use]
    pub fn allow(mut self, devices: impl IntoIterator<Item = B::Address>) -> Self {
        self.allow.get_or_insert_default().extend(devices);
        self
    }

    /// Never binds these devices, whatever the allow list says.
    #[must_use]
    pub fn block(mut self, devices: impl IntoIterator<Item = B::Address>) -> Self {
        self.block.extend(devices);
        self
    }

    /// Makes the bus. Nothing is read or opened yet.
    ///
    /// # Errors
    /// [`RegistryError`] when two drivers have one name.
    pub fn build(self) -> Result<Bus<B>, RegistryError> {
        let Self { host, opener, registered, mut drivers, allow, block } = self;
        if registered {
            drivers.extend(B::registered());
        }
        let opener = opener.unwrap_or_else(|| Arc::new(Vfio::new(host.clone())));
        Ok(Bus {
            host,
            opener,
            registry: Registry::new(drivers)?,
            allow,
            block,
            known: Mutex::default(),
            bound: BoundSet::default(),
        })
    }
}

impl<B: BusType> Bus<B> {
    /// Starts a bus of the running system, with the kernel's VFIO and all drivers that registered
    /// themselves.
    #[must_use]
    pub fn builder() -> Builder<B> {
        Builder {
            host: Host::system(),
            opener: None,
            registered: true,
            drivers: Vec::new(),
            allow: None,
            block: BTreeSet::new(),
        }
    }

    /// The machine that the bus looks at.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The drivers.
    #[must_use]
    pub fn registry(&self) -> &Registry<B> {
        &self.registry
    }

    fn known(&self) -> MutexGuard<'_, Known<B>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks which devices there are. Opens none of them, and reads nothing of those it knows.
    /// A device that is bound and gone, or cannot be opened any more, is unbound. One bad entry is a row
    /// in the report.
    ///
    /// # Errors
    /// [`SysfsError`] when sysfs or the bus's directory cannot be read; then nothing has changed.
    pub fn scan(&self) -> Result<ScanReport<B>, SysfsError> {
        let mut known = self.known();
        let report = known.scan(&self.host)?;
        let mut gone = self.bound.addresses();
        gone.retain(|bound| !known.has_usable(bound) || report.changed.contains(bound));
        // A driver may take its time to let go; others may look at the bus meanwhile.
        drop(known);
        self.unbind_each(gone, UnbindReason::Removed);
        Ok(report)
    }

    /// The devices that are known, sorted by address.
    #[must_use]
    pub fn devices(&self) -> Vec<Arc<B::Info>> {
        self.known().devices.values().map(|known| known.info.clone()).collect()
    }

    /// Reads one device without a scan of the bus. If it is gone, another one under its address, or
    /// cannot be opened any more, and was bound, it is unbound; a later scan does not report it again.
    ///
    /// # Errors
    /// [`PlugError::NoDevice`] when it is not there, [`PlugError::Sysfs`] when it cannot be read.
    pub fn find(&self, address: &B::Address) -> Result<Arc<B::Info>, PlugError> {
        Ok(self.find_known(address)?.info)
    }

    fn find_known(&self, address: &B::Address) -> Result<KnownDevice<B>, PlugError> {
        let mut known = self.known();
        let before = known.devices.get(address).map(|device| device.inode);
        let found = known.plug(&self.host, address)?;
        let inode = found.as_ref().map(|found| found.inode);
        let is_usable = inode.is_some_and(|inode| known.is_usable(address, inode));
        drop(known);
        // What was not known was not bound, unless another thread has just plugged it.
        let is_same = before.is_none() || before == inode;
        if !(is_same && is_usable) {
            self.bound.unbind(address, UnbindReason::Removed);
        }
        found.ok_or_else(|| PlugError::NoDevice {
            device: address.to_string(),
            directory: self.host.sysfs_root().join(B::DEVICES).display().to_string(),
        })
    }

    /// Opens one device without a driver and without a scan of the bus.
    ///
    /// # Errors
    /// [`PlugError`]; then nothing stays open.
    pub fn open(&self, address: &B::Address) -> Result<Device, PlugError> {
        let info = self.find(address)?;
        if let Some(fault) = B::fault(&info) {
            let fault = match fault {
                Fault::Unsettled(fault) => fault.into(),
                Fault::Unusable(fault) => fault,
            };
            return Err(Unusable { device: address.to_string(), fault }.into());
        }
        Ok(self.opener.open(&B::target(&info))?)
    }

    /// Binds all known devices that are not bound, one after the other in the order of their
    /// addresses. No device that fails keeps another from being bound.
    pub fn probe(&self) -> ProbeReport<B> {
        let known: Vec<_> = {
            let known = self.known();
            let devices = known.devices.iter();
            devices.map(|(address, known)| (address.clone(), known.clone())).collect()
        };
        let rows = known.into_iter().map(|(address, known)| {
            let outcome = self.bind(&address, &known);
            ProbeRow { address, outcome }
        });
        ProbeReport { rows: rows.collect() }
    }

    /// Reads and binds one device without a scan of the bus.
    ///
    /// # Errors
    /// [`PlugError`] when it is not there or cannot be read; that it could not be bound is in the
    /// row.
    pub fn plug(&self, address: &B::Address) -> Result<ProbeRow<B>, PlugError> {
        let known = self.find_known(address)?;
        let outcome = self.bind(address, &known);
        Ok(ProbeRow { address: address.clone(), outcome })
    }

    /// The devices that are bound, sorted by address.
    #[must_use]
    pub fn bound(&self) -> Vec<B::Address> {
        self.bound.addresses()
    }

    /// The driver of a bound device; `None` when it is not bound, or to another driver.
    #[must_use]
    pub fn driver<T: 'static>(&self, address: &B::Address) -> Option<DriverRef<T>> {
        self.bound.get(address).filter(|slot| slot.is::<T>()).map(DriverRef::new)
    }

    /// Runs the self-test of the driver that a device is bound to; `None` when it is not bound.
    pub fn self_test(&self, address: &B::Address) -> Option<Result<SelfTest, SelfTestError>> {
        self.bound.get(address)?.self_test()
    }

    /// Takes a device back from its driver and closes it, once nobody uses the driver any more;
    /// `false` when it was not bound.
    pub fn unbind(&self, address: &B::Address) -> bool {
        self.bound.unbind(address, UnbindReason::Requested)
    }

    /// A driver that panics keeps no other device from being unbound; the first panic is then passed on.
    fn unbind_each(&self, addresses: Vec<B::Address>, reason: UnbindReason) {
        let mut first = None;
        for address in addresses {
            let unbind = AssertUnwindSafe(|| self.bound.unbind(&address, reason));
            if let Err(panic) = catch_unwind(unbind) {
                first.get_or_insert(panic);
            }
        }
        if let Some(panic) = first
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }

    pub(super) fn is_usable(&self, address: &B::Address, inode: u64) -> bool {
        self.known().is_usable(address, inode)
    }

    pub(super) fn is_wanted(&self, address: &B::Address) -> bool {
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(address));
        allowed && !self.block.contains(address)
    }
}

impl<B: BusType> Drop for Bus<B> {
    fn drop(&mut self) {
        self.unbind_each(self.bound.addresses(), UnbindReason::Shutdown);
    }
}
