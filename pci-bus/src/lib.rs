//! A bus of PCI devices for user-space drivers on Linux VFIO.
//!
//! A PCI function that is bound to `vfio-pci`, or to a variant of it, can be driven by a program
//! (`Documentation/driver-api/vfio.rst` of the kernel). This crate finds the functions of a machine in
//! sysfs, matches them to drivers that registered themselves, opens them, and binds them. Functions that
//! the host's own drivers have are found too, and left alone; [`binding`] takes a function from such a
//! driver and gives it back.
//!
//! # An application
//!
//! ```
//! # use vfio_sim::Machine;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = Machine::demo()?;
//! use pci_bus::Bus;
//!
//! let bus = Bus::builder()
//! #   .host(machine.host()).opener(machine.opener())
//!     .build()?;
//! bus.scan()?;
//! for row in bus.probe().rows {
//!     println!("{row}");
//! }
//! # Ok(()) }
//! ```
//!
//! A driver crate that no source line names is not linked, and its drivers are then silently absent:
//! write `use drivers as _;` in the application, and look at [`Bus::registry`] when in doubt.
//!
//! # A driver
//!
//! See [`Driver`]. It is tested without hardware on the software devices of `vfio-sim`.
//!
//! # What is where
//!
//! | to | |
//! |---|---|
//! | see which functions there are, without opening or waking any | [`Bus::scan`], [`Bus::devices`], [`PciInfo`] |
//! | take a function from the host's driver, and give it back | [`binding::Binder`] |
//! | bind drivers to functions | [`Bus::probe`], [`Bus::plug`] for one |
//! | use a driver that is bound | [`Bus::driver`], [`DriverRef`] |
//! | open a function without a driver | [`Bus::open`] |
//! | choose the route, give a VF token, let in functions without an IOMMU | [`Builder::opener`], [`Vfio`](vfio_common::route::Vfio) |
//! | reset, interrupts, DMA, low power, migration | [`ProbeDevice::device`], [`Device`](vfio_common::device::Device) |
//! | find out why one does not open | [`vfio_common::diagnosis`] |
//!
//! Making virtual functions (`sriov_numvfs` in sysfs) is not here.

#![forbid(unsafe_code)]

mod address;
mod bus;
mod driver;
mod enabled;
mod info;
mod registered;

pub mod binding;

pub use address::{Address, AddressError};
pub use bus::{Pci, Reach};
pub use driver::Driver;
pub use enabled::{CommandError, Enabled};
pub use info::{PciInfo, Sriov};

/// One line of a driver's id table: the ids of the functions that it handles.
pub use vfio_common::pci_config::PciMatch as PciId;

pub use vfio_common::bus::{
    BindError, DriverRef, Outcome, PlugError, ProbeError, SelfTest, SelfTestError, SkipReason,
    UnbindReason,
};

/// A bus of PCI functions. See [`vfio_common::bus::Bus`] for what it can do.
pub type Bus = vfio_common::bus::Bus<Pci>;
/// What a bus of PCI functions is made of.
pub type Builder = vfio_common::bus::Builder<Pci>;
/// A PCI function that is offered to a driver.
pub type ProbeDevice = vfio_common::bus::ProbeDevice<Pci>;
/// What became of each function that was probed.
pub type ProbeReport = vfio_common::bus::ProbeReport<Pci>;
/// What became of one function that was probed.
pub type ProbeRow = vfio_common::bus::ProbeRow<Pci>;
/// What a scan found.
pub type ScanReport = vfio_common::bus::ScanReport<Pci>;

/// What [`register_driver!`] expands to needs names; they are nobody else's business.
#[doc(hidden)]
pub mod __private {
    pub use crate::registered::Registered;
    pub use inventory;
}
