//! The interface that a mediated device offers.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// What kind of VFIO device a mediated device is: its type's attribute `device_api`. The names are
/// `VFIO_DEVICE_API_*_STRING` of `include/uapi/linux/vfio.h`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceApi {
    /// `vfio-pci`: regions and interrupts of a PCI function.
    Pci,
    /// `vfio-platform`.
    Platform,
    /// `vfio-amba`.
    Amba,
    /// `vfio-ccw`: a channel device of s390.
    Ccw,
    /// `vfio-ap`: a cryptographic adapter matrix of s390.
    Ap,
    /// Another interface, by its name.
    Other(Cow<'static, str>),
}

impl DeviceApi {
    const KNOWN: [Self; 5] = [Self::Pci, Self::Platform, Self::Amba, Self::Ccw, Self::Ap];

    /// The name as in sysfs.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pci => "vfio-pci",
            Self::Platform => "vfio-platform",
            Self::Amba => "vfio-amba",
            Self::Ccw => "vfio-ccw",
            Self::Ap => "vfio-ap",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for DeviceApi {
    fn from(name: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|api| api.name() == name);
        known.unwrap_or_else(|| Self::Other(name.to_owned().into()))
    }
}

impl FromStr for DeviceApi {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(name.into())
    }
}

impl fmt::Display for DeviceApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
