//! Mediated devices and PCI functions in software, to test drivers without hardware.
//!
//! A driver cannot tell a [`Machine`] of this crate from a real one: sysfs is a mock [`tree`] in a
//! temporary directory, laid out as the kernel's, and behind its devices stand [`model`]s with
//! registers, memory that is really mapped, and the kernel's error numbers. Nothing needs root, and
//! nothing stays behind, unless the process is killed: then its tree does, in the temporary directory.
//!
//! # Testing a driver on a device that is there
//!
//! [`Machine::create`] knows the kernel's sample serial card and the devices of this project's kernel
//! test module. A bus takes a machine as its host and opener; without a bus, a device is opened by its
//! name:
//!
//! ```
//! use vfio_common::route::{Opener as _, Target};
//! use vfio_sim::Machine;
//!
//! let machine = Machine::new()?;
//! let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
//! machine.create(&name, "mtty", "mtty-2")?;
//!
//! // With a bus: Bus::builder().host(machine.host()).opener(machine.opener())
//! let sysfs = format!("bus/mdev/devices/{name}").into();
//! let device = machine.opener().open(&Target { name, sysfs })?;
//! let port = device.region(1)?;
//! port.write8(2, 0x01)?; // FIFO on
//! port.write8(0, b'x')?; // transmit
//! assert_eq!(port.read8(5)?, 0x01); // data is ready
//! assert_eq!(port.read8(0)?, b'x');
//!
//! drop((port, device));
//! assert_eq!(machine.open_devices(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! PCI functions are plugged in with their model ([`Machine::plug`]); [`pci`] has three, and the
//! configuration space for others.
//!
//! # Testing a driver on a model of one's own device
//!
//! A [`Model`](model::Model) says what regions and interrupts there are and what an access does. This
//! one has a page of registers, of which one counts what is written to it and fires an interrupt, and a
//! page of memory that is mapped:
//!
//! ```
//! use std::io;
//!
//! use vfio_common::device::{DeviceFlags, DeviceInfo, IrqFlags, IrqInfo};
//! use vfio_common::region::Area;
//! use vfio_common::route::{Opener as _, Target};
//! use vfio_sim::Machine;
//! use vfio_sim::model::{Board, Layout, Model, RegionModel};
//! use vfio_sim::tree::{MdevDevice, MdevType, Parent};
//!
//! #[derive(Debug, Default)]
//! struct Doorbell {
//!     rung: u32,
//! }
//!
//! impl Model for Doorbell {
//!     fn layout(&self) -> Layout {
//!         let memory = Area { offset: 0x1000, size: 0x1000 };
//!         Layout::packed([RegionModel::memory(0, 0x2000).sparse([memory])])
//!     }
//!
//!     fn device_info(&mut self) -> io::Result<DeviceInfo> {
//!         Ok(DeviceInfo::new(DeviceFlags::PLATFORM, 1, 1))
//!     }
//!
//!     fn irq_info(&mut self, index: u32) -> io::Result<IrqInfo> {
//!         Ok(IrqInfo { index, flags: IrqFlags::EVENTFD, count: u32::from(index == 0) })
//!     }
//!
//!     fn read(&mut self, board: &Board, region: u32, at: u64, bytes: &mut [u8]) -> io::Result<()> {
//!         match (at, bytes.len()) {
//!             (0, 4) => bytes.copy_from_slice(&self.rung.to_le_bytes()),
//!             _ => board.read(region, at, bytes)?,
//!         }
//!         Ok(())
//!     }
//!
//!     fn write(&mut self, board: &Board, region: u32, at: u64, bytes: &[u8]) -> io::Result<()> {
//!         match at {
//!             0 => {
//!                 self.rung += 1;
//!                 board.fire(0, 0);
//!             }
//!             _ => board.write(region, at, bytes)?,
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let machine = Machine::new()?;
//! let mdev_type = MdevType::new("acme-bell", "vfio-platform");
//! machine.tree().add_parent(&Parent::new("acme").with_type(mdev_type))?;
//! let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa2001".to_owned();
//! let bell = machine.create_with(
//!     &MdevDevice::new(&name, "acme", "acme-bell"),
//!     Doorbell::default(),
//! )?;
//!
//! // What follows is the driver.
//! let sysfs = format!("bus/mdev/devices/{name}").into();
//! let device = machine.opener().open(&Target { name, sysfs })?;
//! let irqs = device.enable_irq(0, ..)?;
//! let registers = device.region(0)?;
//! registers.write32(0, 1)?;
//! registers.write32(0, 1)?;
//! assert_eq!(registers.read32(0)?, 2);
//! assert_eq!(irqs.vector(0)?.try_read()?, Some(2));
//! assert_eq!(bell.counters().reads, 1);
//!
//! let memory = registers.window(0x1000..0x2000)?;
//! memory.try_write32(0x10, 7)?;
//! assert_eq!(memory.try_read32(0x10)?, 7);
//! assert_eq!(bell.counters().reads, 1, "it is mapped");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Testing what goes wrong
//!
//! [`Machine::fail_call`] fails any one call with any error, [`Machine::open_devices`] tells what was
//! left open, [`Machine::remove`] takes a device away while it is in use, and
//! [`Tree::write`](tree::Tree::write) puts into sysfs what no kernel would.
//!
//! # What it does not do
//!
//! Its IOMMU lets models reach the memory of buffers, and nothing that was mapped by address. No uevent is sent. A write to `create`,
//! `remove` or a kernel driver's `bind` in the tree does nothing: use the methods of the machine and its
//! tree.

#![forbid(unsafe_code)]

mod errno;
mod fault;
mod iommu;
mod machine;
pub mod mdevtest;
pub mod model;
pub mod mtty;
pub mod pci;
mod soft_device;
pub mod tree;

pub use fault::{Faults, Faulty};
pub use iommu::SoftIommu;
pub use machine::{Machine, SimError};
pub use soft_device::{Counters, SoftDevice};
