//! Linux VFIO from user space.
mod mapping;
mod mmio;
mod uapi;

pub mod bus;
pub mod device;
pub mod pci_config;
pub mod region;
pub mod route;
pub mod sysfs;

pub use mapping::{Mapping, Protection, page_size};
