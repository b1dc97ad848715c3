//! Who writes to sysfs.

use std::fmt::Debug;
use std::path::Path;

use rustix::io::Errno;

use crate::sysfs::{Host, SysfsError};

/// Who writes attributes of sysfs: this process, a broker with more privileges, or a test.
///
/// It is called in a thread of its own, for some writes do not return while a device is open.
pub trait Attributes: Debug + Send + Sync {
    /// Writes `text` to the attribute `path`, named as below `/sys`, in one `write(2)`.
    ///
    /// # Errors
    /// As [`crate::sysfs::Dir::write`].
    fn write(&self, path: &Path, text: &str) -> Result<(), SysfsError>;
}

/// This process writes, below the root of a machine's sysfs.
#[derive(Debug, Clone)]
pub struct Sysfs(Host);

impl Sysfs {
    /// Writes to the sysfs of `host`.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self(host)
    }
}

impl Attributes for Sysfs {
    fn write(&self, path: &Path, text: &str) -> Result<(), SysfsError> {
        self.0.sysfs()?.write(path, text)
    }
}

/// The error that the kernel answered a write with; `None` when it never came to that.
pub(super) fn errno(error: &SysfsError) -> Option<Errno> {
    match error {
        SysfsError::Io { source, .. } => source.raw_os_error().map(Errno::from_raw_os_error),
        _ => None,
    }
}
