//! What became of each device that was probed.

use std::fmt;

use super::{BindError, BusType};

/// One row a device, sorted by address.
#[derive(Debug)]
pub struct ProbeReport<B: BusType> {
    /// The rows.
    pub rows: Vec<ProbeRow<B>>,
}

/// What became of one device.
#[derive(Debug)]
pub struct ProbeRow<B: BusType> {
    /// The device.
    pub address: B::Address,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a device that was probed.
#[derive(Debug)]
pub enum Outcome {
    /// It is bound to this driver, now or from before.
    Bound(&'static str),
    /// No driver matches it, or all that match declined it.
    NoDriver,
    /// A driver matches and could not be bound.
    Failed(BindError),
    /// It was left alone.
    Skipped(SkipReason),
}

/// Why a device was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The block list names it, or the allow list does not.
    #[error("it is not among the devices to use")]
    Blocked,
    /// It left the bus meanwhile, or is being taken from it.
    #[error("it was removed meanwhile")]
    Vanished,
    /// Another thread is binding or unbinding it.
    #[error("another thread is binding or unbinding it")]
    Busy,
    /// It is being created or removed.
    #[error("it {0}")]
    Unsettled(&'static str),
}

impl<B: BusType> ProbeReport<B> {
    /// Number of devices that are bound.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Bound(_))).count()
    }

    /// The devices that failed, with why.
    pub fn failed(&self) -> impl Iterator<Item = (&B::Address, &BindError)> {
        self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Failed(error) => Some((&row.address, error)),
            _ => None,
        })
    }
}

impl<B: BusType> fmt::Display for ProbeRow<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.outcome {
            Outcome::Bound(driver) => write!(f, "{address}: bound to {driver}"),
            Outcome::NoDriver => write!(f, "{address}: no driver"),
            Outcome::Failed(error) => write!(f, "{address}: failed: {error}"),
            Outcome::Skipped(reason) => write!(f, "{address}: skipped: {reason}"),
        }
    }
}
