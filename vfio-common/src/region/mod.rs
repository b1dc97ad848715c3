//! The regions of a device: what they are, what of them is mapped, and access to them.
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
