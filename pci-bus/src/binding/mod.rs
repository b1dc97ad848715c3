//! Kernel drivers of PCI functions: taken from the host for VFIO, and given back.
//!
//! A [`Binder`] writes `driver_override` of a function, unbinds it from the driver that it has, and binds
//! it to the one that it is to have (`Documentation/ABI/testing/sysfs-bus-pci`). Before the first of
//! these writes it records, in a file a function, where the function came from, so that
//! [`Binder::restore`] brings back what was there, however many binds were between, and also after the
//! process was killed between any two writes. What it did not change it does not restore.
//!
//! ```no_run
//! use pci_bus::binding::{Binder, Force};
//! use vfio_common::sysfs::Host;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let binder = Binder::new(Host::system(), "/run/my-program");
//! let address = "0000:3b:00.0".parse()?;
//! let change = binder.bind(address, "vfio-pci", Force::No)?;
//! println!("{change}"); // 0000:3b:00.0: nvme -> vfio-pci
//! binder.restore(address, Force::No)?;
//! # Ok(()) }
//! ```
//!
//! What would take the machine down is refused ([`Use`]): a function under which a file system is mounted
//! or that carries the default route. So is what would not return: unbinding a device that somebody has
//! open. [`Force::Yes`] overrides both, and each write is waited for only so long, then said to wait.

mod attributes;
mod binder;
mod change;
mod error;
mod function;
mod in_use;
mod journal;
mod kernel;
mod settle;

pub use attributes::{Attributes, Sysfs};
pub use binder::{Binder, Force};
pub use change::{Change, Remark};
pub use error::BindingError;
pub use function::State;
pub use in_use::{Use, Uses};
pub use journal::JournalError;
