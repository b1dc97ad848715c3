//! Where a function sits in the PCI hierarchy.

use std::fmt;
use std::str::FromStr;

/// The address of a PCI function: domain, bus, device, function ("BDF"). It prints as the kernel
/// writes it in `/sys/bus/pci/devices`; the short form without a domain is accepted.
///
/// ```
/// use pci_bus::Address;
///
/// let address: Address = "3B:00.1".parse()?;
/// assert_eq!(address.to_string(), "0000:3b:00.1");
/// assert_eq!("10000:e1:1f.7".parse::<Address>()?.domain, 0x10000);
/// assert!("00:20.0".parse::<Address>().is_err(), "a bus has 32 devices");
/// # Ok::<(), pci_bus::AddressError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The domain (segment), 0 on most machines; more than 16 bits behind some Intel bridges.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device, 0 to 31.
    pub device: u8,
    /// The function, 0 to 7.
    pub function: u8,
}

/// A text that is not the address of a PCI function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a PCI address: write it as 0000:3b:00.1 or as 3b:00.1")]
pub struct AddressError {
    /// The text.
    pub text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| AddressError { text: text.into() })
    }
}

fn parse(text: &str) -> Option<Address> {
    let (place, function) = text.rsplit_once('.')?;
    let (rest, device) = place.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
    let domain = u32::try_from(hex(domain, 4..=8)?).ok()?;
    let bus = u8::try_from(hex(bus, 2..=2)?).ok()?;
    let device = u8::try_from(hex(device, 2..=2)?).ok().filter(|device| *device < 32)?;
    let function = u8::try_from(hex(function, 1..=1)?).ok().filter(|function| *function < 8)?;
    Some(Address { domain, bus, device, function })
}

/// `from_str_radix` would take a sign, too.
pub(crate) fn hex(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let sound = length.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read_back() {
        for text in ["0000:00:00.0", "ffff:ff:1f.7", "10000:e1:00.0", "ffffffff:00:02.3"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            "",
            ".",
            ":.",
            "00:00",
            "00.0",
            "0:0.0",
            "000:00:00.0",
            "0000:00:00.8",
            "0000:00:20.0",
            "0000:100:00.0",
            "0000:00:00.0 ",
            "+000:00:00.0",
            "0000:+0:00.0",
            "g0:00.0",
            "0000:0000:00:00.0",
            "100000000:00:00.0",
            "0000:00:00.00",
        ];
        for text in wrong {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
