//! What a bus crate tells the binder about its bus.

use std::borrow::Cow;

use crate::bus::BusType;
use crate::sysfs::{Dir, SysfsError};

/// A bus whose devices can be given other kernel drivers: each has a `driver_override`, and the bus has
/// `drivers` and `drivers_probe`.
///
/// An address prints as the name of the device's directory, and [`BusType::address`] reads it back. What the
/// bus is asked of a device it reads from that directory, which is open.
pub trait DriverBus: BusType {
    /// Its name below `/sys/bus`, with which the names of its records start.
    const NAME: &'static str;

    /// Attributes that say what a device is: where one of them differs, it is another device than the one
    /// that had the address before. One that was plugged in anew is told without them.
    const IDENTITY: &'static [&'static str];

    /// Why no driver of VFIO ever takes this device, as the second half of a sentence that starts with its
    /// address; `None` if one may.
    ///
    /// # Errors
    /// [`SysfsError`] when the device's entries are there and cannot be read.
    fn refusal(device: &Dir) -> Result<Option<Cow<'static, str>>, SysfsError> {
        let _ = device;
        Ok(None)
    }

    /// What goes when a device loses its driver, whichever that is, or keeps VFIO from taking it. Each is a
    /// part of a sentence, with the way to end it.
    ///
    /// # Errors
    /// [`SysfsError`] when the device's entries are there and cannot be read.
    fn uses_by_any(device: &Dir) -> Result<Vec<Cow<'static, str>>, SysfsError> {
        let _ = device;
        Ok(Vec::new())
    }

    /// What the host uses a device for while a driver of the host has it, beside disks, interfaces and
    /// displays, which are looked for on every bus. Each is a part of a sentence, as above.
    ///
    /// # Errors
    /// [`SysfsError`] when the device's entries are there and cannot be read.
    fn uses_by_host(device: &Dir) -> Result<Vec<Cow<'static, str>>, SysfsError> {
        let _ = device;
        Ok(Vec::new())
    }
}
