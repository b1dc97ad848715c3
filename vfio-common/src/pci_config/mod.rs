//! PCI configuration space, read and written through a device's configuration region.
//!
//! Register layout: PCI Local Bus Specification 3.0, chapter 6; the names are those of
//! `include/uapi/linux/pci_regs.h`. Offsets are in bytes. The space may be shorter than 256 bytes
//! (the kernel's sample devices have 255), and it is hostile: the capability walk is bounded.

mod capability;
mod config;
mod ids;
mod matching;

pub use capability::{Capability, MsixTable};
pub use config::{Command, ConfigError, PciConfig, REGION_INDEX};
pub use ids::PciIds;
pub use matching::PciMatch;

pub(crate) use capability::holes;
