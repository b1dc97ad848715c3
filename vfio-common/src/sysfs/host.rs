//! The machine whose devices are looked at: a sysfs, a `/dev` and a `/proc`.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::{Dir, SysfsError};

/// Where a machine's sysfs, device nodes and processes are. The roots can be moved, for mock trees and
/// for containers that mount them elsewhere. Holds paths only: no descriptor is open between calls.
///
/// ```
/// use vfio_common::sysfs::Host;
///
/// let host = Host::system();
/// assert_eq!(host.sysfs_root().to_str(), Some("/sys"));
/// let mock = Host::new("/tmp/mock/sys", "/tmp/mock/dev");
/// assert_eq!(mock.device_node("vfio/12").to_str(), Some("/tmp/mock/dev/vfio/12"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    sysfs: PathBuf,
    dev: PathBuf,
    proc: PathBuf,
}

impl Host {
    /// The running system: `/sys`, `/dev` and `/proc`.
    #[must_use]
    pub fn system() -> Self {
        Self::new("/sys", "/dev")
    }

    /// A machine with its sysfs at `sysfs` and its device nodes at `dev`. Its processes are those in
    /// `/proc`, until [`Host::with_proc`] says otherwise.
    pub fn new(sysfs: impl Into<PathBuf>, dev: impl Into<PathBuf>) -> Self {
        Self { sysfs: sysfs.into(), dev: dev.into(), proc: "/proc".into() }
    }

    /// The same machine with its processes at `proc`. Only [`diagnosis`](crate::diagnosis), the messages of
    /// errors, and `binding`, which wants to know what is in use, look there.
    #[must_use]
    pub fn with_proc(self, proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), ..self }
    }

    /// The directory that stands for `/sys`.
    #[must_use]
    pub fn sysfs_root(&self) -> &Path {
        &self.sysfs
    }

    /// The directory that stands for `/dev`.
    #[must_use]
    pub fn dev_root(&self) -> &Path {
        &self.dev
    }

    /// The directory that stands for `/proc`.
    #[must_use]
    pub fn proc_root(&self) -> &Path {
        &self.proc
    }

    /// The path of a device node, named as below `/dev` (`vfio/12`).
    #[must_use]
    pub fn device_node(&self, name: &str) -> PathBuf {
        self.dev.join(name)
    }

    /// Opens the root of sysfs.
    ///
    /// # Errors
    /// [`SysfsError::NoSysfs`] when the root cannot be opened as a directory.
    pub fn sysfs(&self) -> Result<Dir, SysfsError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &self.sysfs, flags, Mode::empty())
            .map(|fd| Dir::new(fd, self.sysfs.clone()))
            .map_err(|errno| SysfsError::NoSysfs { root: self.sysfs.clone(), source: errno.into() })
    }

    /// Opens a directory named as below `/sys` (`bus/pci/devices`); `None` when it is not there.
    ///
    /// # Errors
    /// [`SysfsError::NoSysfs`] when sysfs itself is missing, [`SysfsError::Io`] when the directory
    /// is there and cannot be opened.
    pub fn sysfs_dir(&self, path: impl AsRef<Path>) -> Result<Option<Dir>, SysfsError> {
        self.sysfs()?.dir(path)
    }
}

/// The last name in a path or in a link's target, `None` when it has none or is not UTF-8.
///
/// ```
/// use vfio_common::sysfs::base_name;
///
/// assert_eq!(base_name("../../../kernel/iommu_groups/12"), Some("12"));
/// assert_eq!(base_name(".."), None);
/// ```
#[must_use]
pub fn base_name(path: &(impl AsRef<OsStr> + ?Sized)) -> Option<&str> {
    match Path::new(path).components().next_back()? {
        Component::Normal(name) => name.to_str(),
        _ => None,
    }
}
