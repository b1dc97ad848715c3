//! The one place that touches mapped device memory.
//!
//! Rules of this module:
//! - What it gives out is safe: a [`View`] checks bounds, alignment and protection at each access, or
//!   checked them when it was made and at compile time.
//! - One access is one volatile load or store of the register's width: no memcpy, no splitting, and
//!   never a reference to device memory.
//! - Values are in the host's byte order; the caller converts.

#![expect(unsafe_code, reason = "device memory is reached through raw pointers only")]

use std::ops::Range;
use std::sync::Arc;

use crate::mapping::{Mapping, Protection};
use crate::region::Register;

/// A part of a mapping. `SIZE` bytes from its start can be accessed at constant offsets, which are
/// checked at compile time.
///
/// Invariants: `start` is valid for loads of `length` bytes, and for stores too if `writable`, as
/// long as `mapping` lives. If `SIZE` is not 0, `length` is at least `SIZE`, the view is writable,
/// and `start` is a multiple of [`WIDEST`].
#[derive(Debug, Clone)]
pub(crate) struct View<const SIZE: usize = 0> {
    start: *mut u8,
    length: usize,
    writable: bool,
    mapping: Arc<Mapping>,
}

/// Width of the widest register, in bytes.
pub(crate) const WIDEST: usize = 8;

// SAFETY: a view owns its share of the mapping, which is not bound to a thread: the address stays
// valid wherever the view goes.
unsafe impl<const SIZE: usize> Send for View<SIZE> {}
// SAFETY: a shared view only makes volatile accesses of one machine word to memory that no Rust
// object lives in; devices change that memory at any time, so concurrent accesses by threads add
// nothing that the compiler must exclude.
unsafe impl<const SIZE: usize> Sync for View<SIZE> {}

impl View {
    /// The first `length` bytes of a mapping; `None` when it is shorter.
    pub(crate) fn new(mapping: Mapping, length: usize) -> Option<Self> {
        let writable = mapping.protection() == Protection::ReadWrite;
        (length <= mapping.len()).then(|| Self {
            start: mapping.start(),
            length,
            writable,
            mapping: Arc::new(mapping),
        })
    }

    /// All of a mapping.
    pub(crate) fn whole(mapping: Arc<Mapping>) -> Self {
        let writable = mapping.protection() == Protection::ReadWrite;
        Self { start: mapping.start(), length: mapping.len(), writable, mapping }
    }

    /// A part of this view; `None` when it is not wholly inside.
    pub(crate) fn part(&self, range: Range<usize>) -> Option<Self> {
        let length = range.end.checked_sub(range.start)?;
        (range.end <= self.length).then(|| Self {
            start: self.start.wrapping_add(range.start),
            length,
            writable: self.writable,
            mapping: self.mapping.clone(),
        })
    }

    /// The same view with constant offsets below `SIZE`; `None` when it is shorter, not writable or
    /// not aligned.
    pub(crate) fn fixed<const SIZE: usize>(self) -> Option<View<SIZE>> {
        let Self { start, length, writable, mapping } = self;
        let sound = length >= SIZE && writable && start.addr().is_multiple_of(WIDEST);
        sound.then_some(View { start, length, writable, mapping })
    }
}

impl<const SIZE: usize> View<SIZE> {
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Loads the register at `offset`; `None` when it is not wholly inside or not aligned.
    #[inline]
    pub(crate) fn load<T: Register>(&self, offset: usize) -> Option<T> {
        let register = self.register::<T>(offset)?;
        // SAFETY: `register` checked that WIDTH bytes from this address lie in the view, so by the
        // invariant they are mapped and readable, and that the address is aligned. The memory comes
        // from mmap, outside every Rust allocation, so a volatile read is defined whatever the
        // device does to it. `Register` is implemented for integers only: every bit pattern is one.
        Some(unsafe { register.read_volatile() })
    }

    /// Stores to the register at `offset`; `None` when it is not wholly inside, not aligned, or the
    /// view is not writable.
    #[inline]
    pub(crate) fn store<T: Register>(&self, offset: usize, value: T) -> Option<()> {
        let register = self.register::<T>(offset).filter(|_| self.writable)?;
        // SAFETY: as in `load`; the view is writable, so by the invariant the mapping is, and the
        // write changes no Rust object.
        unsafe { register.write_volatile(value) };
        Some(())
    }

    #[inline]
    fn register<T: Register>(&self, offset: usize) -> Option<*mut T> {
        let fits = offset.checked_add(T::WIDTH)? <= self.length;
        let register = self.start.wrapping_add(offset);
        (fits && register.addr().is_multiple_of(T::WIDTH)).then(|| register.cast())
    }

    /// Loads the register at `OFFSET`.
    #[inline]
    pub(crate) fn load_at<T: Register, const OFFSET: usize>(&self) -> T {
        let register = self.register_at::<T, OFFSET>();
        // SAFETY: `register_at` checks at compile time that WIDTH bytes at OFFSET lie below SIZE and
        // that OFFSET is a multiple of WIDTH. SIZE is then not 0, so by the invariants the view has
        // SIZE bytes and starts at a multiple of WIDTH. For the rest see `load`.
        unsafe { register.read_volatile() }
    }

    /// Stores to the register at `OFFSET`.
    #[inline]
    pub(crate) fn store_at<T: Register, const OFFSET: usize>(&self, value: T) {
        let register = self.register_at::<T, OFFSET>();
        // SAFETY: as in `load_at`; a view with a SIZE is writable by the invariants.
        unsafe { register.write_volatile(value) }
    }

    #[inline]
    fn register_at<T: Register, const OFFSET: usize>(&self) -> *mut T {
        const {
            assert!(T::WIDTH <= WIDEST);
            assert!(OFFSET + T::WIDTH <= SIZE, "the register lies past the window's end");
            assert!(OFFSET.is_multiple_of(T::WIDTH), "the register is not aligned to its width");
        }
        self.start.wrapping_add(OFFSET).cast()
    }
}
