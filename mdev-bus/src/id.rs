//! What a driver's id table says of the devices it handles.

use std::fmt;

use vfio_common::bus::{DeviceIds, Match, Specificity};
use vfio_common::pci_config::PciMatch;

use crate::{DeviceApi, MdevInfo};

/// One line of a driver's id table: a device matches if it meets every condition that is set. Made
/// in constant context, from one condition and more:
///
/// ```
/// use mdev_bus::{DeviceApi, MdevId, PciMatch};
///
/// const TABLE: [MdevId; 4] = [
///     MdevId::of_type("mtty-2"),
///     MdevId::of_type("i915-GVTg_V5_*").and_parent("0000:00:02.0"),
///     MdevId::of_pci(PciMatch::device(0x8086, 0x1912)),
///     MdevId::of_api(DeviceApi::Ccw),
/// ];
/// ```
///
/// Of several drivers that match a device, the one whose line says the most specific thing is asked
/// first: the type beats the parent, the parent beats PCI ids, and these beat the device API. Exact
/// names beat patterns, and longer patterns shorter ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MdevId {
    api: Option<DeviceApi>,
    mdev_type: Option<Pattern>,
    parent: Option<Pattern>,
    pci: Option<PciMatch>,
}

/// A name, or all names that begin alike: `*` at the end stands for any rest, and nowhere else for
/// anything but itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pattern(&'static str);

impl MdevId {
    const ANY: Self = Self { api: None, mdev_type: None, parent: None, pci: None };

    /// Devices with this API.
    #[must_use]
    pub const fn of_api(api: DeviceApi) -> Self {
        Self { api: Some(api), ..Self::ANY }
    }

    /// Devices of this type, whatever their parent: a [`Pattern`].
    #[must_use]
    pub const fn of_type(mdev_type: &'static str) -> Self {
        Self { mdev_type: Some(Pattern(mdev_type)), ..Self::ANY }
    }

    /// Devices of this parent, by its name below `/sys/class/mdev_bus`: a [`Pattern`].
    #[must_use]
    pub const fn of_parent(parent: &'static str) -> Self {
        Self { parent: Some(Pattern(parent)), ..Self::ANY }
    }

    /// Devices with the API vfio-pci and these PCI ids. They are not in sysfs: a device that may
    /// match is opened to read them.
    #[must_use]
    pub const fn of_pci(pci: PciMatch) -> Self {
        Self { api: Some(DeviceApi::Pci), pci: Some(pci), ..Self::ANY }
    }

    /// Only those of this parent: a [`Pattern`].
    #[must_use]
    pub const fn and_parent(self, parent: &'static str) -> Self {
        // `..self` would drop the rest of `self`, which constant functions cannot.
        let mut id = self;
        id.parent = Some(Pattern(parent));
        id
    }

    /// Only those with the API vfio-pci and these PCI ids.
    #[must_use]
    pub const fn and_pci(self, pci: PciMatch) -> Self {
        let mut id = self;
        id.pci = Some(pci);
        id
    }

    pub(crate) fn matches(&self, info: &MdevInfo, ids: DeviceIds) -> Match {
        let named = |pattern: Option<Pattern>, name: Option<&str>| match (pattern, name) {
            (None, _) => true,
            (Some(pattern), Some(name)) => pattern.matches(name),
            (Some(_), None) => false,
        };
        let api_fits = match &self.api {
            None => true,
            Some(api) => info.device_api.as_ref() == Some(api),
        };
        if !api_fits
            || !named(self.mdev_type, info.mdev_type.as_deref())
            || !named(self.parent, Some(&info.parent))
        {
            return Match::No;
        }
        let Some(pci) = &self.pci else { return Match::Yes(self.specificity()) };
        if info.device_api != Some(DeviceApi::Pci) {
            return Match::No;
        }
        match ids {
            DeviceIds::Unread => Match::AskDevice,
            DeviceIds::Pci(ids) if pci.matches(&ids) => Match::Yes(self.specificity()),
            _ => Match::No,
        }
    }

    /// A byte for each kind of condition, the most telling one first.
    fn specificity(&self) -> Specificity {
        let named = |pattern: Option<Pattern>| pattern.map_or(0, Pattern::specificity);
        let pci = self.pci.map_or(0, |pci| pci.specificity());
        let api = u8::from(self.api.is_some());
        Specificity(u32::from_be_bytes([named(self.mdev_type), named(self.parent), pci, api]))
    }
}

impl Pattern {
    /// Whether a name is meant.
    #[must_use]
    pub fn matches(self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.0,
        }
    }

    /// Exact names come first, then the longer beginnings.
    fn specificity(self) -> u8 {
        match self.0.strip_suffix('*') {
            None => u8::MAX,
            Some(start) => u8::try_from(start.len()).unwrap_or(u8::MAX).clamp(1, u8::MAX - 1),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The conditions that are set: `type=mtty-2 parent=mtty`.
impl fmt::Display for MdevId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = [
            self.api.as_ref().map(|api| format!("api={api}")),
            self.mdev_type.map(|pattern| format!("type={pattern}")),
            self.parent.map(|pattern| format!("parent={pattern}")),
            self.pci.map(|pci| pci.to_string()),
        ];
        let conditions: Vec<_> = conditions.into_iter().flatten().collect();
        f.write_str(&conditions.join(" "))
    }
}
