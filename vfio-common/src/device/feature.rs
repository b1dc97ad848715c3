//! What a device can do beyond regions and interrupts: `VFIO_DEVICE_FEATURE`.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use vfio_bindings::bindings::vfio as sys;

use super::Device;
use super::handle::{is_errno, is_invalid};

/// The number of a feature, `VFIO_DEVICE_FEATURE_*` of `include/uapi/linux/vfio.h`. Any number can
/// be asked for, also one that this crate does not know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Feature(pub u16);

/// Generates the constants and their names from one list.
macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $value:expr, $text:literal;)*) => {
        impl Feature {
            $($(#[$doc])* pub const $name: Self = Self(number($value));)*

            /// The feature's name in plain words; `None` for one that this crate does not know.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

features! {
    /// The token that opens the virtual functions of a PCI function; set.
    PCI_VF_TOKEN = sys::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, "VF token";
    /// Whether and how the device migrates; get. See [`Device::migration`].
    MIGRATION = sys::VFIO_DEVICE_FEATURE_MIGRATION, "migration";
    /// The migration state; get and set.
    MIG_DEVICE_STATE = sys::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, "migration state";
    /// Lets the device go to low power; set.
    LOW_POWER_ENTRY = sys::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, "low power";
    /// The same, with an eventfd that tells when the device woke up; set.
    LOW_POWER_ENTRY_WITH_WAKEUP =
        sys::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, "low power with wake-up";
    /// Brings the device back from low power; set.
    LOW_POWER_EXIT = sys::VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, "return from low power";
    /// Starts to log the memory that the device writes; set.
    DMA_LOGGING_START = sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_START, "start of DMA logging";
    /// Ends the log; set.
    DMA_LOGGING_STOP = sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, "end of DMA logging";
    /// Reads and clears the log; get.
    DMA_LOGGING_REPORT = sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, "DMA log";
    /// An estimate of the migration data; get, from Linux 6.2.
    MIG_DATA_SIZE = sys::VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, "size of the migration data";
    /// Whether a device on the CDX bus may do DMA; set.
    BUS_MASTER = sys::VFIO_DEVICE_FEATURE_BUS_MASTER, "bus mastering";
    /// A region as a DMA buffer; get.
    DMA_BUF = sys::VFIO_DEVICE_FEATURE_DMA_BUF, "DMA buffer";
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "feature {}", self.0),
        }
    }
}

impl fmt::Debug for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feature({}: {self})", self.0)
    }
}

/// What is done with a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeatureUse {
    /// It is read.
    Get,
    /// It is written, or done.
    Set,
}

impl FeatureUse {
    fn flag(self) -> u32 {
        match self {
            Self::Get => sys::VFIO_DEVICE_FEATURE_GET,
            Self::Set => sys::VFIO_DEVICE_FEATURE_SET,
        }
    }
}

impl fmt::Display for FeatureUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Set => "set",
        })
    }
}

/// A feature of a device could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The device, or its kernel driver, does not have it.
    #[error(
        "{device} does not have the feature `{feature}`: its kernel driver does not offer it, that of \
         a newer kernel may"
    )]
    Unsupported {
        /// The device's name.
        device: Arc<str>,
        /// The feature.
        feature: Feature,
    },
    /// The kernel could not tell whether the device has it.
    #[error("cannot ask {device} whether it has the feature `{feature}`")]
    Probe {
        /// The device's name.
        device: Arc<str>,
        /// The feature.
        feature: Feature,
        /// What the kernel said.
        source: io::Error,
    },
    /// It failed.
    #[error("cannot {operation} the feature `{feature}` of {device}")]
    Failed {
        /// The device's name.
        device: Arc<str>,
        /// The feature.
        feature: Feature,
        /// What was done with it.
        operation: FeatureUse,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Device {
    /// Whether the device has a feature that can be used this way: `VFIO_DEVICE_FEATURE_PROBE`.
    /// Nothing changes.
    ///
    /// ```
    /// use vfio_common::device::{Feature, FeatureUse};
    /// # use vfio_common::route::{Opener as _, Target};
    /// # let machine = vfio_sim::Machine::demo()?;
    /// # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
    /// # let sysfs = format!("bus/mdev/devices/{name}").into();
    /// # let device = machine.opener().open(&Target { name, sysfs })?;
    /// assert!(device.has_feature(Feature::MIGRATION, FeatureUse::Get)?);
    /// assert!(!device.has_feature(Feature::MIGRATION, FeatureUse::Set)?);
    /// assert!(!device.has_feature(Feature(0x7fff), FeatureUse::Get)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`FeatureError::Probe`] when the kernel fails for another reason than that the device does not
    /// have it (`ENOTTY`) or that it cannot be used this way (`EINVAL`).
    pub fn has_feature(
        &self,
        feature: Feature,
        operation: FeatureUse,
    ) -> Result<bool, FeatureError> {
        let flags = u32::from(feature.0) | operation.flag() | sys::VFIO_DEVICE_FEATURE_PROBE;
        match self.shared().backend.feature(flags, &mut []) {
            Ok(()) => Ok(true),
            Err(error) if is_unsupported(&error) || is_invalid(&error) => Ok(false),
            Err(source) => {
                Err(FeatureError::Probe { device: self.shared().name.clone(), feature, source })
            }
        }
    }

    /// Lets a device on AMD's CDX bus do DMA, or no more: `VFIO_DEVICE_FEATURE_BUS_MASTER`, Linux 6.7. A
    /// PCI device has [`Command::BUS_MASTER`](crate::pci_config::Command::BUS_MASTER) for that.
    ///
    /// # Errors
    /// [`FeatureError::Unsupported`] when the device has no such feature, [`FeatureError::Failed`] when
    /// the kernel refuses.
    pub fn set_bus_master(&self, on: bool) -> Result<(), FeatureError> {
        let op = if on {
            sys::VFIO_DEVICE_FEATURE_SET_MASTER
        } else {
            sys::VFIO_DEVICE_FEATURE_CLEAR_MASTER
        };
        self.use_feature(Feature::BUS_MASTER, FeatureUse::Set, &mut op.to_ne_bytes())
    }

    /// Reads a feature whose data is neither a descriptor nor an address.
    pub(crate) fn get_feature(
        &self,
        feature: Feature,
        data: &mut [u8],
    ) -> Result<(), FeatureError> {
        self.use_feature(feature, FeatureUse::Get, data)
    }

    /// Does a feature without data.
    pub(super) fn set_feature(&self, feature: Feature) -> Result<(), FeatureError> {
        self.use_feature(feature, FeatureUse::Set, &mut [])
    }

    pub(super) fn use_feature(
        &self,
        feature: Feature,
        operation: FeatureUse,
        data: &mut [u8],
    ) -> Result<(), FeatureError> {
        let flags = u32::from(feature.0) | operation.flag();
        let used = self.shared().backend.feature(flags, data);
        used.map_err(|source| self.feature_error(feature, operation, source))
    }

    /// What a feature failed with.
    pub(super) fn feature_error(
        &self,
        feature: Feature,
        operation: FeatureUse,
        source: io::Error,
    ) -> FeatureError {
        let device = self.shared().name.clone();
        if is_unsupported(&source) {
            return FeatureError::Unsupported { device, feature };
        }
        FeatureError::Failed { device, feature, operation, source }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    is_errno(error, Errno::NOTTY)
}

/// A feature's number, which has 16 bits of the flags.
#[expect(clippy::cast_possible_truncation, reason = "checked, when this is compiled")]
const fn number(value: u32) -> u16 {
    assert!(value <= sys::VFIO_DEVICE_FEATURE_MASK);
    value as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_the_numbers_of_the_header_and_names() {
        assert_eq!(Feature::MIGRATION.0, 1);
        assert_eq!(Feature::MIG_DATA_SIZE.0, 9);
        assert_eq!(Feature::DMA_LOGGING_REPORT.to_string(), "DMA log");
        assert_eq!(Feature(77).to_string(), "feature 77");
        assert_eq!(format!("{:?}", Feature::LOW_POWER_EXIT), "Feature(5: return from low power)");
    }
}
