//! A bus of mediated devices (mdev) for user-space drivers on Linux VFIO.
//!
//! A kernel driver can split one device into many mediated devices, each with a UUID, each reachable
//! through VFIO (`Documentation/driver-api/vfio-mediated-device.rst` of the kernel). This crate finds
//! them in sysfs, matches them to drivers that registered themselves, opens them, and binds them.
//!
//! # An application
//!
//! ```
//! # use vfio_sim::Machine;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = Machine::demo()?;
//! use mdev_bus::Bus;
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
//! | see which devices there are, without opening any | [`Bus::scan`], [`Bus::devices`], [`MdevInfo`] |
//! | see what devices can be created | [`parents`], [`MdevType`] |
//! | bind drivers to devices | [`Bus::probe`], [`Bus::plug`] for one |
//! | use a driver that is bound | [`Bus::driver`], [`DriverRef`] |
//! | open a device without a driver | [`Bus::open`] |
//! | choose the route, link a virtual machine | [`Builder::opener`], [`Vfio`](vfio_common::route::Vfio) |
//! | reset, interrupts, DMA, migration | [`ProbeDevice::device`], [`Device`](vfio_common::device::Device) |
//! | find out why one does not open | [`diagnosis`] |
//!
//! Creating and removing devices (`create` of a type, `remove` of a device in sysfs) is not here.

#![forbid(unsafe_code)]

mod address;
mod bus;
mod device_api;
pub mod diagnosis;
mod driver;
mod id;
mod info;
mod parent;
mod registered;

pub use address::{Address, AddressError};
pub use bus::Mdev;
pub use device_api::DeviceApi;
pub use driver::Driver;
pub use id::{MdevId, Pattern};
pub use info::MdevInfo;
pub use parent::{MdevType, Parent, Parents, is_bus_present, parents};

pub use vfio_common::pci_config::PciMatch;

pub use vfio_common::bus::{
    BindError, DriverRef, Outcome, PlugError, ProbeError, SelfTest, SelfTestError, SkipReason,
    UnbindReason,
};

/// A bus of mediated devices. See [`vfio_common::bus::Bus`] for what it can do.
pub type Bus = vfio_common::bus::Bus<Mdev>;
/// What a bus of mediated devices is made of.
pub type Builder = vfio_common::bus::Builder<Mdev>;
/// A mediated device that is offered to a driver.
pub type ProbeDevice = vfio_common::bus::ProbeDevice<Mdev>;
/// What became of each device that was probed.
pub type ProbeReport = vfio_common::bus::ProbeReport<Mdev>;
/// What became of one device that was probed.
pub type ProbeRow = vfio_common::bus::ProbeRow<Mdev>;
/// What a scan found.
pub type ScanReport = vfio_common::bus::ScanReport<Mdev>;

/// What [`register_driver!`] expands to needs names; they are nobody else's business.
#[doc(hidden)]
pub mod __private {
    pub use crate::registered::Registered;
    pub use inventory;
}
