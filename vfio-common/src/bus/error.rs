//! Why a device is not bound.

use std::borrow::Cow;

use super::{EnableError, ProbeError};
use crate::pci_config::ConfigError;
use crate::route::OpenError;
use crate::sysfs::SysfsError;

/// A device cannot be opened, as its identity shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{device} {fault}")]
pub struct Unusable {
    /// The device's address.
    pub device: String,
    /// What is wrong and what to do.
    pub fault: Cow<'static, str>,
}

/// A device that a driver wants could not be bound. It is closed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Its identity shows that it cannot be opened.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// It did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A driver matches by PCI ids, and they cannot be read.
    #[error("cannot read the PCI ids of {device}")]
    Ids {
        /// The device's address.
        device: String,
        /// What went wrong.
        source: ConfigError,
    },
    /// The bus could not make it ready for a driver.
    #[error("cannot make {device} ready for a driver")]
    Enable {
        /// The device's address.
        device: String,
        /// What went wrong.
        source: EnableError,
    },
    /// The driver refused it.
    #[error("driver {driver} failed to probe {device}")]
    Probe {
        /// The device's address.
        device: String,
        /// The driver.
        driver: &'static str,
        /// What the driver said.
        source: ProbeError,
    },
}

/// A device could not be found or opened by its address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlugError {
    /// There is no such device on the bus.
    #[error("there is no device {device} in {directory}")]
    NoDevice {
        /// The device's address.
        device: String,
        /// Where it was looked for.
        directory: String,
    },
    /// Its entries in sysfs could not be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// Its identity shows that it cannot be opened.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// It did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}
