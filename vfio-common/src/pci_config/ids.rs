//! Who made a device and what it is.

use std::fmt;

/// The identity of a PCI function, as its configuration space gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PciIds {
    /// Vendor.
    pub vendor: u16,
    /// Device, within the vendor's numbers.
    pub device: u16,
    /// Vendor of the subsystem; 0 if there is none.
    pub subsystem_vendor: u16,
    /// Subsystem, within its vendor's numbers; 0 if there is none.
    pub subsystem_device: u16,
    /// Base class, subclass and programming interface, 24 bits.
    pub class: u32,
    /// Revision.
    pub revision: u8,
}

impl fmt::Display for PciIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x} class {:06x}", self.vendor, self.device, self.class)
    }
}
