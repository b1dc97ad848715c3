//! What can go wrong when sysfs is read or written.

use std::io;
use std::path::{Path, PathBuf};

/// A sysfs entry could not be read or written. The path is below the host's sysfs root, which it includes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysfsError {
    /// The kernel refused an access that should have worked.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried: "open", "read", "write", "list", "look up" or "resolve".
        operation: &'static str,
        /// The entry.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An attribute holds something else than its ABI says.
    #[error("{} holds {found:?}, which is not {expected}", path.display())]
    Malformed {
        /// The attribute.
        path: PathBuf,
        /// What it holds, cut to a length fit for a message.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The root of sysfs is not there.
    #[error(
        "there is no sysfs at {}: mount it (mount -t sysfs sysfs {}) or name another root",
        root.display(), root.display()
    )]
    NoSysfs {
        /// Where it was looked for.
        root: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SysfsError {
    pub(crate) fn io(operation: &'static str, path: PathBuf, source: rustix::io::Errno) -> Self {
        Self::Io { operation, path, source: source.into() }
    }

    pub(crate) fn malformed(path: PathBuf, found: &str, expected: &'static str) -> Self {
        const LONGEST: usize = 80;
        let found = found.chars().take(LONGEST).collect();
        Self::Malformed { path, found, expected }
    }

    /// The entry that could not be read or written.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. } | Self::Malformed { path, .. } => path,
            Self::NoSysfs { root, .. } => root,
        }
    }
}
