//! What can go wrong with a software machine.

use std::io;

use rustix::io::Errno;

use crate::tree::TreeError;

/// A software machine could not be made or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A device could not be created.
    #[error("cannot create {uuid} of type {mdev_type} on {parent}{}", advice(source))]
    Create {
        /// The UUID.
        uuid: String,
        /// The parent.
        parent: String,
        /// The type.
        mdev_type: String,
        /// What the kernel says to a write to `create`.
        source: io::Error,
    },
    /// A PCI function could not be made.
    #[error("cannot make the PCI function {address}")]
    Plug {
        /// Its address.
        address: String,
        /// What keeps it from being made.
        source: io::Error,
    },
    /// A device could not be removed.
    #[error("cannot remove {name}")]
    Remove {
        /// Its UUID or its address.
        name: String,
        /// What the kernel says to opening or writing `remove`.
        source: io::Error,
    },
    /// Its mock tree could not be made or changed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl SimError {
    /// The error number that a program would get from the kernel.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Create { source, .. }
            | Self::Plug { source, .. }
            | Self::Remove { source, .. } => source.raw_os_error(),
            Self::Tree(error) => error.io_error().raw_os_error(),
        }
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL) => ": a UUID takes 36 characters",
        Some(Errno::EXIST) => ": there is a device with this UUID, or it is still being removed",
        Some(Errno::NOSPC) => ": no instances are left, remove a device first",
        Some(Errno::NOENT) => ": there is no such parent or type",
        _ => "",
    }
}
