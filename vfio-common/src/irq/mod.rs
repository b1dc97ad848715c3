//! The interrupts of a device, delivered through eventfds.
//!
//! A device has interrupts by index, each with vectors: for a PCI device INTx, MSI, MSI-X, errors and
//! the removal request ([`pci`]), for others what their kernel driver says
//! ([`Device::irq_info`](crate::device::Device::irq_info)).
//! [`Device::enable_irq`](crate::device::Device::enable_irq) turns vectors on and gives an [`IrqSet`],
//! which turns them off when it is dropped. Each vector has an eventfd of its own, the [`Vector`], to
//! wait for or to put into an event loop. It follows `VFIO_DEVICE_SET_IRQS` of
//! `include/uapi/linux/vfio.h`.
//!
//! Rules of this module:
//! - Nothing is required: a device without any interrupt is as good as another.
//! - All or nothing: what could be had only in part is an error that says how much there is.
//! - Only one of INTx, MSI and MSI-X is on at a time; the kernel's bare `EINVAL` is not waited for.
//! - Eventfds are non-blocking and close-on-exec, and never descriptor 0, which some kernel drivers
//!   take for none.
//!
//! ```
//! use std::time::Duration;
//!
//! use vfio_common::irq::pci;
//! # use vfio_common::route::{Opener as _, Target};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003".to_owned();
//! # let sysfs = format!("bus/mdev/devices/{name}").into();
//! # let device = machine.opener().open(&Target { name, sysfs })?;
//! // A device that fires MSI-X vector n when n is written to a doorbell.
//! let irqs = device.enable_irq(pci::MSIX, ..)?;
//! assert_eq!(irqs.len(), 8);
//! device.region(0)?.write32(0xc, 5)?;
//! assert_eq!(irqs.vector(5)?.wait(Some(Duration::from_secs(1)))?, Some(1));
//! assert_eq!(irqs.vector(4)?.try_read()?, None);
//! # Ok(()) }
//! ```

mod claim;
mod error;
mod id;
mod set;
mod vector;

pub use error::IrqError;
pub use id::{IrqId, IrqOperation, pci, removal_request};
pub use set::IrqSet;
pub use vector::Vector;

pub(crate) use claim::Claims;
