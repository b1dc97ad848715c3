//! What can go wrong with the device.

use std::ops::Range;
use std::time::Duration;

use vfio_common::device::DeviceError;
use vfio_common::iommu::{BufferError, DmaError};
use vfio_common::irq::IrqError;
use vfio_common::region::RegionError;

use super::Interrupt;

/// The device did not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EduError {
    /// It is no educational device.
    #[error("its identification is {found:#x}, which is not that of an edu device")]
    Unknown {
        /// What the identification register holds.
        found: u32,
    },
    /// A register could not be accessed.
    #[error(transparent)]
    Access(#[from] RegionError),
    /// The device could not be asked for its interrupts.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An interrupt could not be had, or waited for.
    #[error(transparent)]
    Interrupt(#[from] IrqError),
    /// It has neither of its interrupts.
    #[error(
        "it has neither MSI nor INTx, so it cannot say when it is done: its kernel driver offers none"
    )]
    NoInterrupt,
    /// Its interrupt was to come another way, and could not be switched on.
    #[error(
        "its interrupt is off, for {interrupt} could not be had: choose one with set_interrupt"
    )]
    InterruptOff {
        /// The way that was chosen last.
        interrupt: Interrupt,
    },
    /// The interrupt did not come. The device may still be at work, and do what it was told.
    #[error(
        "it did not say by {interrupt} within {} s that it was done ({bit:#x} of its interrupt status \
         {status:#x}): is bus mastering on?",
        limit.as_secs()
    )]
    TimedOut {
        /// How it was to say it.
        interrupt: Interrupt,
        /// What was waited for.
        bit: u32,
        /// The interrupt status then.
        status: u32,
        /// How long.
        limit: Duration,
    },
    /// It is at work on what was given up, or what an earlier user left.
    #[error("it is still busy with something that took too long: try again later")]
    Busy,
    /// The device was opened by somebody else, who has the address space.
    #[error("it was opened by another process, so memory for it must be mapped there")]
    NoAddressSpace,
    /// Memory for the device could not be had.
    #[error(transparent)]
    Memory(#[from] DmaError),
    /// Bytes do not lie in the device's buffer.
    #[error("{length} bytes at {offset:#x} do not lie in its buffer of {size:#x} bytes", size = super::Edu::BUFFER)]
    OutsideDevice {
        /// Where in the device's buffer.
        offset: usize,
        /// How many.
        length: usize,
    },
    /// Bytes do not lie in a buffer in memory.
    #[error("{range:#x?} is not a part of a buffer of {size:#x} bytes")]
    OutsideBuffer {
        /// Which bytes of the buffer.
        range: Range<usize>,
        /// Its length.
        size: usize,
    },
    /// A buffer in memory could not be accessed.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The device does not reach a buffer in memory.
    #[error(
        "it has 28 address bits and does not reach the buffer at {iova:#x}: build it with `highest({:#x})`",
        super::Edu::HIGHEST
    )]
    OutOfReach {
        /// Where devices find the buffer.
        iova: u64,
    },
}
