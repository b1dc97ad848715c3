//! The ways to an open device.
//!
//! ```
//! use vfio_common::route::{Opener as _, Target};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let (host, opener) = (machine.host(), machine.opener());
//! // let host = vfio_common::sysfs::Host::system();
//! // let opener = vfio_common::route::Vfio::new(host.clone());
//! let name = "0000:00:04.0".to_owned();
//! let target = Target { sysfs: format!("bus/pci/devices/{name}").into(), name };
//! println!("group {}", target.iommu_group(&host)?);
//! let device = opener.open(&target)?;
//! assert_eq!(device.name(), target.name);
//! # Ok(()) }
//! ```
//!
//! An [`Opener`] turns a name and a place in sysfs into a [`Device`](crate::device::Device).
//! [`Vfio`] is the kernel's. It has two routes:
//!
//! - By character device (Linux 6.6): it opens the device's own node, binds it to an iommufd, and
//!   attaches it to an address space there.
//! - By group: it finds the device's IOMMU group, checks that it is viable, attaches it to a container
//!   with the type 1 version 2 IOMMU, and takes the device's descriptor from it.
//!
//! Some devices want more: a KVM virtual machine that they are [linked to](Kvm), or a
//! [VF token](crate::device::VfToken). A `Vfio` gives it to all its devices, [`Vfio::open_with`] to one.
//! Devices that no IOMMU is in front of are opened only after [`Vfio::allow_no_iommu`], which is unsafe.
//!
//! Nodes that this process must not open come from a broker ([`Nodes`]), and devices that it opened
//! wholly go to [`adopt`]. Software devices bring an opener of their own.
//!
//! Everything that is opened on the way is held by what comes after it: the device holds its group,
//! the group its container. They close in the opposite order, and nothing stays open when a step
//! fails: an [`OpenError`] says which it was, why, and the way out.
//!
//! Source: `include/uapi/linux/vfio.h` and `iommufd.h` there; `Documentation/driver-api/vfio.rst`.

mod cdev;
mod container;
mod error;
mod group;
mod ioas;
mod kernel;
mod kvm;
mod member;
mod no_iommu;
mod node;
mod once;
mod open_with;
mod opener;
mod sriov;
mod vfio;

pub use error::{Need, OpenError, OpenStep};
pub use kvm::Kvm;
pub(crate) use kvm::is_wanted_by as wants_kvm;
pub(crate) use member::is_iommu_off;
pub use member::{Member, is_of_vfio};
pub use node::Nodes;
pub(crate) use node::{DeviceNumber, udev_rule};
pub use open_with::OpenWith;
pub use opener::{Opener, Target};
pub(crate) use sriov::Function;
pub use vfio::{Route, Vfio, adopt};
