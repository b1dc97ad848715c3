//! The devices that a hot reset reaches.

use std::fmt;

/// What a hot reset reaches: `struct vfio_pci_hot_reset_info` (`include/uapi/linux/vfio.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotResetInfo {
    /// The devices, the one that was asked among them.
    pub devices: Vec<Affected>,
    /// Whether an iommufd says who owns them, not their groups (`VFIO_PCI_HOT_RESET_FLAG_DEV_ID`).
    pub by_iommufd: bool,
}

impl HotResetInfo {
    /// Whether a device of this IOMMU group is reset; `false` where an iommufd owns the devices.
    #[must_use]
    pub fn has_group(&self, number: u32) -> bool {
        self.devices.iter().any(|device| device.owner == Ownership::Group(number))
    }
}

/// A PCI device that a hot reset reaches: `struct vfio_pci_dependent_device`. It prints as its name in
/// sysfs, `0000:01:02.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Affected {
    /// Segment, also called domain.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device on the bus, up to 31.
    pub device: u8,
    /// Function of the device, up to 7.
    pub function: u8,
    /// Whose it is.
    pub owner: Ownership,
}

/// What the kernel says of the owner of a device: `group_id`, or `devid` with `VFIO_PCI_DEVID_OWNED` and
/// `VFIO_PCI_DEVID_NOT_OWNED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// Whoever owns this IOMMU group owns it.
    Group(u32),
    /// The iommufd of the device that was asked owns it, and calls it by this id.
    Iommufd(u32),
    /// That iommufd has its group, through another device of it.
    SameGroup,
    /// It is not that iommufd's: it is not open, another program has it, or it is not bound to a VFIO
    /// kernel driver.
    NotOwned,
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, bus, device, function, .. } = self;
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}
