//! The regions of a device: what they are, what of them is mapped, and access to them.
//!
//! A region is a range of bytes that a device shows: a BAR, the configuration space, a framebuffer, found
//! by its index ([`Device::region`](crate::device::Device::region)). What the kernel lets be mapped of it
//! is mapped at once; an access there is a load or a store, and anywhere else a `pread` or `pwrite` of the
//! device, by the same methods of [`Region`]. Where a hot path must not ask which, a [`Window`] has the
//! answer. It follows `VFIO_DEVICE_GET_REGION_INFO` of `include/uapi/linux/vfio.h`.
//!
//! ```
//! use vfio_common::region::Path;
//! # use vfio_common::route::{Opener as _, Target};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003".to_owned();
//! # let sysfs = format!("bus/mdev/devices/{name}").into();
//! # let device = machine.opener().open(&Target { name, sysfs })?;
//! // 32 KiB, of which the kernel lets three areas be mapped.
//! let region = device.region(0)?;
//! assert_eq!(region.mapped().len(), 3);
//! assert!(region.is_mapped(0x3000..0x5000) && !region.is_mapped(0..4));
//! assert_eq!(region.read32(0)?, 0x7370_6172); // one system call
//! region.write32(0x3010, 7)?; // one store
//!
//! let queue = region.fixed_window::<0x1000>(0x3000)?;
//! assert_eq!(queue.read32::<0x10>(), 7); // one load; the offset was checked when this was compiled
//! assert_eq!(region.read_via::<u32>(Path::Trapped, 0x3010)?, 7); // the same memory
//! # Ok(()) }
//! ```
//!
//! Rules of this module:
//! - Every access is checked against the region's size before it goes anywhere: some kernel drivers
//!   do not check, and would return kernel memory.
//! - A register access is one load, one store or one system call, of exactly the width asked for and
//!   at a multiple of it. (On a host of 32 bits the compiler makes two of a mapped 64-bit access.)
//! - A mapped range is one that the kernel's description allows, and nothing else is ever mapped. No
//!   pointer is handed out across a hole.
//! - No reference to device memory is made: raw pointers and volatile accesses only.
//! - A region's memory is little-endian unless the `_native` methods are used.

mod access;
mod bulk;
mod capability;
mod error;
mod info;
mod plan;
mod register;
mod window;

pub use access::{Path, Region};
pub use capability::{Chain, ChainCapability, ChainError};
pub use error::RegionError;
pub use info::{Area, RegionFlags, RegionInfo, RegionType};
pub use plan::{MappingPlan, Refusal, plan};
pub use register::Register;
pub use window::{Window, WindowError};

pub(crate) use access::RegionState;
pub(crate) use capability::read_u32;
