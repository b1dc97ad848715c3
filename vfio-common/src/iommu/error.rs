//! What can go wrong with an address space.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{DeviceAccess, DmaMapping, IovaRange};

/// Memory could not be mapped for devices, or unmapped, or had. Unless it says otherwise, nothing has
/// changed. Addresses and lengths are in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DmaError {
    /// No device of the address space is open. The kernel's container takes mappings only once a group
    /// is attached, and drops them when the last one leaves; an IOAS that devices come to is treated alike.
    #[error(
        "no device is open in this address space, so there is no IOMMU to map memory with: open a \
         device first, and keep it open"
    )]
    NoDevice,
    /// The length is 0.
    #[error("cannot map or unmap 0 bytes at {iova:#x}: name at least one page")]
    Empty {
        /// Where devices would have found it.
        iova: u64,
    },
    /// Neither reading nor writing is allowed.
    #[error(
        "cannot map memory that devices may neither read nor write: name DeviceAccess::READ, WRITE or both"
    )]
    NoAccess,
    /// An alignment that was asked for is no power of two.
    #[error("an alignment of {alignment:#x} is not possible: name a power of two")]
    Alignment {
        /// What was asked for.
        alignment: u64,
    },
    /// An address or a length is not a multiple of the IOMMU's page.
    #[error("the {what} {value:#x} is not a multiple of the IOMMU's page size {page:#x}: round it")]
    Misaligned {
        /// Which one.
        what: Aligned,
        /// Its value.
        value: u64,
        /// The smallest page of the IOMMU.
        page: u64,
    },
    /// The end lies behind the last address there is.
    #[error(
        "{length:#x} bytes at {iova:#x} pass the end of the 64-bit address space: take a lower address"
    )]
    Wraps {
        /// Where devices would have found it.
        iova: u64,
        /// How long it is.
        length: u64,
    },
    /// The IOMMU does not translate these addresses, or keeps them for interrupts.
    #[error(
        "{range} is not wholly in one of the valid ranges {}: choose an address there",
        list(ranges)
    )]
    OutsideRanges {
        /// What was to be mapped.
        range: IovaRange,
        /// Where mappings may lie.
        ranges: Vec<IovaRange>,
    },
    /// Something is mapped there already.
    #[error("{range} overlaps the mapping {mapping}: unmap that first, or choose another address")]
    Overlap {
        /// What was to be mapped.
        range: IovaRange,
        /// What is there.
        mapping: DmaMapping,
    },
    /// Something is mapped there that this address space did not map.
    #[error(
        "{range} overlaps a mapping that another user of this address space made: choose another address"
    )]
    Taken {
        /// What was to be mapped.
        range: IovaRange,
        /// What the kernel said.
        source: io::Error,
    },
    /// Only a part of a mapping was to be unmapped.
    #[error("{range} holds only a part of the mapping {mapping}: unmap it as it was mapped")]
    Part {
        /// What was to be unmapped.
        range: IovaRange,
        /// The mapping.
        mapping: DmaMapping,
    },
    /// No place is left for a buffer.
    #[error(
        "no {length:#x} bytes aligned to {alignment:#x} and ending at {highest:#x} or below are free in \
         the valid ranges {}: free other buffers, or ask for less",
        list(ranges)
    )]
    NoRoom {
        /// How long the buffer is.
        length: u64,
        /// Its alignment.
        alignment: u64,
        /// The highest address that it may have.
        highest: u64,
        /// Where mappings may lie.
        ranges: Vec<IovaRange>,
    },
    /// More memory would be locked for devices than is allowed.
    #[error("cannot lock {length} bytes of memory for devices: {}", super::explain::memory_lock(*locked, *length, *limit, *per_user))]
    LockedMemory {
        /// How long the mapping is.
        length: u64,
        /// What this address space has mapped already.
        locked: u64,
        /// `RLIMIT_MEMLOCK` of this process now; `None` if there is no limit.
        limit: Option<u64>,
        /// Whether it is counted over all processes of the user.
        per_user: bool,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel takes no more mappings in this address space.
    #[error(
        "the address space has {mappings} mappings and takes no more: map larger pieces, use huge pages, \
         or raise dma_entry_limit of the module vfio_iommu_type1"
    )]
    Full {
        /// How many there are.
        mappings: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The memory is not there, or not as the access demands.
    #[error(
        "cannot map {length:#x} bytes of memory at {address:#x} {access}: not all of it is mapped in this \
         process with that access"
    )]
    Unreachable {
        /// Its address in this process.
        address: u64,
        /// How long it is.
        length: u64,
        /// What devices would have done with it.
        access: DeviceAccess,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a mapping for another reason.
    #[error("cannot map {range} {access}")]
    Map {
        /// What was to be mapped.
        range: IovaRange,
        /// What devices would have done with it.
        access: DeviceAccess,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused to unmap. What is in the ledger may still be mapped.
    #[error("cannot unmap {range}: devices may still reach the memory behind it")]
    Unmap {
        /// What was to be unmapped.
        range: IovaRange,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address space does not say what can be mapped.
    #[error("cannot read what can be mapped into this address space")]
    Properties {
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no memory for a buffer.
    #[error("cannot get {length} bytes of memory{}", super::explain::memory(*huge, source))]
    Memory {
        /// How long the buffer is.
        length: usize,
        /// Whether huge pages were asked for.
        huge: bool,
        /// What the kernel said.
        source: io::Error,
    },
    /// The node of the iommufd could not be opened.
    #[error("cannot open {}{}", node.display(), super::explain::iommufd(source))]
    Iommufd {
        /// The node.
        node: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An iommufd gave no address space.
    #[error("cannot get a new address space from the iommufd")]
    Allocate {
        /// What the kernel said.
        source: io::Error,
    },
}

/// What has to be a multiple of the page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aligned {
    /// The address that devices see.
    Iova,
    /// The length.
    Length,
    /// The address in this process.
    Address,
}

impl fmt::Display for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iova => "device address",
            Self::Length => "length",
            Self::Address => "address of the memory",
        })
    }
}

fn list(ranges: &[IovaRange]) -> String {
    let ranges: Vec<_> = ranges.iter().map(IovaRange::to_string).collect();
    if ranges.is_empty() { "(there are none)".into() } else { ranges.join(", ") }
}
