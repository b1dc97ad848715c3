//! What can go wrong with interrupts.

use std::io;
use std::ops::Range;

use rustix::io::Errno;

use super::{IrqId, IrqOperation};
use crate::device::DeviceError;

/// An interrupt could not be enabled, waited for or told what to do. What was on before stays on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IrqError {
    /// The device has no such interrupt.
    #[error("there is no {irq}: work without it, or poll")]
    Absent {
        /// The interrupt.
        irq: IrqId,
    },
    /// The device cannot describe the interrupt.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The interrupt cannot be signalled through an eventfd, and there is no other way.
    #[error("{irq} cannot be delivered through an eventfd: work without it, or poll")]
    NoEventFd {
        /// The interrupt.
        irq: IrqId,
    },
    /// The range has no vector, or vectors that the interrupt does not have.
    #[error(
        "vectors {}..{} of {irq} cannot be had: it has {count}, and at least one must be named",
        vectors.start, vectors.end
    )]
    OutOfRange {
        /// The interrupt.
        irq: IrqId,
        /// What was asked for.
        vectors: Range<u32>,
        /// How many vectors the interrupt has.
        count: u32,
    },
    /// The interrupt is on.
    #[error("{irq} is enabled already: use its interrupt set, or drop that first")]
    AlreadyEnabled {
        /// The interrupt.
        irq: IrqId,
    },
    /// Another interrupt is on, and the device can have one of the two.
    #[error(
        "{irq} cannot be enabled while {enabled} is: only one of intx, msi and msix may be on, so \
         drop the other's interrupt set first"
    )]
    Exclusive {
        /// The interrupt.
        irq: IrqId,
        /// The one that is on.
        enabled: IrqId,
    },
    /// There are not as many vectors to be had as were asked for. None was enabled.
    #[error(
        "{irq} can have only {granted} of the {wanted} vectors that were wanted: enable {}",
        if *granted == 0 { "another interrupt".to_owned() } else { format!("at most {granted}") }
    )]
    Partial {
        /// The interrupt.
        irq: IrqId,
        /// How many vectors were wanted, counted from vector 0.
        wanted: u32,
        /// How many there are, counted from vector 0.
        granted: u32,
    },
    /// The number of vectors is fixed by the first that were enabled.
    #[error(
        "{irq} has the {enabled} vectors that it was enabled with and cannot grow to {wanted}: drop \
         its interrupt set and enable all at once"
    )]
    Fixed {
        /// The interrupt.
        irq: IrqId,
        /// How many vectors there may be, counted from vector 0.
        enabled: u32,
        /// How many were wanted, counted from vector 0.
        wanted: u32,
    },
    /// The vector that was to be added is on.
    #[error("vector {vector} of {irq} is enabled already: leave it out, or remove it first")]
    VectorEnabled {
        /// The interrupt.
        irq: IrqId,
        /// The vector.
        vector: u32,
    },
    /// The vector is not on.
    #[error("vector {vector} of {irq} is not enabled: add it to the interrupt set first")]
    VectorDisabled {
        /// The interrupt.
        irq: IrqId,
        /// The vector.
        vector: u32,
    },
    /// No eventfd could be had.
    #[error(
        "cannot make an eventfd for vector {vector} of {irq}: raise the limit of open files, or \
         enable fewer vectors"
    )]
    EventFd {
        /// The interrupt.
        irq: IrqId,
        /// The vector.
        vector: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel did not enable the vectors.
    #[error("cannot enable vectors {}..{} of {irq}{}", vectors.start, vectors.end, hint(source))]
    Enable {
        /// The interrupt.
        irq: IrqId,
        /// What was to be enabled.
        vectors: Range<u32>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel driver of the device does not do this with the interrupt.
    #[error(
        "{irq} cannot {operation} vectors: its kernel driver does not do that, work without it"
    )]
    Unsupported {
        /// The interrupt.
        irq: IrqId,
        /// What was to be done.
        operation: IrqOperation,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel failed to do something with vectors that are on.
    #[error("cannot {operation} vector {vector} of {irq}{}", operation_hint(*operation, source))]
    Operation {
        /// The interrupt.
        irq: IrqId,
        /// The first vector.
        vector: u32,
        /// What was to be done.
        operation: IrqOperation,
        /// What the kernel said.
        source: io::Error,
    },
    /// The eventfd could not be waited for or read.
    #[error("cannot wait for vector {vector} of {irq}")]
    Wait {
        /// The interrupt.
        irq: IrqId,
        /// The vector.
        vector: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

fn operation_hint(operation: IrqOperation, source: &io::Error) -> &'static str {
    let is_busy = source.raw_os_error() == Some(Errno::BUSY.raw_os_error());
    if is_busy && operation == IrqOperation::UnmaskOnEvent {
        return ": an eventfd does that already, take it away first";
    }
    hint(source)
}

/// Interrupts belong to the device, not to the handle, and a second handle may have changed them.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL) => {
            ": another interrupt may be on, or this one off, through another handle of the device; \
             let one handle have them all"
        }
        Some(Errno::NOTTY) => ": its kernel driver does not do that, work without it",
        _ => "",
    }
}
