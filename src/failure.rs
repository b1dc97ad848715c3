//! Why a subcommand fails.

use std::error::Error;
use std::path::PathBuf;

use mdev_bus::{Address, PlugError};
use pci_bus::binding::BindingError;
use vfio_common::device::DeviceError;
use vfio_common::migration::MigrationError;
use vfio_common::pci_config::ConfigError;
use vfio_common::region::RegionError;
use vfio_common::sysfs::SysfsError;

use crate::state_file::StateFileError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "there is no mdev bus at {}: load the module of the vendor (kvmgt, mtty, ...), mdev.ko comes \
         only with it; or try the software devices with --sim",
        path.display()
    )]
    NoBus { path: PathBuf },
    #[error(
        "there is no PCI bus at {}: this machine has none, or its kernel is built without it; try the \
         software devices with --sim",
        path.display()
    )]
    NoPciBus { path: PathBuf },
    #[error("{value:#x} does not fit in {width} bytes: give a larger --width")]
    ValueTooWide { value: u64, width: usize },
    #[error("cannot make the software devices")]
    Sim(#[from] vfio_sim::SimError),
    #[error("cannot set up the bus")]
    Drivers(#[from] vfio_common::bus::RegistryError),
    #[error("cannot print JSON")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    #[error("{0}: see `mdevbus list` for those there are")]
    NoDevice(PlugError),
    #[error("{0}: see `mdevbus pci list` for those there are")]
    NoFunction(PlugError),
    #[error(transparent)]
    Plug(PlugError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Region(RegionError),
    #[error("{uuid} cannot be migrated: its kernel driver does not save and restore devices")]
    NotMigratable { uuid: Address },
    #[error(
        "{} is the state of a device of {saved}, and {uuid} is of {found}: restore it to a device of \
         the same type",
        file.display()
    )]
    OtherKind { file: PathBuf, uuid: Address, saved: String, found: String },
    #[error("software devices have no kernel drivers to be bound to: leave out --sim")]
    NoKernelDrivers,
    #[error(transparent)]
    Binding(#[from] BindingError),
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error(transparent)]
    StateFile(#[from] StateFileError),
    #[error("{0}: see `mdevbus show` or `mdevbus pci show` for the regions there are")]
    NoSuchPlace(RegionError),
    #[error("{0} (--via trapped)")]
    NotMapped(RegionError),
}

impl From<PlugError> for Failure {
    fn from(error: PlugError) -> Self {
        match error {
            PlugError::NoDevice { .. } => Self::NoDevice(error),
            _ => Self::Plug(error),
        }
    }
}

impl From<RegionError> for Failure {
    fn from(error: RegionError) -> Self {
        match error {
            RegionError::NotMapped { .. } => Self::NotMapped(error),
            RegionError::Absent { .. } | RegionError::OutOfRange { .. } => Self::NoSuchPlace(error),
            _ => Self::Region(error),
        }
    }
}

impl Failure {
    pub(crate) fn sentence(&self) -> String {
        sentence(self)
    }
}

/// An error and its causes in one line.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors of other crates repeat their cause.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What is said of something that could not be read, beside those that could.
pub(crate) fn left_out(error: &dyn Error) -> String {
    format!("{}: it is left out", sentence(error))
}
