//! The memory that devices reach: address spaces behind an IOMMU, and buffers in them.
//!
//! A device does not see the memory of a process. It sees an address space of *I/O virtual addresses*
//! (IOVA), into which memory is mapped page by page; everything else is out of its reach. An
//! [`AddressSpace`] is one, whether the kernel calls it a type 1 container or an IOAS of an iommufd, or
//! software stands behind it. A [`DmaBuffer`] is memory that is mapped from its beginning to its end.
//!
//! A driver finds the address space of its device by
//! [`Device::address_space`](crate::device::Device::address_space). It follows `VFIO_IOMMU_MAP_DMA` of
//! `include/uapi/linux/vfio.h` and `IOMMU_IOAS_MAP` of `iommufd.h` there.
//!
//! ```
//! use vfio_common::iommu::{DeviceAccess, DmaBuffer};
//! # use vfio_common::route::{Opener as _, Target};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
//! # let sysfs = format!("bus/mdev/devices/{name}").into();
//! # let _device = machine.opener().open(&Target { name, sysfs })?;
//! // let space = vfio.address_space()?;
//! let space = machine.address_space();
//! let ring = DmaBuffer::new(&space, 8192, DeviceAccess::READ | DeviceAccess::WRITE)?;
//! ring.write(0, 0x1234_5678u32)?;
//! println!("the device finds the ring at {:#x}", ring.iova());
//! assert_eq!(ring.read::<u32>(0)?, 0x1234_5678);
//! assert_eq!(space.mappings().len(), 1);
//! drop(ring);
//! assert!(space.mappings().is_empty());
//! # Ok(()) }
//! ```
//!
//! Rules of this module:
//! - The same calls have the same results on a container and on an IOAS. What can be refused without
//!   the kernel is refused here, with the reason.
//! - The ledger of an address space has what is mapped, and nothing that is not.
//! - Memory is freed only after it is unmapped. If it cannot be unmapped, it stays.
//! - What a device can write at any time is read and written by volatile accesses; no reference to it
//!   is ever made.

mod access;
mod attach;
mod backend;
mod buffer;
mod copy;
mod dma;
mod error;
mod explain;
mod ioas;
mod ledger;
mod memory;
mod software;
mod space;
mod type1;

pub use access::{DeviceAccess, DmaMapping, IovaRange};
pub use attach::{Attach, Attachment};
pub use backend::{Iommu, IommuProperties};
pub use buffer::{BufferError, DmaBuffer, DmaBufferBuilder};
pub use dma::DmaMemory;
pub use error::{Aligned, DmaError};
pub use memory::Pages;
pub use software::DmaFault;
pub use space::AddressSpace;

pub(crate) use type1::Type1;
