//! What a driver says of the PCI ids that it handles.

use std::fmt;

use super::PciIds;

/// Conditions on the PCI ids of a device; what is not set matches anything. Made in constant context.
///
/// ```
/// use vfio_common::pci_config::{PciIds, PciMatch};
///
/// const XHCI: PciMatch = PciMatch::class(0x0c_0330, 0xff_ffff);
/// const OURS: PciMatch = PciMatch::device(0x1b36, 0x000d);
///
/// let ids = PciIds {
///     vendor: 0x1b36,
///     device: 0x000d,
///     subsystem_vendor: 0x1af4,
///     subsystem_device: 0x1100,
///     class: 0x0c_0330,
///     revision: 1,
/// };
/// assert!(XHCI.matches(&ids) && OURS.matches(&ids));
/// assert!(OURS.specificity() > XHCI.specificity());
/// assert_eq!(OURS.to_string(), "pci=1b36:000d");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PciMatch {
    vendor: Option<u16>,
    device: Option<u16>,
    subsystem_vendor: Option<u16>,
    subsystem_device: Option<u16>,
    /// Class and the bits of it that count.
    class: Option<(u32, u32)>,
}

impl PciMatch {
    const ANY: Self = Self {
        vendor: None,
        device: None,
        subsystem_vendor: None,
        subsystem_device: None,
        class: None,
    };

    /// Any device of a vendor.
    #[must_use]
    pub const fn vendor(vendor: u16) -> Self {
        Self { vendor: Some(vendor), ..Self::ANY }
    }

    /// One device of a vendor.
    #[must_use]
    pub const fn device(vendor: u16, device: u16) -> Self {
        Self { vendor: Some(vendor), device: Some(device), ..Self::ANY }
    }

    /// Any device whose class (24 bits: base class, subclass, interface) is `class` in the bits that
    /// `mask` sets.
    #[must_use]
    pub const fn class(class: u32, mask: u32) -> Self {
        Self { class: Some((class, mask)), ..Self::ANY }
    }

    /// Only those with this subsystem vendor.
    #[must_use]
    pub const fn and_subsystem_vendor(self, vendor: u16) -> Self {
        Self { subsystem_vendor: Some(vendor), ..self }
    }

    /// Only those with this subsystem.
    #[must_use]
    pub const fn and_subsystem(self, vendor: u16, device: u16) -> Self {
        Self { subsystem_vendor: Some(vendor), subsystem_device: Some(device), ..self }
    }

    /// Only those whose class is `class` in the bits that `mask` sets.
    #[must_use]
    pub const fn and_class(self, class: u32, mask: u32) -> Self {
        Self { class: Some((class, mask)), ..self }
    }

    /// Whether a device with these ids meets every condition.
    #[must_use]
    pub fn matches(&self, ids: &PciIds) -> bool {
        let fits = |wanted: Option<u16>, is: u16| wanted.is_none_or(|wanted| wanted == is);
        fits(self.vendor, ids.vendor)
            && fits(self.device, ids.device)
            && fits(self.subsystem_vendor, ids.subsystem_vendor)
            && fits(self.subsystem_device, ids.subsystem_device)
            && self.class.is_none_or(|(class, mask)| ids.class & mask == class & mask)
    }

    /// How closely it describes a device: never 0, and higher for what says more. The subsystem says
    /// more than the device, the device more than the vendor, and the vendor more than the class.
    #[must_use]
    pub fn specificity(&self) -> u8 {
        let set = [
            self.class.is_some(),
            self.vendor.is_some(),
            self.device.is_some(),
            self.subsystem_vendor.is_some(),
            self.subsystem_device.is_some(),
        ];
        // Each bit outweighs those before it; one more than 0 even when nothing is set.
        set.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum::<u8>() + 1
    }
}

impl fmt::Display for PciMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |f: &mut fmt::Formatter<'_>, id: Option<u16>| match id {
            Some(id) => write!(f, "{id:04x}"),
            None => f.write_str("*"),
        };
        f.write_str("pci=")?;
        number(f, self.vendor)?;
        f.write_str(":")?;
        number(f, self.device)?;
        if self.subsystem_vendor.is_some() || self.subsystem_device.is_some() {
            f.write_str(" subsystem=")?;
            number(f, self.subsystem_vendor)?;
            f.write_str(":")?;
            number(f, self.subsystem_device)?;
        }
        if let Some((class, mask)) = self.class {
            write!(f, " class={class:06x}/{mask:06x}")?;
        }
        Ok(())
    }
}
