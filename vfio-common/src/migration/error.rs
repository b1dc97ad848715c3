//! What can go wrong with a migration.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::MigrationState;
use crate::device::{DeviceError, FeatureError};

/// Where a device is after a failure, as it said itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In this state.
    In(MigrationState),
    /// It could not be asked.
    Unknown,
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(MigrationState::RUNNING) => f.write_str("the device is back in RUNNING"),
            Self::In(MigrationState::ERROR) => {
                f.write_str("the device is in ERROR, and only a reset brings it back")
            }
            Self::In(state) => write!(f, "the device is in {state} and must be brought back"),
            Self::Unknown => f.write_str("where the device is now cannot be found out: reset it"),
        }
    }
}

/// A migration failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The device could not be asked.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The device could not be asked in the middle of a transfer, which was broken off.
    #[error("the migration of {device} was broken off; {now}")]
    BrokenOff {
        /// The device's name.
        device: Arc<str>,
        /// Where the device is.
        now: Whereabouts,
        /// What could not be asked.
        source: FeatureError,
    },
    /// The device is not in `RUNNING`, where a transfer starts.
    #[error(
        "{device} is in migration state {state}, where an earlier migration left it: bring it back \
         to RUNNING first"
    )]
    NotRunning {
        /// The device's name.
        device: Arc<str>,
        /// Where it is.
        state: MigrationState,
    },
    /// The device takes data of a transfer that this handle did not begin. Going on from there would
    /// load data that is not complete, and Linux 6.12 crashes on it in `mtty`.
    #[error(
        "{device} is in RESUMING, where another migration left it: only a reset brings it back"
    )]
    Abandoned {
        /// The device's name.
        device: Arc<str>,
    },
    /// The kernel did not bring the device to a state.
    #[error("cannot bring {device} from migration state {from} to {to}; {now}")]
    Step {
        /// The device's name.
        device: Arc<str>,
        /// Where it was.
        from: MigrationState,
        /// Where it was to go.
        to: MigrationState,
        /// Where it is.
        now: Whereabouts,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel brought the device to a state and gave no descriptor for the data there.
    #[error(
        "the kernel driver of {device} gave no data in migration state {state}, which is a mistake \
         in it; {now}"
    )]
    NoData {
        /// The device's name.
        device: Arc<str>,
        /// The state that should have had data.
        state: MigrationState,
        /// Where it is.
        now: Whereabouts,
    },
    /// The device's data could not be read from it.
    #[error("cannot read the state out of {device}; {now}")]
    ReadDevice {
        /// The device's name.
        device: Arc<str>,
        /// Where it is.
        now: Whereabouts,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device could not tell how much data is left while it runs.
    #[error("{device} cannot tell how much of its state is left to read; {now}")]
    PreCopy {
        /// The device's name.
        device: Arc<str>,
        /// Where it is.
        now: Whereabouts,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device's data could not be stored.
    #[error("cannot store the state of {device}; {now}")]
    Store {
        /// The device's name.
        device: Arc<str>,
        /// Where it is.
        now: Whereabouts,
        /// What whoever stores it said.
        source: io::Error,
    },
    /// The data to restore could not be had.
    #[error("cannot read the state that {device} is to take; {now}")]
    Fetch {
        /// The device's name.
        device: Arc<str>,
        /// Where it is.
        now: Whereabouts,
        /// What whoever has it said.
        source: io::Error,
    },
    /// The device does not take the data.
    #[error(
        "{device} refuses the state: it is not complete, or of another type of device or another \
         version of the kernel driver; {now}"
    )]
    Refused {
        /// The device's name.
        device: Arc<str>,
        /// Where it is.
        now: Whereabouts,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device is where only a reset leads out, and it has none.
    #[error(
        "{device} is in migration state {state} and has no reset: remove it and create it again"
    )]
    NoReset {
        /// The device's name.
        device: Arc<str>,
        /// Where it is.
        state: MigrationState,
    },
    /// The reset failed.
    #[error(transparent)]
    Reset(#[from] DeviceError),
}
