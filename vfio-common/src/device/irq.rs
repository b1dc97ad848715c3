//! The interrupts of a device.

use std::os::fd::BorrowedFd;

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

/// What is to be done with vectors of an interrupt: `VFIO_DEVICE_SET_IRQS`.
#[derive(Debug, Clone, Copy)]
pub struct IrqRequest<'a> {
    /// The interrupt.
    pub index: u32,
    /// The first vector.
    pub start: u32,
    /// What happens to the vectors.
    pub action: IrqAction,
    /// To which of them, and with what.
    pub data: IrqData<'a>,
}

/// What happens to vectors: `VFIO_IRQ_SET_ACTION_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IrqAction {
    /// They do not fire until they are unmasked.
    Mask,
    /// They may fire again.
    Unmask,
    /// With eventfds: these are signalled when the vectors fire. Without: the vectors fire now, or
    /// with no vectors at all, the whole interrupt is disabled.
    Trigger,
}

/// The vectors that a request is about, counted from its first one: `VFIO_IRQ_SET_DATA_*`.
#[derive(Debug, Clone, Copy)]
pub enum IrqData<'a> {
    /// This many.
    None {
        /// Number of vectors.
        count: u32,
    },
    /// Those that are `true`.
    Bool(&'a [bool]),
    /// One each; `None` takes the vector's eventfd away.
    EventFds(&'a [Option<BorrowedFd<'a>>]),
}

impl IrqData<'_> {
    /// Number of vectors.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::None { count } => usize::try_from(*count).unwrap_or(usize::MAX),
            Self::Bool(vectors) => vectors.len(),
            Self::EventFds(vectors) => vectors.len(),
        }
    }
}
