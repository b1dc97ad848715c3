//! The ways to an open device.
//!
//! An [`Opener`] turns a name and a place in sysfs into a [`Device`](crate::device::Device).
//! [`Vfio`] is the kernel's: it finds the device's IOMMU group, checks that it is viable, attaches it
//! to a container with the type 1 version 2 IOMMU, and takes the device's descriptor from it.
//! Software devices bring an opener of their own.
//!
//! Everything that is opened on the way is held by what comes after it: the device holds its group,
//! the group its container. They close in the opposite order, and nothing stays open when a step
//! fails.

mod container;
mod error;
mod group;
mod kernel;
mod member;
mod node;
mod opener;

pub use error::{OpenError, OpenStep};
pub use kernel::Vfio;
pub use member::Member;
pub(crate) use member::is_of_vfio;
pub use opener::{Opener, Target};
