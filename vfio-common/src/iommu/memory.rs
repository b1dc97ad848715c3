//! The memory of buffers.

use std::fs::File;
use std::io;

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, fstat, ftruncate, memfd_create};

use crate::mapping::{Mapping, Protection, page_size};

/// The pages that a buffer is made of (`MFD_HUGETLB` of `memfd_create(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Pages {
    /// Pages of the usual size ([`page_size`]).
    #[default]
    Normal,
    /// Huge pages of the host's default size (`Hugepagesize` in `/proc/meminfo`), or an error.
    Huge,
    /// Huge pages, or normal ones where there are none free.
    HugeIfFree,
}

/// Memory of this process: anonymous, zeroed, and shared with children.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) mapping: Mapping,
    /// Size of its pages in bytes.
    pub(super) page: u64,
}

impl Memory {
    /// At least `length` bytes, in whole pages and a whole number of `unit`s, a power of two.
    pub(super) fn new(length: usize, unit: u64, pages: Pages) -> io::Result<Self> {
        match pages {
            Pages::Normal => Self::of(length, unit, MemfdFlags::empty()),
            Pages::Huge => Self::of(length, unit, MemfdFlags::HUGETLB),
            Pages::HugeIfFree => Self::of(length, unit, MemfdFlags::HUGETLB).or_else(|error| {
                tracing::debug!(%error, "no huge pages, taking normal ones");
                Self::of(length, unit, MemfdFlags::empty())
            }),
        }
    }

    fn of(length: usize, unit: u64, flags: MemfdFlags) -> io::Result<Self> {
        let file = File::from(memfd_create("vfio-dma", MemfdFlags::CLOEXEC | flags)?);
        // The size of the pages that a file of huge pages is made of.
        let block = u64::try_from(fstat(&file)?.st_blksize).unwrap_or_default();
        let page = if flags.contains(MemfdFlags::HUGETLB) { block } else { page_size() };
        let whole = (length as u64).checked_next_multiple_of(page.max(unit).max(1));
        let whole = whole.ok_or(io::ErrorKind::InvalidInput)?;
        let mapped = usize::try_from(whole).map_err(|_| io::ErrorKind::InvalidInput)?;
        ftruncate(&file, whole)?;
        // All pages now: later, one that is missing would be a signal (SIGBUS), or a DMA that fails.
        fallocate(&file, FallocateFlags::empty(), 0, whole)?;
        let mapping = Mapping::new(&file, 0, mapped, Protection::ReadWrite)?;
        Ok(Self { mapping, page })
    }
}
