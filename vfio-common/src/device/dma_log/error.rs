//! What can go wrong with a log of DMA.

use std::sync::Arc;

use crate::device::FeatureError;
use crate::iommu::IovaRange;

/// A log could not be started, read or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DmaLogError {
    /// Pages of this size cannot be logged.
    #[error(
        "the DMA of {device} cannot be logged by pages of {page_size} bytes: the size is a power of two \
         of at least 4096"
    )]
    PageSize {
        /// The device's name.
        device: Arc<str>,
        /// The size in bytes.
        page_size: u64,
    },
    /// There is nothing to log.
    #[error("the log of the DMA of {device} has no range: name what the device may write")]
    NoRange {
        /// The device's name.
        device: Arc<str>,
    },
    /// The range ends before it begins.
    #[error("{:#x} to {:#x} is no range that {device} could write", range.first, range.last)]
    Empty {
        /// The device's name.
        device: Arc<str>,
        /// The range.
        range: IovaRange,
    },
    /// The range is not whole pages.
    #[error(
        "the DMA of {device} from {:#x} to {:#x} cannot be logged: round it to whole pages of \
         {page_size} bytes",
        range.first, range.last
    )]
    Misaligned {
        /// The device's name.
        device: Arc<str>,
        /// The range.
        range: IovaRange,
        /// Bytes of a page.
        page_size: u64,
    },
    /// The range reaches the end of the 64-bit address space, which the kernel cannot log.
    #[error(
        "the DMA of {device} from {:#x} to {:#x} cannot be logged: leave the last page of the address \
         space out",
        range.first, range.last
    )]
    TooFar {
        /// The device's name.
        device: Arc<str>,
        /// The range.
        range: IovaRange,
    },
    /// Two ranges overlap.
    #[error(
        "the DMA of {device} cannot be logged twice: {:#x} to {:#x} and {:#x} to {:#x} overlap, join them",
        ranges[0].first, ranges[0].last, ranges[1].first, ranges[1].last
    )]
    Overlap {
        /// The device's name.
        device: Arc<str>,
        /// The two, in ascending order.
        ranges: [IovaRange; 2],
    },
    /// A log runs.
    #[error("the DMA of {device} is logged already: use that log, or drop it first")]
    Running {
        /// The device's name.
        device: Arc<str>,
    },
    /// The log did not start.
    #[error("the log of {count} ranges was not started{}", hint(source))]
    Start {
        /// How many ranges there were.
        count: usize,
        /// What the kernel said.
        source: FeatureError,
    },
    /// The bitmap of the range would be too large.
    #[error(
        "the pages that {device} wrote from {:#x} to {:#x} are too many for one bitmap, {page_size} bytes \
         each: ask for a part of them",
        range.first, range.last
    )]
    TooLong {
        /// The device's name.
        device: Arc<str>,
        /// The range.
        range: IovaRange,
        /// Bytes of a page.
        page_size: u64,
    },
    /// The log could not be read.
    #[error(
        "what {device} wrote from {:#x} to {:#x} is lost: take all of it for written",
        range.first, range.last
    )]
    Report {
        /// The device's name.
        device: Arc<str>,
        /// The range.
        range: IovaRange,
        /// What the kernel said.
        source: FeatureError,
    },
    /// The log did not end.
    #[error("the log may still run: reset or close the device to end it")]
    Stop {
        /// What the kernel said.
        source: FeatureError,
    },
}

fn hint(source: &FeatureError) -> &'static str {
    match source {
        FeatureError::Failed { source, .. }
            if source.raw_os_error() == Some(rustix::io::Errno::TOOBIG.raw_os_error()) =>
        {
            ": the device cannot tell so many apart, log fewer and wider ones"
        }
        FeatureError::Unsupported { .. } => {
            ": take all memory that the device can reach for written"
        }
        _ => "",
    }
}
