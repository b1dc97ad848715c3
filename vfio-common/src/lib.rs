//! Linux VFIO from user space: what every bus of VFIO devices shares.
//!
//! VFIO gives a process direct and safe access to a device: its registers and memory as *regions*,
//! its interrupts, its DMA bounded by an IOMMU (`Documentation/driver-api/vfio.rst` of the kernel).
//! This crate opens devices, and gives access to what they have. A bus crate adds how devices are
//! found and matched to drivers; the engine for that is here too, in [`bus`].
//!
//! | module | |
//! |---|---|
//! | [`sysfs`] | reading and writing sysfs below a root that can be moved |
//! | [`route`] | from a name to an open device: IOMMU groups and containers |
//! | [`device`] | an open device, and the [`Backend`](device::Backend) behind it |
//! | [`iommu`] | the memory that devices reach: address spaces and DMA buffers |
//! | [`region`] | a device's regions: what is mapped of them, and access |
//! | [`irq`] | a device's interrupts, delivered through eventfds |
//! | [`pci_config`] | PCI configuration space |
//! | [`migration`] | a device's inner state: saved, and restored to another device |
//! | [`bus`] | the engine of a bus: scan, match, probe |
//! | [`diagnosis`] | why a device does not open, before it is opened; who holds it |
//!
//! ```
//! use vfio_common::route::{Opener as _, Target};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let opener = machine.opener();
//! # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
//! # let sysfs = format!("bus/mdev/devices/{name}").into();
//! // let opener = vfio_common::route::Vfio::new(vfio_common::sysfs::Host::system());
//! let device = opener.open(&Target { name, sysfs })?;
//! let registers = device.region(0)?;
//! println!("line status {:#04x}", registers.read8(5)?);
//! assert_eq!(registers.read8(5)?, 0x60);
//! # Ok(()) }
//! ```
//!
//! # What it promises
//!
//! - Nothing here panics on what the kernel, sysfs or a device says.
//! - Everything that is opened is closed when its last handle is dropped, in the order that the kernel
//!   wants: mappings, device, group, container. When a step fails, nothing stays open.
//! - No access leaves its region, mapped or not, and no reference to device memory is ever made.
//! - Descriptors are close-on-exec. A child of `fork` without `exec` holds them, and with them the
//!   device. Where it drops a handle, nothing of its parent's is unmapped or switched off.
//! - Memory that devices reach is freed only after it is out of their reach.
//! - `unsafe` is in three modules, `mmio`, `uapi` and `iommu::dma`, and in a public interface only where
//!   memory of the caller is mapped for devices, and where devices without an IOMMU are
//!   [let in](route::Vfio::allow_no_iommu), for which the other promises about memory do not hold.

mod eventfd;
mod holders;
mod mapping;
mod mmio;
mod process;
mod uapi;

pub mod bus;
pub mod device;
pub mod diagnosis;
pub mod iommu;
pub mod irq;
pub mod migration;
pub mod pci_config;
pub mod region;
pub mod route;
pub mod sysfs;

pub use mapping::{Mapping, Protection, page_size};
