//! What the kernel says of a region.

use std::fmt;
use std::ops::Range;

use vfio_bindings::bindings::vfio as sys;

use super::{Chain, ChainError};

bitflags::bitflags! {
    /// `flags` of `struct vfio_region_info` (`include/uapi/linux/vfio.h`). Bits that this crate
    /// does not know are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct RegionFlags: u32 {
        /// Can be read.
        const READ = sys::VFIO_REGION_INFO_FLAG_READ;
        /// Can be written.
        const WRITE = sys::VFIO_REGION_INFO_FLAG_WRITE;
        /// Can be mapped, wholly or as its sparse areas say.
        const MMAP = sys::VFIO_REGION_INFO_FLAG_MMAP;
        /// The description has a capability chain.
        const CAPS = sys::VFIO_REGION_INFO_FLAG_CAPS;
        const _ = !0;
    }
}

/// A part of a region: bytes from its start, as in `struct vfio_region_sparse_mmap_area`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Area {
    /// First byte, counted from the region's start.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Area {
    /// The byte after the last one; `None` when it does not fit in 64 bits.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(self.size)
    }

    /// The area that covers `range`; empty if the range is.
    #[must_use]
    pub fn of(range: Range<u64>) -> Self {
        Self { offset: range.start, size: range.end.saturating_sub(range.start) }
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.offset, self.size)
    }
}

/// What a device-specific region holds: `struct vfio_region_info_cap_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegionType {
    /// The kind; bit 31 set means that the low half is a PCI vendor's id.
    pub kind: u32,
    /// The kind within the kind.
    pub subtype: u32,
}

/// The description of one region: `struct vfio_region_info` with the capabilities that this crate
/// knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionInfo {
    /// The index it was asked for by.
    pub index: u32,
    /// How it can be accessed.
    pub flags: RegionFlags,
    /// Length in bytes; 0 means that the region is absent.
    pub size: u64,
    /// Where it starts in the device's file, in bytes.
    pub offset: u64,
    /// The parts that can be mapped, as the kernel gave them; `None` when it gave no such list. An
    /// empty list means that nothing can be mapped.
    pub sparse: Option<Vec<Area>>,
    /// What a device-specific region holds.
    pub kind: Option<RegionType>,
    /// The region may be mapped although it holds the MSI-X table.
    pub msix_mappable: bool,
}

impl RegionInfo {
    /// Length of `struct vfio_region_info` without its capabilities, in bytes.
    pub const FIXED_LENGTH: usize = 32;

    /// A region without capabilities; `size` and `offset` in bytes.
    #[must_use]
    pub fn new(index: u32, flags: RegionFlags, size: u64, offset: u64) -> Self {
        Self { index, flags, size, offset, sparse: None, kind: None, msix_mappable: false }
    }

    /// Reads `struct vfio_region_info` and its capability chain from the bytes that the kernel
    /// filled in; `index` is what was asked for.
    ///
    /// # Errors
    /// [`ChainError`] when the bytes are too few or the chain leads astray. Unknown capabilities
    /// are no error.
    pub fn parse(index: u32, bytes: &[u8]) -> Result<Self, ChainError> {
        let flags = RegionFlags::from_bits_retain(super::capability::read_u32(bytes, 4)?);
        let first = super::capability::read_u32(bytes, 12)?;
        let size = super::capability::read_u64(bytes, 16)?;
        let offset = super::capability::read_u64(bytes, 24)?;
        let mut info = Self::new(index, flags, size, offset);
        if !flags.contains(RegionFlags::CAPS) {
            return Ok(info);
        }
        for capability in Chain::new(bytes, Self::FIXED_LENGTH, first) {
            let capability = capability?;
            match u32::from(capability.id) {
                sys::VFIO_REGION_INFO_CAP_SPARSE_MMAP => {
                    capability.once(&info.sparse)?;
                    info.sparse = Some(capability.sparse_areas()?);
                }
                sys::VFIO_REGION_INFO_CAP_TYPE => {
                    capability.once(&info.kind)?;
                    info.kind = Some(capability.region_type()?);
                }
                sys::VFIO_REGION_INFO_CAP_MSIX_MAPPABLE => info.msix_mappable = true,
                _ => {}
            }
        }
        Ok(info)
    }
}
