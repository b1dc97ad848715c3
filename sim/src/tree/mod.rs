//! A mock sysfs and `/dev` with mediated devices and PCI functions, laid out as the kernel lays out the
//! real ones (`Documentation/ABI/testing/sysfs-bus-vfio-mdev`, `sysfs-bus-pci`), in a temporary
//! directory that goes with it.
//!
//! Rules of this module:
//! - Links are relative and entries come and go in the kernel's order, so what reads a tree cannot
//!   tell it from the real one. Behind the tree there is nothing: a write to `create` is a write to a
//!   file. [`Machine`](crate::Machine) puts devices behind it.
//! - Whatever the kernel would never show can be put in by hand ([`Tree::write`], [`Tree::link`],
//!   [`Tree::mkdir`], [`Tree::remove`]).

mod device;
mod error;
mod files;
mod function;
mod numbers;
mod parent;
mod pci_bus;
mod vfio;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vfio_common::sysfs::Host;

use self::device::Placed;
use self::files::Files;
use self::numbers::Numbers;
use self::pci_bus::PlacedFunction;

pub use self::device::MdevDevice;
pub use self::error::TreeError;
pub use self::function::PciFunction;
pub use self::parent::{MdevType, Parent};

/// A mock sysfs and `/dev`. It is in memory (`/dev/shm`) where it can be, or where `TMPDIR` says.
///
/// All methods take `&self` and may be called from several threads, also while others read the tree.
///
/// ```
/// use vfio_sim::tree::{MdevDevice, MdevType, Parent, Tree};
///
/// let tree = Tree::new()?;
/// let mtty = MdevType::new("mtty-2", "vfio-pci").name("Dual port serial").instances(12);
/// tree.add_parent(&Parent::new("mtty").with_type(mtty))?;
/// let uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
/// tree.add_device(&MdevDevice::new(uuid, "mtty", "mtty-2").group(7))?;
///
/// let devices = tree.host().sysfs_dir("bus/mdev/devices")?.ok_or("no mdev bus")?;
/// assert_eq!(devices.link_name(format!("{uuid}/iommu_group"))?.as_deref(), Some("7"));
/// // A broken entry.
/// tree.write(format!("bus/mdev/devices/{uuid}/mdev_type/device_api"), b"\xff\xfe")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tree {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The directory of each parent.
    parents: BTreeMap<String, PathBuf>,
    devices: BTreeMap<String, Placed>,
    functions: BTreeMap<String, PlacedFunction>,
    groups: Numbers,
    /// Of each group, how many members are offered through VFIO.
    group_nodes: Numbers,
    vfio_devs: Numbers,
}

impl Tree {
    /// A machine with the mdev bus, without parents.
    ///
    /// # Errors
    /// [`TreeError`] when the temporary directory cannot be made.
    pub fn new() -> Result<Self, TreeError> {
        let tree = Self::without_mdev_bus()?;
        tree.add_mdev_bus()?;
        Ok(tree)
    }

    /// A machine whose kernel has no driver of mediated devices loaded.
    ///
    /// # Errors
    /// As [`Tree::new`].
    pub fn without_mdev_bus() -> Result<Self, TreeError> {
        let files = Files::new()?;
        for path in ["class/vfio", "class/vfio-dev", "kernel/iommu_groups", "devices/virtual"] {
            files.dirs(path)?;
        }
        files.node("vfio/vfio", 0o666)?;
        Ok(Self { files, state: Mutex::default() })
    }

    fn add_mdev_bus(&self) -> Result<(), TreeError> {
        let paths = ["bus/mdev/devices", "bus/mdev/drivers", "class/mdev_bus"];
        paths.into_iter().try_for_each(|path| self.files.dirs(path))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine, for what reads sysfs and device nodes. It holds paths only: it is empty once the
    /// tree is dropped.
    #[must_use]
    pub fn host(&self) -> Host {
        Host::new(self.sysfs(), self.dev())
    }

    /// The directory that stands for `/sys`.
    #[must_use]
    pub fn sysfs(&self) -> &Path {
        self.files.sysfs()
    }

    /// The directory that stands for `/dev`. The nodes in it are plain files.
    #[must_use]
    pub fn dev(&self) -> &Path {
        self.files.dev()
    }
}

/// Changes by hand. Paths are below the root of sysfs and may lead through links.
impl Tree {
    /// Gives an attribute these bytes in one step, whatever file or link was there; makes its directory
    /// if it is not there.
    ///
    /// # Errors
    /// [`TreeError`], with `EINVAL` when the path is empty, absolute or has `..` in it.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.add_dir_of(path)?;
        self.files.replace(path, bytes.as_ref())
    }

    /// Makes a link with this target, as it stands, and its directory if it is not there.
    ///
    /// # Errors
    /// As [`Tree::write`], and with `EEXIST` when there is such an entry.
    pub fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.add_dir_of(path)?;
        self.files.link(path, target)
    }

    /// Makes a directory and those that lead to it, where they are not there.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn mkdir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        self.files.dirs(path)
    }

    /// Removes an entry, with all that is in it if it is a directory. It is no error if it is not
    /// there.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        self.files.remove(path)
    }

    fn add_dir_of(&self, path: &Path) -> Result<(), TreeError> {
        match path.parent() {
            Some(dir) if dir != Path::new("") => self.files.dirs(dir),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
