//! The capability chain behind a VFIO information struct, as hostile bytes.
//!
//! A header is `{ u16 id; u16 version; u32 next }`; `next` counts from the start of the struct
//! (`struct vfio_info_cap_header`, `include/uapi/linux/vfio.h`). Offsets need not be aligned, so all
//! is read by copy.

use super::{Area, RegionType};

const HEADER_LENGTH: usize = 8;
const AREA_LENGTH: usize = 16;

/// A capability chain that cannot be followed. The kernel driver that made it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A field lies outside the bytes that the kernel filled in.
    #[error("what can be read ends at byte {length}, within the field at byte {offset}")]
    Truncated {
        /// Where the field starts.
        offset: usize,
        /// Where the description ends, or the next capability starts.
        length: usize,
    },
    /// The chain points into the fixed part, not forward, or into the capability it leaves.
    #[error("the capability chain leads from byte {from} to byte {to}, which is not behind it")]
    Backwards {
        /// Where the chain was.
        from: usize,
        /// Where it pointed.
        to: usize,
    },
    /// A capability that describes the whole region is there twice.
    #[error("capability {id} is there twice")]
    Repeated {
        /// The capability's id.
        id: u16,
    },
}

/// The capabilities in a chain, in its order. It ends after the first error; it is bounded by the
/// bytes it walks, for each step must lead forward.
#[derive(Debug, Clone)]
pub struct Chain<'a> {
    bytes: &'a [u8],
    at: usize,
    next: usize,
}

/// One capability: its id, and the bytes between its header and the next capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainCapability<'a> {
    /// `VFIO_REGION_INFO_CAP_*` or another set of ids, by the struct the chain belongs to.
    pub id: u16,
    /// Version of the payload's layout.
    pub version: u16,
    bytes: &'a [u8],
    payload: usize,
}

impl<'a> Chain<'a> {
    /// The chain in `bytes`, a struct with a fixed part of `fixed` bytes, whose first capability is
    /// at `first` (0: none).
    #[must_use]
    pub fn new(bytes: &'a [u8], fixed: usize, first: u32) -> Self {
        // The last byte of the fixed part is what the first capability must lie behind.
        Self { bytes, at: fixed.saturating_sub(1), next: first as usize }
    }

    fn step(&mut self) -> Result<ChainCapability<'a>, ChainError> {
        let (from, at) = (self.at, self.next);
        self.next = 0;
        if at <= from {
            return Err(ChainError::Backwards { from, to: at });
        }
        let id = read_u16(self.bytes, at)?;
        let version = read_u16(self.bytes, at.saturating_add(2))?;
        let next = read_u32(self.bytes, at.saturating_add(4))? as usize;
        let payload = at.saturating_add(HEADER_LENGTH);
        if next != 0 && next < payload {
            return Err(ChainError::Backwards { from: at, to: next });
        }
        let end = if next == 0 { self.bytes.len() } else { next };
        let Some(bytes) = self.bytes.get(..end) else {
            return Err(ChainError::Truncated { offset: next, length: self.bytes.len() });
        };
        (self.at, self.next) = (at, next);
        Ok(ChainCapability { id, version, bytes, payload })
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Result<ChainCapability<'a>, ChainError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.next != 0).then(|| self.step())
    }
}

impl ChainCapability<'_> {
    /// The bytes between the header and the next capability, or the end.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload..).unwrap_or_default()
    }

    /// The first 32-bit field of the payload.
    pub(crate) fn first_word(&self) -> Result<u32, ChainError> {
        read_u32(self.bytes, self.payload)
    }

    /// `struct vfio_region_info_cap_sparse_mmap`: the areas as the kernel gave them, unchecked
    /// against the region.
    pub(super) fn sparse_areas(&self) -> Result<Vec<Area>, ChainError> {
        let count = self.first_word()? as usize;
        let first = self.payload.saturating_add(8);
        let room = self.bytes.len().saturating_sub(first) / AREA_LENGTH;
        if count > room {
            let offset = first.saturating_add(room.saturating_mul(AREA_LENGTH));
            return Err(ChainError::Truncated { offset, length: self.bytes.len() });
        }
        (0..count)
            .map(|index| {
                let at = first.saturating_add(index.saturating_mul(AREA_LENGTH));
                Ok(Area {
                    offset: read_u64(self.bytes, at)?,
                    size: read_u64(self.bytes, at.saturating_add(8))?,
                })
            })
            .collect()
    }

    /// `struct vfio_region_info_cap_type`.
    pub(super) fn region_type(&self) -> Result<RegionType, ChainError> {
        Ok(RegionType {
            kind: self.first_word()?,
            subtype: read_u32(self.bytes, self.payload.saturating_add(4))?,
        })
    }

    pub(crate) fn once<T>(&self, seen: &Option<T>) -> Result<(), ChainError> {
        match seen {
            None => Ok(()),
            Some(_) => Err(ChainError::Repeated { id: self.id }),
        }
    }
}

fn read<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], ChainError> {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(ChainError::Truncated { offset, length: bytes.len() })
}

fn read_u16(bytes: &[u8], offset: usize) -> Result<u16, ChainError> {
    read(bytes, offset).map(u16::from_ne_bytes)
}

pub(crate) fn read_u32(bytes: &[u8], offset: usize) -> Result<u32, ChainError> {
    read(bytes, offset).map(u32::from_ne_bytes)
}

pub(super) fn read_u64(bytes: &[u8], offset: usize) -> Result<u64, ChainError> {
    read(bytes, offset).map(u64::from_ne_bytes)
}
