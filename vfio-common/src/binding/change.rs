//! What was done to a device.

use std::fmt;

use super::State;

/// A device before and after. It prints as one line, `0000:3b:00.0: nvme -> vfio-pci`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The address of the device.
    pub address: String,
    /// How it was found.
    pub before: State,
    /// How it is now.
    pub after: State,
    /// What else there is to say; always something when nothing was changed.
    pub remark: Option<Remark>,
}

/// What there is to say beside before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// It is bound to this driver already, by whomever: nothing was changed, nor will it be restored.
    BoundAlready,
    /// No driver has it: there is nothing to unbind.
    UnboundAlready,
    /// Nothing is recorded of it: it was not changed, or was restored.
    NotRecorded,
    /// It is as it was: what was recorded never happened, or was undone by somebody else.
    RestoredAlready,
    /// It was recorded before the machine started: its record is dropped.
    OtherBoot,
    /// It is gone: its record is dropped.
    Gone,
    /// Another device has its address now, or the same one was plugged in again: the record is dropped.
    OtherDevice,
    /// Somebody else gave it a driver since: that was left to it, and the record is dropped.
    TakenOver {
        /// The driver that it has.
        driver: String,
    },
    /// Its driver is not loaded any more, and the kernel gave it another one.
    NewDriver {
        /// The driver that it came from.
        origin: String,
    },
}

impl Change {
    pub(super) fn none(address: String, state: State, remark: Remark) -> Self {
        Self { address, before: state.clone(), after: state, remark: Some(remark) }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BoundAlready => write!(f, "bound to it already"),
            Self::UnboundAlready => write!(f, "no driver to unbind it from"),
            Self::NotRecorded => write!(f, "nothing was changed that could be restored"),
            Self::RestoredAlready => write!(f, "as it was"),
            Self::OtherBoot => write!(f, "its record is from before the machine started: dropped"),
            Self::Gone => write!(f, "it is gone: its record is dropped"),
            Self::OtherDevice => write!(
                f,
                "another device has its address, or it was plugged in again: its record is dropped"
            ),
            Self::TakenOver { driver } => {
                write!(
                    f,
                    "somebody else bound it to {driver} since: left so, its record is dropped"
                )
            }
            Self::NewDriver { origin } => {
                write!(f, "its driver {origin} is not loaded any more, the kernel gave it another")
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NO_DRIVER: &str = "no driver";
        let Self { address, before, after, remark } = self;
        let name = |driver: &Option<String>| driver.clone().unwrap_or_else(|| NO_DRIVER.to_owned());
        write!(f, "{address}: {}", name(&before.driver))?;
        if before.driver != after.driver {
            write!(f, " -> {}", name(&after.driver))?;
        } else if before.driver_override != after.driver_override {
            let name =
                |driver: &Option<String>| driver.clone().unwrap_or_else(|| "none".to_owned());
            let (was, is) = (name(&before.driver_override), name(&after.driver_override));
            write!(f, ", driver_override {was} -> {is}")?;
        }
        remark.as_ref().map_or(Ok(()), |remark| write!(f, " ({remark})"))
    }
}
