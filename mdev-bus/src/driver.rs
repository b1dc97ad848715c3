//! The driver trait and its registration.

use vfio_common::bus::{ProbeError, Registers, SelfTest, SelfTestError, UnbindReason};

use crate::{Mdev, MdevId, ProbeDevice};

/// A driver of mediated devices. A value of the type is the driver's state for one device: made by
/// [`Driver::probe`], owned by the bus while the device is bound, dropped when it is unbound. What it
/// holds of the device (regions, windows) closes with it.
///
/// ```
/// use mdev_bus::{Driver, MdevId, ProbeDevice, ProbeError};
/// use vfio_common::region::Region;
///
/// struct Scratch {
///     registers: Region,
/// }
///
/// impl Driver for Scratch {
///     type IdInfo = u64; // where this device keeps its scratch register
///     const NAME: &'static str = "scratch";
///     const ID_TABLE: &'static [(MdevId, u64)] = &[(MdevId::of_type("mdevtest-sparse"), 0x8)];
///
///     fn probe(device: ProbeDevice, scratch: &'static u64) -> Result<Self, ProbeError> {
///         let registers = device.device().region(0)?;
///         registers.write32(*scratch, 0x5eed)?;
///         Ok(Self { registers })
///     }
/// }
///
/// mdev_bus::register_driver!(Scratch);
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let machine = vfio_sim::Machine::demo()?;
/// let bus = mdev_bus::Bus::builder().host(machine.host()).opener(machine.opener()).build()?;
/// bus.scan()?;
/// bus.probe();
/// let bound = bus.bound();
/// let driver = bound.iter().find_map(|address| bus.driver::<Scratch>(address));
/// let driver = driver.ok_or("not bound")?;
/// assert_eq!(driver.with(|scratch| scratch.registers.read32(0x8)).ok_or("unbound")??, 0x5eed);
/// # Ok(()) }
/// ```
///
/// A driver with an empty table does not compile:
///
/// ```compile_fail,E0080
/// use mdev_bus::{Driver, MdevId, ProbeDevice, ProbeError};
///
/// struct Nothing;
///
/// impl Driver for Nothing {
///     type IdInfo = ();
///     const NAME: &'static str = "nothing";
///     const ID_TABLE: &'static [(MdevId, ())] = &[];
///
///     fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
///         Ok(Self)
///     }
/// }
///
/// mdev_bus::register_driver!(Nothing);
/// ```
pub trait Driver: Send + Sync + Sized + 'static {
    /// What the driver wants to know about each line of its table.
    type IdInfo: Sync + 'static;

    /// Its name, unique in a program, for reports.
    const NAME: &'static str;

    /// The devices it handles. An empty table is a compile error.
    const ID_TABLE: &'static [(MdevId, Self::IdInfo)];

    /// Takes a device that a line of the table matched, and what the line says of it.
    ///
    /// # Errors
    /// [`ProbeError::Declined`] when it is none of its devices after all: the next driver is asked.
    /// Any other error ends the matter for this device; it is closed and reported.
    fn probe(device: ProbeDevice, info: &'static Self::IdInfo) -> Result<Self, ProbeError>;

    /// The device is about to be taken away; the driver is dropped after this. Nobody else uses the
    /// driver while it runs.
    fn unbind(&self, reason: UnbindReason) {
        let _ = reason;
    }

    /// Tests the device without harm to what it does, and says in one line what was done.
    ///
    /// # Errors
    /// What was found wrong.
    fn self_test(&self) -> Result<SelfTest, SelfTestError> {
        Ok(SelfTest::None)
    }
}

impl<T: Driver> Registers<T> for Mdev {
    const NAME: &'static str = {
        assert!(!T::ID_TABLE.is_empty(), "ID_TABLE must not be empty");
        T::NAME
    };

    fn id(index: usize) -> Option<&'static MdevId> {
        T::ID_TABLE.get(index).map(|(id, _)| id)
    }

    fn probe(device: ProbeDevice, id: usize) -> Result<T, ProbeError> {
        match T::ID_TABLE.get(id) {
            Some((_, info)) => T::probe(device, info),
            None => Err(ProbeError::Declined(format!("its table has no line {id}"))),
        }
    }

    fn unbind(driver: &T, reason: UnbindReason) {
        driver.unbind(reason);
    }

    fn self_test(driver: &T) -> Result<SelfTest, SelfTestError> {
        driver.self_test()
    }
}

/// Registers a type that implements [`Driver`] with every bus of the program. Works in any crate that
/// is linked, also under `#![forbid(unsafe_code)]`, and needs no dependency besides this crate.
#[macro_export]
macro_rules! register_driver {
    ($driver:ty) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Registered::of::<$driver>()
        }
    };
}
