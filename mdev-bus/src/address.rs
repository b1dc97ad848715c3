//! The name of a mediated device: a UUID.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The UUID of a mediated device. It prints as the kernel writes it: 36 characters, lower case.
///
/// ```
/// use mdev_bus::Address;
///
/// let address: Address = "83B8F4F2-509F-382F-3C1E-E6BFE0FA1001".parse()?;
/// assert_eq!(address.to_string(), "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
/// assert!("83b8f4f2509f382f3c1ee6bfe0fa1001".parse::<Address>().is_err());
/// # Ok::<(), mdev_bus::AddressError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Uuid);

/// A text that is not the UUID of a mediated device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a UUID: it takes 36 characters, as in 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
)]
pub struct AddressError {
    /// The text.
    pub text: String,
}

impl Address {
    /// Length of a UUID as the kernel writes it.
    const LENGTH: usize = 36;

    /// The UUID.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for Address {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Takes the form with hyphens, in upper or lower case, and no other: the kernel knows no other.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uuid = (text.len() == Self::LENGTH).then(|| Uuid::try_parse(text).ok()).flatten();
        uuid.map(Self).ok_or_else(|| AddressError { text: text.into() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
