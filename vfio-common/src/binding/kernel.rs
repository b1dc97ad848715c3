//! The kernel, that answers when it likes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::device_dir::{DeviceDir, State};
use super::{Attributes, BindingError};
use crate::diagnosis::{Holders, OpenFiles};
use crate::sysfs::{Dir, Host, SysfsError};

/// How `driver_override` reads where there is none.
const NO_OVERRIDE: &str = "(null)";

/// The kernel behind a machine's sysfs. Whatever may take a lock that an unbind holds until a device is
/// closed is done in a thread, and waited for only so long.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) host: Host,
    /// The name of the bus below `/sys/bus`.
    pub(super) bus: &'static str,
    pub(super) attributes: Arc<dyn Attributes>,
    pub(super) patience: Duration,
}

/// Why the kernel did not do it.
#[derive(Debug)]
pub(super) enum NotDone {
    Failed(SysfsError),
    /// It has not answered yet.
    Waits,
    NoThread(std::io::Error),
}

impl Kernel {
    /// Writes an attribute that acts on a device.
    pub(super) fn write(&self, path: PathBuf, text: &str) -> Result<(), NotDone> {
        let (attributes, text) = (self.attributes.clone(), text.to_owned());
        tracing::info!(path = %path.display(), text = text.trim_end(), "writing to sysfs");
        self.within_patience(move || attributes.write(&path, &text))
    }

    pub(super) fn state(&self, device: &DeviceDir) -> Result<State, BindingError> {
        let address = &device.address;
        let driver = device.driver()?;
        let (host, place) = (self.host.clone(), device.place.clone());
        // Most kernels take the device's lock to read this, and an unbind that waits has it.
        let read = self.within_patience(move || match host.sysfs_dir(place)? {
            Some(dir) => dir.read("driver_override"),
            None => Ok(None),
        });
        let driver_override = read.map_err(|not_done| {
            let action = format!("read the driver_override of {address}");
            self.explain(action, not_done, || self.holders(device))
        })?;
        let driver_override =
            driver_override.filter(|name| name != NO_OVERRIDE && !name.is_empty());
        Ok(State { driver, driver_override })
    }

    /// An error where sysfs does not have the bus.
    pub(super) fn check_bus(&self) -> Result<(), BindingError> {
        let devices = self.of_bus("devices");
        match self.host.sysfs_dir(&devices)? {
            Some(_) => Ok(()),
            None => Err(BindingError::NoBus { place: self.host.sysfs_root().join(devices) }),
        }
    }

    /// The directory of a driver; `None` when it is not loaded.
    pub(super) fn driver(&self, name: &str) -> Result<Option<Dir>, SysfsError> {
        self.host.sysfs_dir(self.of_bus("drivers").join(name))
    }

    /// Where a driver takes and releases devices.
    pub(super) fn driver_attribute(&self, driver: &str, attribute: &str) -> PathBuf {
        self.of_bus("drivers").join(driver).join(attribute)
    }

    /// What a bus has beside its devices.
    pub(super) fn of_bus(&self, name: &str) -> PathBuf {
        Path::new("bus").join(self.bus).join(name)
    }

    fn within_patience<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SysfsError> + Send + 'static,
    ) -> Result<T, NotDone> {
        let (done, wait) = mpsc::channel();
        let thread = thread::Builder::new().name("sysfs".into());
        thread.spawn(move || drop(done.send(work()))).map_err(NotDone::NoThread)?;
        match wait.recv_timeout(self.patience) {
            Ok(result) => result.map_err(NotDone::Failed),
            // A thread that ended without an answer has panicked: nobody knows how far it came.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(NotDone::Waits),
        }
    }

    /// The error of an action on a device. `holders` is who keeps the kernel waiting, if it does.
    pub(super) fn explain(
        &self,
        action: String,
        not_done: NotDone,
        holders: impl FnOnce() -> Option<Holders>,
    ) -> BindingError {
        match not_done {
            NotDone::Failed(source) => BindingError::write(action, source),
            NotDone::NoThread(source) => BindingError::NoThread { action, source },
            NotDone::Waits => {
                BindingError::Waits { action, patience: self.patience, holders: holders() }
            }
        }
    }

    /// Who has a device or its group open, or may have; `None` when nobody has.
    pub(super) fn holders(&self, device: &DeviceDir) -> Option<Holders> {
        let group = device.iommu_group().ok().flatten()?;
        let holders = OpenFiles::read(&self.host).holders_of_group(&self.host, group);
        let is_held = !holders.certain.is_empty() || !holders.possible.is_empty();
        is_held.then_some(holders)
    }
}
