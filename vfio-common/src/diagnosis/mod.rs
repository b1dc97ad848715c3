//! Why a device does not open, before it is opened.
//!
//! An [`Examination`] walks what stands between a process and a device in the order in which opening
//! it would meet it, and gives a [`Finding`] for each obstacle: what it is about, what is wrong, and
//! the way out. It reads sysfs, the attributes of device nodes and `/proc`, and opens no device, so it
//! changes nothing and may run beside whatever uses the device.
//!
//! ```
//! use vfio_common::diagnosis::{Examination, Severity};
//! use vfio_common::route::Target;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tree = vfio_sim::tree::Tree::new()?;
//! # let host = tree.host();
//! // let host = vfio_common::sysfs::Host::system();
//! let examination = Examination::new(host);
//! let name = "0000:3b:00.0".to_owned();
//! let findings = examination.device(&Target { sysfs: format!("bus/pci/devices/{name}").into(), name });
//! let finding = &findings[0];
//! assert_eq!(finding.severity, Severity::Error);
//! assert!(finding.problem.contains("does not exist"));
//! # Ok(()) }
//! ```
//!
//! What cannot be known from there is not claimed: kernels before 6.18 do not say which VFIO device a
//! descriptor stands for.

mod device;
mod finding;
mod machine;
mod node;
mod remapping;

use crate::route::{OpenWith, Route};
use crate::sysfs::Host;

pub use crate::holders::{Holder, Holders, OpenFiles};
pub use finding::{Finding, Severity};

/// A look at a machine and its devices, for the process that makes it. The processes of the machine
/// are looked at once, when it is made.
#[derive(Debug)]
pub struct Examination {
    host: Host,
    files: OpenFiles,
    nodes: bool,
    route: Route,
    with: OpenWith,
}

impl Examination {
    /// Examines `host`.
    #[must_use]
    pub fn new(host: Host) -> Self {
        let files = OpenFiles::read(&host);
        Self { host, files, nodes: true, route: Route::Auto, with: OpenWith::new() }
    }

    /// For devices that are opened by this route. What keeps a device from one of several routes is only
    /// a note.
    #[must_use]
    pub fn route(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// For devices that are opened with this: what is given is not asked for.
    #[must_use]
    pub fn open_with(self, with: OpenWith) -> Self {
        Self { with, ..self }
    }

    /// Leaves out what concerns device nodes and the kernel's VFIO: for devices that software opens
    /// (`vfio-sim`), whose nodes are plain files.
    #[must_use]
    pub fn without_nodes(self) -> Self {
        Self { nodes: false, ..self }
    }

    /// The machine that is examined.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }
}
