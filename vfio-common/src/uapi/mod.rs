//! The VFIO system calls: the one place that makes them.
//!
//! Rules of this module:
//! - One function an ioctl, typed by the kind of descriptor it belongs to, for the same number means
//!   different things on containers, groups and devices.
//! - Structs go in zeroed and as bytes; what the kernel filled in is read by copy.
//! - Nothing is interpreted here: errors are the kernel's.
//!
//! Source of all numbers and layouts: `include/uapi/linux/vfio.h`, beside it `iommufd.h` and `kvm.h`.

mod argsz;
mod call;
mod container;
mod device;
mod dma_log;
mod group;
mod hot_reset;
mod iommufd;
mod kvm;
mod migration;

pub(crate) use container::ContainerFd;
pub(crate) use device::DeviceFd;
pub(crate) use group::GroupFd;
pub(crate) use iommufd::IommuFd;
pub(crate) use kvm::{KvmFd, KvmVfioFd};
pub(crate) use migration::precopy_info;
