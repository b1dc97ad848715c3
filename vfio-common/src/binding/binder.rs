//! Bind, unbind, restore.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::device_dir::{DeviceDir, State};
use super::journal::{self, Journal, Locked, Record};
use super::kernel::Kernel;
use super::settle::{no_group, probe, settle};
use super::{Attributes, BindingError, Change, DriverBus, Remark, Sysfs, Use, Uses, in_use};
use crate::diagnosis::Holders;
use crate::route::is_of_vfio;
use crate::sysfs::Host;

/// How long the kernel, and another process that is at it, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives devices of a machine other kernel drivers, and restores what they had.
#[derive(Debug)]
pub struct Binder<B: DriverBus> {
    kernel: Kernel,
    journal: Journal,
    bus: PhantomData<fn() -> B>,
}

/// Whether to go on where something would be taken away that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Refuse, and say what it is.
    No,
    /// Go on.
    Yes,
}

impl<B: DriverBus> Binder<B> {
    /// For devices of `host`. What is changed is recorded in the directory `state`, which is made when
    /// it is needed; it should be the same for all programs that bind on behalf of one user, and should
    /// not outlive the machine's run (`/run`), though it may.
    #[must_use]
    pub fn new(host: Host, state: impl Into<PathBuf>) -> Self {
        let attributes = Arc::new(Sysfs::new(host.clone()));
        let kernel = Kernel { host, bus: B::NAME, attributes, patience: PATIENCE };
        let journal = Journal::new(state.into(), B::NAME);
        Self { kernel, journal, bus: PhantomData }
    }

    /// With attributes that somebody else writes.
    #[must_use]
    pub fn attributes(mut self, attributes: Arc<dyn Attributes>) -> Self {
        self.kernel.attributes = attributes;
        self
    }

    /// Waits only so long for one write to return, and for other processes that bind: 10 s if this is
    /// not called.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.kernel.patience = patience;
        self
    }

    /// Binds a device to `driver`: `vfio-pci`, or a driver of VFIO for this kind of device
    /// (`mlx5_vfio_pci`). Where it came from is recorded, if it is not recorded already, or has been given
    /// another driver by somebody else since. A device that has the driver already is left as it is, and is
    /// not recorded.
    ///
    /// When a step fails, those before it are undone.
    ///
    /// # Errors
    /// [`BindingError`]: [`BindingError::InUse`] and [`BindingError::Held`] unless forced,
    /// [`BindingError::Unbindable`] always, [`BindingError::Undone`] and [`BindingError::Halfway`] when a
    /// step failed, [`BindingError::Waits`] when the kernel does not return from one.
    pub fn bind(
        &self,
        address: B::Address,
        driver: &str,
        force: Force,
    ) -> Result<Change, BindingError> {
        if !journal::is_name(driver) {
            return Err(BindingError::BadDriverName { driver: driver.to_owned() });
        }
        let address = &self.name(&address)?;
        if let Some(why) = B::refusal(&DeviceDir::open(&self.kernel, address)?.dir)? {
            return Err(BindingError::Unbindable { address: address.clone(), why });
        }
        let journal = self.journal.lock(self.kernel.patience)?;
        // Another one may have come meanwhile.
        let device = DeviceDir::open(&self.kernel, address)?;
        let before = self.kernel.state(&device)?;
        if before.driver.as_deref() == Some(driver) {
            return Ok(Change::none(address.clone(), before, Remark::BoundAlready));
        }
        self.check_driver(&device, driver)?;
        let holders = self.check(&device, &before, self.uses(&device, &before), force)?;

        let mut undo = self.new_record(&device, &before)?;
        undo.give(driver);
        let found = journal.find(address)?.filter(|record| record.is_same_device(&undo));
        let mut record = found.clone().unwrap_or_else(|| undo.clone());
        record.accept(&before);
        record.give(driver);
        journal.write(address, &record)?;

        let name = || Some(driver.to_owned());
        let goal = State { driver: name(), driver_override: name() };
        if let Err(error) = settle(&self.kernel, &device, &goal, holders.as_ref()) {
            return Err(self.undo(&journal, &device, driver, (&undo, found), error));
        }
        Ok(Change {
            address: address.clone(),
            before,
            after: self.kernel.state(&device)?,
            remark: None,
        })
    }

    /// Unbinds a device from the driver of VFIO that has it, and leaves it without any. Its
    /// `driver_override` stays. [`Binder::restore`] undoes this as it undoes a bind.
    ///
    /// # Errors
    /// [`BindingError`]: [`BindingError::NotOfVfio`] for a device that the host has,
    /// [`BindingError::Held`] and [`BindingError::InUse`] unless forced, [`BindingError::Waits`] when
    /// the kernel does not return because the device is open.
    pub fn unbind(&self, address: B::Address, force: Force) -> Result<Change, BindingError> {
        let address = &self.name(&address)?;
        DeviceDir::open(&self.kernel, address)?;
        let journal = self.journal.lock(self.kernel.patience)?;
        // Another one may have come meanwhile.
        let device = DeviceDir::open(&self.kernel, address)?;
        let before = self.kernel.state(&device)?;
        let Some(driver) = before.driver.clone() else {
            return Ok(Change::none(address.clone(), before, Remark::UnboundAlready));
        };
        let fresh = self.new_record(&device, &before)?;
        let found = journal.find(address)?.filter(|record| record.is_same_device(&fresh));
        let is_ours = found.as_ref().is_some_and(|record| record.is_given(&driver));
        if !is_ours && !device.is_offered_by(&driver)? {
            return Err(BindingError::NotOfVfio { address: address.clone(), driver });
        }
        let holders = self.check(&device, &before, self.shared(&device), force)?;
        let mut record = found.clone().unwrap_or(fresh);
        record.accept(&before);
        if found.as_ref() != Some(&record) {
            journal.write(address, &record)?;
        }
        let goal = State { driver: None, ..before.clone() };
        if let Err(error) = settle(&self.kernel, &device, &goal, holders.as_ref()) {
            // Nothing was done, so there is nothing to restore; unless the kernel is still at it.
            let is_over = !matches!(error, BindingError::Waits { .. });
            let is_as_before = || self.kernel.state(&device).is_ok_and(|now| now == before);
            if is_over && found.is_none() && is_as_before() {
                journal.remove(address)?;
            }
            return Err(error);
        }
        Ok(Change {
            address: address.clone(),
            before,
            after: self.kernel.state(&device)?,
            remark: None,
        })
    }

    /// The devices of which something is recorded, sorted.
    ///
    /// # Errors
    /// [`BindingError::Journal`] when the state directory is there and cannot be listed.
    pub fn recorded(&self) -> Result<Vec<B::Address>, BindingError> {
        Ok(self.journal.addresses::<B>()?)
    }

    /// Brings a device back to the driver and the `driver_override` that it had before the first
    /// change, and drops the record of it. What somebody else has changed since is left as it is, and so
    /// is a device that is not the one any more that was recorded.
    ///
    /// # Errors
    /// [`BindingError`]: [`BindingError::Held`] unless forced, [`BindingError::OriginGone`] when its driver
    /// is not loaded any more, [`BindingError::NoBus`] when sysfs does not show the bus,
    /// [`BindingError::Journal`] when the record cannot be read. The record stays.
    pub fn restore(&self, address: B::Address, force: Force) -> Result<Change, BindingError> {
        let address = &self.name(&address)?;
        let journal = self.journal.lock(self.kernel.patience)?;
        let found = DeviceDir::find(&self.kernel, address)?;
        let Some(record) = journal.find(address)? else {
            // Who names one that is not there has misspelt it.
            let state = self.kernel.state(&DeviceDir::open(&self.kernel, address)?)?;
            return Ok(Change::none(address.clone(), state, Remark::NotRecorded));
        };
        let Some(device) = found else {
            // A sysfs without the bus says nothing of any device: it is not mounted, or not to be seen.
            self.kernel.check_bus()?;
            journal.remove(address)?;
            return Ok(Change::none(address.clone(), State::default(), Remark::Gone));
        };
        let before = self.kernel.state(&device)?;
        let here = self.new_record(&device, &before)?;
        if !record.is_same_device(&here) {
            journal.remove(address)?;
            let is_same_boot = record.is_same_boot(&here);
            let remark = if is_same_boot { Remark::OtherDevice } else { Remark::OtherBoot };
            return Ok(Change::none(address.clone(), before, remark));
        }
        let remark = self.give_back(&device, &record, &before, force)?;
        let after = self.kernel.state(&device)?;
        journal.remove(address)?;
        let remark = remark.or((after == before).then_some(Remark::RestoredAlready));
        Ok(Change { address: address.clone(), before, after, remark })
    }

    fn give_back(
        &self,
        device: &DeviceDir,
        record: &Record,
        now: &State,
        force: Force,
    ) -> Result<Option<Remark>, BindingError> {
        let goal = record.goal(now);
        if goal.driver == now.driver {
            settle(&self.kernel, device, &goal, None)?;
            let driver = now.driver.clone().filter(|_| now.driver != record.origin.driver);
            return Ok(driver.map(|driver| Remark::TakenOver { driver }));
        }
        let uses = if now.driver.is_some() { self.shared(device) } else { Ok(Vec::new()) };
        let holders = self.check(device, now, uses, force)?;
        let is_loaded = match &goal.driver {
            Some(driver) => self.kernel.driver(driver)?.is_some(),
            None => true,
        };
        if is_loaded {
            settle(&self.kernel, device, &goal, holders.as_ref())?;
            return Ok(None);
        }
        let without = State { driver: None, ..goal.clone() };
        settle(&self.kernel, device, &without, holders.as_ref())?;
        probe(&self.kernel, device)?;
        let origin = goal.driver.unwrap_or_default();
        match device.driver()? {
            Some(driver) if driver == origin => Ok(None),
            Some(_) => Ok(Some(Remark::NewDriver { origin })),
            None => {
                Err(BindingError::OriginGone { address: device.address.clone(), driver: origin })
            }
        }
    }

    /// Undoes a bind that failed. `undo` leads to where it began; `found` is what was recorded then.
    fn undo(
        &self,
        journal: &Locked<'_>,
        device: &DeviceDir,
        driver: &str,
        (undo, found): (&Record, Option<Record>),
        error: BindingError,
    ) -> BindingError {
        let address = &device.address;
        if matches!(error, BindingError::Waits { .. }) {
            // Nothing else can be done with it until the kernel is done; the record stays.
            return error;
        }
        let undone = self.kernel.state(device).and_then(|now| {
            settle(&self.kernel, device, &undo.goal(&now), None)?;
            match &found {
                Some(record) => journal.write(address, record)?,
                None => journal.remove(address)?,
            }
            Ok(device.driver()?)
        });
        let (address, driver, source) = (address.clone(), driver.to_owned(), Box::new(error));
        match undone {
            Ok(now) if now == undo.origin.driver => {
                BindingError::Undone { address, driver, source }
            }
            // What another program gave it meanwhile was left to it.
            Ok(driver) => BindingError::TakenMeanwhile { address, driver },
            Err(undoing) => {
                BindingError::Halfway { address, driver, undoing: Box::new(undoing), source }
            }
        }
    }

    /// The name of a device's directory, which becomes a path: whatever prints otherwise is no device.
    fn name(&self, address: &B::Address) -> Result<String, BindingError> {
        let address = address.to_string();
        if journal::is_name(&address) {
            return Ok(address);
        }
        let place = self.kernel.host.sysfs_root().join(self.kernel.of_bus("devices"));
        Err(BindingError::NoDevice { address, place })
    }

    /// What would be recorded of a device now.
    fn new_record(&self, device: &DeviceDir, now: &State) -> Result<Record, BindingError> {
        let boot = journal::boot(self.kernel.host.proc_root())?;
        let identity = device.identity(B::IDENTITY)?;
        Ok(Record::new(device.address.clone(), boot, identity, now.clone()))
    }

    /// What could be told only by a bind that fails, with the device out of the host's hands.
    fn check_driver(&self, device: &DeviceDir, driver: &str) -> Result<(), BindingError> {
        let dir = self.kernel.driver(driver)?;
        let takes = dir.map(|dir| dir.inode("bind")).transpose()?.flatten().is_some();
        if !takes {
            return Err(BindingError::NoDriver { driver: driver.to_owned() });
        }
        if is_of_vfio(driver) && device.iommu_group()?.is_none() && !self.works_without_iommu() {
            return Err(no_group(&self.kernel.host, device)?);
        }
        Ok(())
    }

    /// VFIO takes devices without IOMMU where it was told so.
    fn works_without_iommu(&self) -> bool {
        let parameters = self.kernel.host.sysfs_dir("module/vfio/parameters").ok().flatten();
        let value = parameters.and_then(|dir| dir.read("enable_unsafe_noiommu_mode").ok()?);
        value.as_deref() == Some("Y")
    }

    fn is_offered(&self, device: &DeviceDir, state: &State) -> Result<bool, BindingError> {
        let driver = state.driver.as_deref();
        Ok(driver.map(|driver| device.is_offered_by(driver)).transpose()?.unwrap_or(false))
    }

    /// What goes with the driver that it has.
    fn uses(&self, device: &DeviceDir, now: &State) -> Result<Vec<Use>, BindingError> {
        let mut uses = self.shared(device)?;
        if !self.is_offered(device, now)? {
            uses.extend(B::uses_by_host(&device.dir)?.into_iter().map(Use::OfBus));
            uses.extend(in_use::by_host(&self.kernel.host, device)?);
        }
        Ok(uses)
    }

    /// What goes with any driver.
    fn shared(&self, device: &DeviceDir) -> Result<Vec<Use>, BindingError> {
        Ok(B::uses_by_any(&device.dir)?.into_iter().map(Use::OfBus).collect())
    }

    /// Whether a device may be taken from the driver that it has: nothing of it is used, and nobody has
    /// it open. Who has is what a wait will be for.
    fn check(
        &self,
        device: &DeviceDir,
        now: &State,
        uses: Result<Vec<Use>, BindingError>,
        force: Force,
    ) -> Result<Option<Holders>, BindingError> {
        let address = &device.address;
        // Force helps also where it cannot be told.
        let uses = uses.or_else(|error| match force {
            Force::Yes => {
                tracing::warn!(address, error = &error as &dyn std::error::Error, "forced");
                Ok(Vec::new())
            }
            Force::No => Err(error),
        })?;
        let is_offered = self.is_offered(device, now)?;
        let holders = if is_offered { self.kernel.holders(device) } else { None };
        if force == Force::Yes {
            uses.iter().for_each(|used| tracing::warn!(address, %used, "forced"));
            return Ok(holders);
        }
        if !uses.is_empty() {
            return Err(BindingError::InUse { address: address.clone(), uses: Uses(uses) });
        }
        match (holders, &now.driver) {
            (Some(holders), Some(driver)) => Err(BindingError::Held {
                address: address.clone(),
                driver: driver.clone(),
                holders,
            }),
            _ => Ok(None),
        }
    }
}
