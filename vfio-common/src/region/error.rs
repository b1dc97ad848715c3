//! What can go wrong when a region is accessed.

use std::io;
use std::sync::Arc;

use crate::device::DeviceError;

/// A region could not be had, or an access to it was refused or failed. Offsets and sizes are in
/// bytes from the region's start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The device has no region with this index.
    #[error("{device} has no region {index}")]
    Absent {
        /// The device's name.
        device: Arc<str>,
        /// The index.
        index: u32,
    },
    /// The device cannot describe the region.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The access passes the region's end.
    #[error(
        "{length} bytes at {offset:#x} pass the end of region {index} of {device}, \
         which has {size:#x} bytes"
    )]
    OutOfRange {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        index: u32,
        /// First byte of the access.
        offset: u64,
        /// Length of the access.
        length: u64,
        /// Length of the region.
        size: u64,
    },
    /// The offset is not a multiple of the access's width.
    #[error(
        "{offset:#x} in region {index} of {device} is not a multiple of the width {width}: use a narrower access"
    )]
    Misaligned {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        index: u32,
        /// First byte of the access.
        offset: u64,
        /// Width of the access.
        width: usize,
    },
    /// The region's flags do not allow the access.
    #[error("region {index} of {device} cannot be {}", if *write { "written" } else { "read" })]
    NotAllowed {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        index: u32,
        /// Whether it was a write.
        write: bool,
    },
    /// A mapped access was asked for where nothing is mapped.
    #[error(
        "{length} bytes at {offset:#x} in region {index} of {device} are not wholly mapped: \
         access them through the device descriptor"
    )]
    NotMapped {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        index: u32,
        /// First byte.
        offset: u64,
        /// Length.
        length: u64,
    },
    /// The kernel or the device failed the access.
    #[error(
        "cannot {} {length} bytes at {offset:#x} in region {index} of {device}{}",
        if *write { "write" } else { "read" },
        hint(*index, source)
    )]
    Io {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        index: u32,
        /// First byte of the access.
        offset: u64,
        /// Length of the access.
        length: usize,
        /// Whether it was a write.
        write: bool,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device took or gave fewer bytes than asked for: an access is whole or an error.
    #[error(
        "only {done} of {length} bytes at {offset:#x} in region {index} of {device} could be \
         accessed"
    )]
    Short {
        /// The device's name.
        device: Arc<str>,
        /// The region.
        index: u32,
        /// First byte of the access.
        offset: u64,
        /// Length of the access.
        length: usize,
        /// Bytes that were accessed.
        done: usize,
    },
}

/// vfio-pci answers EIO to an access to a memory BAR while memory decoding is off.
fn hint(index: u32, source: &io::Error) -> &'static str {
    const BARS: u32 = 6;
    if index < BARS && source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        " (memory decoding may be off: set bit 1 of the PCI command register)"
    } else {
        ""
    }
}
