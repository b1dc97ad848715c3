//! What opens devices, and what it needs to know of one.

use std::fmt::Debug;
use std::path::PathBuf;

use super::OpenError;
use crate::device::Device;

/// Whatever opens devices: the kernel ([`Vfio`](super::Vfio)), or software.
pub trait Opener: Debug + Send + Sync {
    /// Opens a device. What it needs besides is opened with it, and shared where it must be.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing stays open.
    fn open(&self, target: &Target) -> Result<Device, OpenError>;
}

/// A device that can be opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The name by which its IOMMU group knows it: the last part of its path in sysfs.
    pub name: String,
    /// Its directory, below the root of sysfs.
    pub sysfs: PathBuf,
}
