//! One mapping of a part of a device.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use memmap2::{MmapOptions, MmapRaw};

/// What the mapping allows: `PROT_READ`, `PROT_WRITE` of `mmap(2)`. Nothing is mapped for writing only: no
/// device needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Loads only; a store would be a fault, and no safe method of this crate makes one.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// Bytes of a file or device, mapped shared (`mmap(2)`) into this process until dropped. It gives raw
/// pointers only: no reference to its memory is ever made, for a device may change it at any time.
#[derive(Debug)]
pub struct Mapping {
    raw: MmapRaw,
    protection: Protection,
}

impl Mapping {
    /// Maps `length` bytes of `file` from `offset`, both in bytes; `offset` is a whole number of
    /// pages. The file may be closed afterwards: a mapping keeps a device open by itself.
    ///
    /// # Errors
    /// `InvalidInput` for an offset that is not page-aligned and for length 0, otherwise what
    /// `mmap(2)` says.
    pub fn new(
        file: impl AsFd,
        offset: u64,
        length: usize,
        protection: Protection,
    ) -> io::Result<Self> {
        // memmap2 would round an odd offset down and add the rest to the length.
        if length == 0 || !offset.is_multiple_of(page_size()) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut options = MmapOptions::new();
        options.offset(offset).len(length);
        let fd = file.as_fd().as_raw_fd();
        let raw = match protection {
            Protection::Read => options.map_raw_read_only(fd)?,
            Protection::ReadWrite => options.map_raw(fd)?,
        };
        Ok(Self { raw, protection })
    }

    /// Where the mapping starts, page-aligned. Valid for loads of [`Mapping::len`] bytes as
    /// long as this value lives, and for stores if it is writable. Of a file, bytes behind its end
    /// fault (SIGBUS).
    #[must_use]
    pub fn start(&self) -> *mut u8 {
        self.raw.as_mut_ptr()
    }

    /// Length in bytes, never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// What the mapping allows.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.protection
    }
}

/// The size of a page on this host, in bytes.
#[must_use]
pub fn page_size() -> u64 {
    rustix::param::page_size() as u64
}
