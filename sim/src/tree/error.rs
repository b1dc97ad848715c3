//! What can go wrong with a mock tree.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::errno::failed;

/// A mock tree could not be made or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {} in the mock tree", path.display())]
pub struct TreeError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl TreeError {
    pub(super) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.into(), source }
    }

    pub(super) fn missing(operation: &'static str, path: impl AsRef<Path>) -> Self {
        Self::new(operation, path.as_ref(), failed(Errno::NOENT))
    }

    pub(super) fn exists(operation: &'static str, path: impl AsRef<Path>) -> Self {
        Self::new(operation, path.as_ref(), failed(Errno::EXIST))
    }

    /// The entry that could not be made or changed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the operating system said.
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}
