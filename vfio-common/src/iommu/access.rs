//! What is mapped: where, and what the device may do with it.

use std::fmt;

bitflags::bitflags! {
    /// What devices may do with memory: `VFIO_DMA_MAP_FLAG_*`. It is the device's view: a buffer that a
    /// network card fills with packets is one that it writes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct DeviceAccess: u32 {
        /// Devices may read it.
        const READ = 1 << 0;
        /// Devices may write it.
        const WRITE = 1 << 1;
    }
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.contains(Self::READ), self.contains(Self::WRITE)) {
            (true, true) => "for devices to read and write",
            (true, false) => "for devices to read",
            (false, true) => "for devices to write",
            (false, false) => "out of reach of devices",
        })
    }
}

/// Addresses as devices see them, from the first to the last byte (`struct vfio_iova_range`); it is
/// never empty. Inclusive, for the last address of a 64-bit space has no successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IovaRange {
    /// The first address.
    pub first: u64,
    /// The last address.
    pub last: u64,
}

impl IovaRange {
    /// The whole 64-bit space.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// `length` bytes from `iova`; `None` when that is none, or passes the end of the 64-bit space.
    #[must_use]
    pub fn new(iova: u64, length: u64) -> Option<Self> {
        let last = iova.checked_add(length.checked_sub(1)?)?;
        Some(Self { first: iova, last })
    }

    /// Its length in bytes; [`u64::MAX`] for the whole 64-bit space, which has one more.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Whether all of `other` lies in this range.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

impl fmt::Display for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x}]", self.first, self.last)
    }
}

/// One mapping of an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DmaMapping {
    /// Where devices find it.
    pub range: IovaRange,
    /// What they may do with it.
    pub access: DeviceAccess,
}

impl fmt::Display for DmaMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.range, self.access)
    }
}
