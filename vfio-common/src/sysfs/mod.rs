//! Reading and writing sysfs below a root that can be moved.
//!
//! A [`Host`] says where a machine's `/sys`, `/dev` and `/proc` are, and gives open directories of its
//! sysfs, each a [`Dir`] (`Documentation/filesystems/sysfs.rst` of the kernel).
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let host = machine.host();
//! // let host = vfio_common::sysfs::Host::system();
//! let devices = host.sysfs_dir("bus/pci/devices")?.ok_or("no PCI here")?;
//! for entry in devices.entries()? {
//!     let Some(device) = devices.dir(&entry.name)? else { continue }; // it is gone
//!     println!("{:?}: {:?}", entry.name, device.link_name("driver")?);
//! }
//! # Ok(()) }
//! ```
//!
//! Rules of this module:
//! - Every read is relative to a directory descriptor, so a mock tree and the real `/sys` take the
//!   same code path, and an entry that vanishes fails as one entry.
//! - "It is not there" is an answer (`None`), not an error: entries come and go while they are read.
//! - A write is for its effect: where it finds nothing to write to, that is an error.
//! - Nothing is cached here and nothing is read twice.

mod dir;
mod error;
mod host;

pub use dir::{Dir, Entries, Entry};
pub use error::SysfsError;
pub use host::{Host, base_name};
