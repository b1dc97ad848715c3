//! Kernel drivers of devices: taken from the host for VFIO, and given back.
//!
//! For bus crates, and for the programs that use one: a bus crate brings a [`DriverBus`], which says what
//! its bus is called and what only it knows of a device; what a program has is a [`Binder`] of that bus.
//!
//! A [`Binder`] writes `driver_override` of a device, unbinds it from the driver that it has, and binds
//! it to the one that it is to have. The kernel has these attributes on each bus whose devices VFIO takes
//! from the host (`Documentation/ABI/testing/sysfs-bus-pci`, `sysfs-bus-platform`, `sysfs-bus-fsl-mc`,
//! `sysfs-bus-cdx`). Before the first of these writes it records, in a file a device, where the device
//! came from, so that [`Binder::restore`] brings back what was there, however many binds were between,
//! and also after the process was killed between any two writes. What it did not change it does not
//! restore.
//!
//! ```no_run
//! use vfio_common::binding::{Binder, DriverBus, Force};
//! use vfio_common::sysfs::Host;
//!
//! /// One device is lent to VFIO for as long as `work` takes.
//! fn lend<B: DriverBus>(
//!     address: &B::Address,
//!     driver: &str,
//!     work: impl FnOnce(),
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let binder = Binder::<B>::new(Host::system(), "/run/my-program");
//!     println!("{}", binder.bind(address.clone(), driver, Force::No)?);
//!     work();
//!     binder.restore(address.clone(), Force::No)?;
//!     Ok(())
//! }
//! ```
//!
//! What would take the machine down is refused ([`Use`]): a device under which a file system is mounted
//! or that carries the default route. So is what would not return: unbinding a device that somebody has
//! open. [`Force::Yes`] overrides both, and each write is waited for only so long, then said to wait.

mod attributes;
mod binder;
mod change;
mod device_dir;
mod driver_bus;
mod error;
mod in_use;
mod journal;
mod kernel;
mod settle;

pub use attributes::{Attributes, Sysfs};
pub use binder::{Binder, Force};
pub use change::{Change, Remark};
pub use device_dir::State;
pub use driver_bus::DriverBus;
pub use error::BindingError;
pub use in_use::{Use, Uses};
pub use journal::JournalError;
