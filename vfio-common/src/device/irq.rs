//! The interrupts of a device.

use vfio_bindings::bindings::vfio as sys;

bitflags::bitflags! {
    /// `flags` of `struct vfio_irq_info` (`include/uapi/linux/vfio.h`). Bits that this crate does
    /// not know are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct IrqFlags: u32 {
        /// Can be signalled through an eventfd.
        const EVENTFD = sys::VFIO_IRQ_INFO_EVENTFD;
        /// Can be masked and unmasked.
        const MASKABLE = sys::VFIO_IRQ_INFO_MASKABLE;
        /// Masks itself when it fires, until it is unmasked.
        const AUTOMASKED = sys::VFIO_IRQ_INFO_AUTOMASKED;
        /// The number of vectors is fixed by the first that are enabled.
        const NORESIZE = sys::VFIO_IRQ_INFO_NORESIZE;
        const _ = !0;
    }
}

/// One interrupt index of a device: `struct vfio_irq_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IrqInfo {
    /// The index: for a PCI device 0 INTx, 1 MSI, 2 MSI-X, 3 error, 4 removal request.
    pub index: u32,
    /// What it can do.
    pub flags: IrqFlags,
    /// Number of vectors; 0 means that the device does not have this interrupt.
    pub count: u32,
}
