//! PCI configuration space, read and written through a device's configuration region.
//!
//! [`Device::pci_config`](crate::device::Device::pci_config) gives it for devices that are PCI functions,
//! real or made up by a kernel driver. What has no method is a register of [`PciConfig::region`].
//! [`PciMatch`] says in an id table which functions a driver handles.
//!
//! ```
//! use vfio_common::pci_config::{Capability, Command};
//! # use vfio_common::route::{Opener as _, Target};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let name = "0000:00:04.0".to_owned();
//! # let sysfs = format!("bus/pci/devices/{name}").into();
//! # let device = machine.opener().open(&Target { name, sysfs })?;
//! let config = device.pci_config()?.ok_or("it is no PCI function")?;
//! assert_eq!(config.ids()?.vendor, 0x1234);
//! assert!(config.capability(Capability::MSI)?.is_some());
//! // Without this a device under vfio-pci does no DMA and sends no messages.
//! config.set_command(config.command()? | Command::MEMORY | Command::BUS_MASTER)?;
//! # Ok(()) }
//! ```
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
