//! The nodes below `/dev`.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::OpenError;
use crate::sysfs::Host;

/// Whether a node is that of a device, as against a group's or one that all share.
pub(crate) fn is_of_device(node: &Path) -> bool {
    node.parent().is_some_and(|parent| parent.ends_with("vfio/devices"))
}

/// The udev rule that gives a node to a group of users.
pub(crate) fn udev_rule(node: &Path) -> String {
    let key = match (node.ends_with("iommu"), is_of_device(node)) {
        (true, _) => "KERNEL==\"iommu\"",
        // The classes of `drivers/vfio/vfio_main.c` and `group.c` there.
        (_, true) => "SUBSYSTEM==\"vfio-dev\"",
        _ => "SUBSYSTEM==\"vfio\"",
    };
    format!("{key}, GROUP=\"...\", MODE=\"0660\"")
}

/// Who opens device nodes: this process by their paths, or a broker with more privileges that passes
/// descriptors over a socket.
///
/// Names are those below `/dev`: `vfio/vfio` (a container), `vfio/12` (a group), `iommu` (an
/// iommufd), `vfio/devices/vfio3` (a device), `vfio/noiommu-12` (a group without an IOMMU), `kvm`.
///
/// ```no_run
/// use std::io;
/// use std::os::fd::OwnedFd;
/// use std::sync::Arc;
///
/// use vfio_common::route::{Nodes, Vfio};
/// use vfio_common::sysfs::Host;
///
/// #[derive(Debug)]
/// struct Broker;
///
/// impl Nodes for Broker {
///     fn open(&self, name: &str) -> io::Result<OwnedFd> {
///         // Asks over a socket, and takes the descriptor from the answer (SCM_RIGHTS).
/// #       let _ = name;
///         Err(io::ErrorKind::NotFound.into())
///     }
/// }
///
/// let vfio = Vfio::new(Host::system()).nodes(Arc::new(Broker));
/// ```
pub trait Nodes: Debug + Send + Sync {
    /// A new open descriptor of a node, for reading and writing, close-on-exec.
    ///
    /// # Errors
    /// What `open(2)` says; `NotFound` when there is no such node.
    fn open(&self, name: &str) -> io::Result<OwnedFd>;
}

/// Nodes by their paths.
#[derive(Debug)]
pub(super) struct ByPath(pub(super) Host);

impl Nodes for ByPath {
    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        let path = self.0.device_node(name);
        // Files of the standard library are close-on-exec.
        OpenOptions::new().read(true).write(true).open(path).map(OwnedFd::from)
    }
}

/// Opens a node that must be a character device, and with this device number if sysfs told one: a node
/// may be left behind by a device that is gone, whose name was given again.
pub(super) fn open(
    nodes: &dyn Nodes,
    host: &Host,
    name: &str,
    expected: Option<DeviceNumber>,
) -> Result<File, OpenError> {
    let node = || -> PathBuf { host.device_node(name) };
    let failed = |source| OpenError::Node { node: node(), source };
    let file = File::from(nodes.open(name).map_err(failed)?);
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.file_type().is_char_device() {
        return Err(OpenError::NotANode { node: node() });
    }
    let found = DeviceNumber(metadata.rdev());
    match expected {
        Some(expected) if expected != found => {
            let (found, expected) = (found.to_string(), expected.to_string());
            Err(OpenError::StaleNode { node: node(), found, expected })
        }
        _ => Ok(file),
    }
}

/// A device number; prints as `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceNumber(pub(crate) u64);

impl DeviceNumber {
    /// Reads the attribute `dev` of a directory of sysfs. `None` when there is none.
    pub(crate) fn in_sysfs(host: &Host, directory: impl AsRef<Path>) -> Option<Self> {
        let dir = host.sysfs_dir(directory).ok().flatten()?;
        let text = dir.read("dev").ok().flatten()?;
        let (major, minor) = text.trim().split_once(':')?;
        let number = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
        Some(Self(number))
    }

    /// The number of the node itself, for where sysfs tells none.
    pub(super) fn of_path(host: &Host, name: &str) -> Result<Self, OpenError> {
        let node = host.device_node(name);
        let metadata = std::fs::metadata(&node)
            .map_err(|source| OpenError::Node { node: node.clone(), source })?;
        if !metadata.file_type().is_char_device() {
            return Err(OpenError::NotANode { node });
        }
        Ok(Self(metadata.rdev()))
    }
}

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", rustix::fs::major(self.0), rustix::fs::minor(self.0))
    }
}
