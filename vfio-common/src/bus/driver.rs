//! What passes between the engine and a driver.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::BusType;
use crate::device::{Device, DeviceError};
use crate::pci_config::{ConfigError, PciIds};
use crate::region::{RegionError, WindowError};

/// A device that is offered to a driver: open, identified, and the driver's to keep.
#[derive(Debug)]
pub struct ProbeDevice<B: BusType> {
    pub(super) info: Arc<B::Info>,
    pub(super) device: Device,
    pub(super) pci_ids: Option<PciIds>,
}

impl<B: BusType> ProbeDevice<B> {
    /// What sysfs says of it.
    #[must_use]
    pub fn info(&self) -> &Arc<B::Info> {
        &self.info
    }

    /// Its PCI ids, if sysfs tells them or matching needed them; a driver that wants them anyway
    /// reads [`Device::pci_config`].
    #[must_use]
    pub fn pci_ids(&self) -> Option<PciIds> {
        self.pci_ids
    }

    /// The open device. A driver clones what it keeps: the device closes when the last handle,
    /// region and window of it is dropped.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// Why a driver does not bind a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The device is none that this driver handles, although an id matched: the next driver is
    /// asked.
    #[error("the driver does not handle it: {0}")]
    Declined(String),
    /// The device does not behave as it should.
    #[error("{0}")]
    Faulty(String),
    /// The device cannot describe itself.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A region is missing, or an access to it failed.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// An access to a window was refused.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// PCI configuration space could not be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Anything else.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}

/// Why the bus takes a device from its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnbindReason {
    /// The application asked for it.
    Requested,
    /// The device left the bus: accesses may fail, and whoever removes it waits for it to close.
    Removed,
    /// The bus is dropped.
    Shutdown,
}

impl fmt::Display for UnbindReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "requested",
            Self::Removed => "the device was removed",
            Self::Shutdown => "the bus shuts down",
        })
    }
}

/// What a driver's self-test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfTest {
    /// The driver has no self-test.
    None,
    /// It passed; the text says what it did, as one line.
    Passed(String),
}

/// Why a self-test failed.
pub type SelfTestError = Box<dyn Error + Send + Sync>;
