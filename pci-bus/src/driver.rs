//! The driver trait and its registration.

use vfio_common::bus::{ProbeError, Registers, SelfTest, SelfTestError, UnbindReason};

use crate::{Pci, PciId, ProbeDevice};

/// A driver of PCI functions. A value of the type is the driver's state for one function: made by
/// [`Driver::probe`], owned by the bus while the function is bound, dropped when it is unbound. What it
/// holds of the function (regions, windows) closes with it.
///
/// The function answers while it is bound: the bus sets memory, I/O and bus mastering in its command
/// register before [`Driver::probe`], and takes back what it set after the driver is dropped. What a
/// driver hands out of mapped regions must not be accessed after that: such an access faults (SIGBUS).
///
/// ```
/// use pci_bus::{Driver, PciId, ProbeDevice, ProbeError};
/// use vfio_common::region::Region;
///
/// struct TestDevice {
///     registers: Region,
/// }
///
/// impl Driver for TestDevice {
///     type IdInfo = u32; // the BAR with the registers
///     const NAME: &'static str = "test-device";
///     const ID_TABLE: &'static [(PciId, u32)] = &[(PciId::device(0x1b36, 0x0005), 0)];
///
///     fn probe(device: ProbeDevice, bar: &'static u32) -> Result<Self, ProbeError> {
///         let registers = device.device().region(*bar)?;
///         registers.write8(0, 1)?; // chooses a test
///         Ok(Self { registers })
///     }
/// }
///
/// pci_bus::register_driver!(TestDevice);
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let machine = vfio_sim::Machine::demo()?;
/// let bus = pci_bus::Bus::builder().host(machine.host()).opener(machine.opener()).build()?;
/// bus.scan()?;
/// bus.probe();
/// let bound = bus.bound();
/// let driver = bound.iter().find_map(|address| bus.driver::<TestDevice>(address));
/// let driver = driver.ok_or("not bound")?;
/// let name = driver.with(|device| device.registers.read32(0x10)).ok_or("unbound")??;
/// assert_eq!(&name.to_le_bytes(), b"mmio");
/// # Ok(()) }
/// ```
///
/// A driver with an empty table does not compile:
///
/// ```compile_fail,E0080
/// use pci_bus::{Driver, PciId, ProbeDevice, ProbeError};
///
/// struct Nothing;
///
/// impl Driver for Nothing {
///     type IdInfo = ();
///     const NAME: &'static str = "nothing";
///     const ID_TABLE: &'static [(PciId, ())] = &[];
///
///     fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
///         Ok(Self)
///     }
/// }
///
/// pci_bus::register_driver!(Nothing);
/// ```
pub trait Driver: Send + Sync + Sized + 'static {
    /// What the driver wants to know about each line of its table.
    type IdInfo: Sync + 'static;

    /// Its name, unique in a program, for reports.
    const NAME: &'static str;

    /// The functions it handles. Of several drivers that match a function, the one whose line says the
    /// most is asked first ([`PciId::specificity`]). An empty table is a compile error.
    const ID_TABLE: &'static [(PciId, Self::IdInfo)];

    /// Takes a function that a line of the table matched, and what the line says of it.
    ///
    /// # Errors
    /// [`ProbeError::Declined`] when it is none of its functions after all: the next driver is asked.
    /// Any other error ends the matter for this function; it is closed and reported.
    fn probe(device: ProbeDevice, info: &'static Self::IdInfo) -> Result<Self, ProbeError>;

    /// The function is about to be taken away; the driver is dropped after this. Nobody else uses the
    /// driver while it runs, and the function still answers.
    fn unbind(&self, reason: UnbindReason) {
        let _ = reason;
    }

    /// Tests the function without harm to what it does, and says in one line what was done.
    ///
    /// # Errors
    /// What was found wrong.
    fn self_test(&self) -> Result<SelfTest, SelfTestError> {
        Ok(SelfTest::None)
    }
}

impl<T: Driver> Registers<T> for Pci {
    const NAME: &'static str = {
        assert!(!T::ID_TABLE.is_empty(), "ID_TABLE must not be empty");
        T::NAME
    };

    fn id(index: usize) -> Option<&'static PciId> {
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
