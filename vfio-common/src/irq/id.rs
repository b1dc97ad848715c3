//! Which interrupt: its index, and its name in messages.

use std::fmt;
use std::sync::Arc;

use vfio_bindings::bindings::vfio as sys;

use crate::device::DeviceFlags;

/// The interrupts of a PCI device by index (`include/uapi/linux/vfio.h`).
pub mod pci {
    /// The interrupt pin. It masks itself when it fires, until
    /// [`IrqSet::unmask`](crate::irq::IrqSet::unmask).
    pub const INTX: u32 = 0;
    /// Message-signalled interrupts.
    pub const MSI: u32 = 1;
    /// Message-signalled interrupts with a table.
    pub const MSIX: u32 = 2;
    /// The device reported an error that it cannot recover from (PCI AER).
    pub const ERR: u32 = 3;
    /// The kernel asks for the device back, for example because it is being removed. Some kernel
    /// drivers offer it and never fire it.
    pub const REQ: u32 = 4;
}

/// The index of the interrupt by which the kernel asks for a device back; `None` for kinds of devices
/// that know none. Whether a device has it, [`Device::irq_info`](crate::device::Device::irq_info)
/// tells.
///
/// ```
/// use vfio_common::device::DeviceFlags;
/// use vfio_common::irq::{pci, removal_request};
///
/// assert_eq!(removal_request(DeviceFlags::PCI), Some(pci::REQ));
/// assert_eq!(removal_request(DeviceFlags::PLATFORM), None);
/// ```
#[must_use]
pub fn removal_request(flags: DeviceFlags) -> Option<u32> {
    let known = [
        (DeviceFlags::PCI, pci::REQ),
        (DeviceFlags::CCW, sys::VFIO_CCW_REQ_IRQ_INDEX),
        (DeviceFlags::AP, sys::VFIO_AP_REQ_IRQ_INDEX),
    ];
    known.into_iter().find(|(kind, _)| flags.contains(*kind)).map(|(_, index)| index)
}

/// One interrupt of one device, for messages: `interrupt 2 (msix) of 83b8f4f2-...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IrqId {
    device: Arc<str>,
    index: u32,
    name: Option<&'static str>,
}

impl IrqId {
    pub(super) fn new(device: Arc<str>, flags: DeviceFlags, index: u32) -> Self {
        let name = match index {
            _ if Some(index) == removal_request(flags) => Some("req"),
            _ if !flags.contains(DeviceFlags::PCI) => None,
            pci::INTX => Some("intx"),
            pci::MSI => Some("msi"),
            pci::MSIX => Some("msix"),
            pci::ERR => Some("err"),
            _ => None,
        };
        Self { device, index, name }
    }

    /// The device's name.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The interrupt's index.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }
}

impl fmt::Display for IrqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupt {}", self.index)?;
        if let Some(name) = self.name {
            write!(f, " ({name})")?;
        }
        write!(f, " of {}", self.device)
    }
}

/// What was to be done with an interrupt that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IrqOperation {
    /// [`IrqSet::mask`](super::IrqSet::mask).
    Mask,
    /// [`IrqSet::unmask`](crate::irq::IrqSet::unmask).
    Unmask,
    /// [`IrqSet::unmask_on_event`](crate::irq::IrqSet::unmask_on_event).
    UnmaskOnEvent,
    /// [`IrqSet::trigger`](super::IrqSet::trigger).
    Trigger,
    /// [`IrqSet::remove`](super::IrqSet::remove).
    Remove,
}

impl fmt::Display for IrqOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mask => "mask",
            Self::Unmask => "unmask",
            Self::UnmaskOnEvent => "let an eventfd unmask",
            Self::Trigger => "trigger",
            Self::Remove => "remove",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_the_headers() {
        let header = [
            sys::VFIO_PCI_INTX_IRQ_INDEX,
            sys::VFIO_PCI_MSI_IRQ_INDEX,
            sys::VFIO_PCI_MSIX_IRQ_INDEX,
            sys::VFIO_PCI_ERR_IRQ_INDEX,
            sys::VFIO_PCI_REQ_IRQ_INDEX,
        ];
        assert_eq!([pci::INTX, pci::MSI, pci::MSIX, pci::ERR, pci::REQ], header);
    }

    #[test]
    fn an_interrupt_has_the_name_that_its_kind_of_device_gives_it() {
        let shown = |flags, index| IrqId::new("a".into(), flags, index).to_string();
        assert_eq!(shown(DeviceFlags::PCI, pci::MSIX), "interrupt 2 (msix) of a");
        assert_eq!(shown(DeviceFlags::CCW, 2), "interrupt 2 (req) of a");
        assert_eq!(shown(DeviceFlags::AP, 0), "interrupt 0 (req) of a");
        assert_eq!(shown(DeviceFlags::PLATFORM, 0), "interrupt 0 of a");
        assert_eq!(shown(DeviceFlags::PCI, 9), "interrupt 9 of a");
    }
}
