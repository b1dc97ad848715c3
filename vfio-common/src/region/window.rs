//! A resolved view of mapped registers, for hot paths.

use std::ops::Range;

use super::{Region, RegionError, RegionFlags, Register};
use crate::mmio::{View, WIDEST};

/// A mapped part of a region, resolved once. An access is one bounds check and one volatile load or
/// store, little-endian; nothing else is looked up, and no system call is made. It keeps the device
/// open.
///
/// `Window` takes offsets at run time (`try_read32`). `Window<SIZE>` also takes constant offsets that
/// are checked at compile time and cannot fail (`read32::<OFFSET>`).
///
/// Offsets count in bytes from the window's start. What [`Region`] says of faults on mapped memory
/// holds here too.
///
/// ```no_run
/// # fn f(region: vfio_common::region::Region) -> Result<(), Box<dyn std::error::Error>> {
/// let doorbells = region.window(0x1000..0x2000)?;
/// doorbells.try_write32(0x40, 1)?;
///
/// let registers = region.fixed_window::<0x100>(0x1000)?;
/// let status = registers.read32::<0x08>();
/// # Ok(()) }
/// ```
///
/// An offset outside the window does not compile:
///
/// ```compile_fail,E0080
/// # fn f(registers: vfio_common::region::Window<0x100>) {
/// registers.read32::<0x100>();
/// # }
/// # std::hint::black_box(f as fn(_));
/// ```
#[derive(Debug, Clone)]
pub struct Window<const SIZE: usize = 0> {
    // Dropped before the region, which holds the device open.
    view: View<SIZE>,
    region: Region,
}

/// A checked access to a window was refused. Offsets are in bytes from the window's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{width} bytes at {offset:#x} cannot be {} in this window: it has {length:#x} bytes, {}, and \
     takes offsets that are multiples of the width",
    if *write { "written" } else { "read" },
    if *writable { "is writable" } else { "is read-only" }
)]
pub struct WindowError {
    offset: usize,
    width: usize,
    length: usize,
    write: bool,
    writable: bool,
}

impl Region {
    /// The bytes `range`, counted from the region's start, as a window. It is read-only if the
    /// region is.
    ///
    /// # Errors
    /// [`RegionError::NotMapped`] when they are not wholly in one mapped part (an empty range never
    /// is), [`RegionError::OutOfRange`] when they are not in the region.
    pub fn window(&self, range: Range<u64>) -> Result<Window, RegionError> {
        Ok(Window { view: self.view(range, RegionFlags::READ)?, region: self.clone() })
    }

    /// The `SIZE` bytes from `offset`, which is a multiple of 8, as a window with constant offsets.
    ///
    /// # Errors
    /// As [`Region::window`]; [`RegionError::NotAllowed`] when the region is read-only,
    /// [`RegionError::Misaligned`] when `offset` is not a multiple of 8.
    pub fn fixed_window<const SIZE: usize>(
        &self,
        offset: u64,
    ) -> Result<Window<SIZE>, RegionError> {
        let end = offset.checked_add(SIZE as u64);
        let end = end.ok_or_else(|| self.out_of_range(offset, SIZE as u64))?;
        let view = self.view(offset..end, RegionFlags::READ | RegionFlags::WRITE)?;
        let view = view.fixed().ok_or_else(|| self.misaligned(offset, WIDEST))?;
        Ok(Window { view, region: self.clone() })
    }

    fn view(&self, range: Range<u64>, needed: RegionFlags) -> Result<View, RegionError> {
        let (offset, length) = (range.start, range.end.saturating_sub(range.start));
        self.check_range(offset, length, needed)?;
        let not_mapped = || self.not_mapped(offset, length);
        let (view, at) = self.part(offset, length.max(1)).ok_or_else(not_mapped)?;
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let part = end.filter(|end| *end > at).and_then(|end| view.part(at..end));
        part.ok_or_else(not_mapped)
    }
}

impl<const SIZE: usize> Window<SIZE> {
    /// The region it is a part of.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Length in bytes, never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a window is never empty")]
    pub fn len(&self) -> usize {
        self.view.length()
    }

    /// Whether it can be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.view.is_writable()
    }

    /// The address of its first byte, for libraries with register types of their own. Valid for
    /// volatile loads of [`Window::len`] bytes as long as the window lives, and for stores if it is
    /// writable.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.view.start()
    }

    #[cold]
    fn refused<T: Register>(&self, offset: usize, write: bool) -> WindowError {
        let (length, writable) = (self.view.length(), self.view.is_writable());
        WindowError { offset, width: T::WIDTH, length, write, writable }
    }
}

macro_rules! registers {
    ($($integer:ty, $bits:literal: $try_read:ident $try_write:ident $read:ident $write:ident;)*) => {
        impl<const SIZE: usize> Window<SIZE> {$(
            #[doc = concat!("Reads ", $bits, " bits at `offset` bytes.")]
            ///
            /// # Errors
            /// [`WindowError`] when they are not in the window or not aligned.
            #[inline]
            pub fn $try_read(&self, offset: usize) -> Result<$integer, WindowError> {
                let value = self.view.load::<$integer>(offset);
                value.map(<$integer>::from_le).ok_or_else(|| self.refused::<$integer>(offset, false))
            }

            #[doc = concat!("Writes ", $bits, " bits at `offset` bytes.")]
            ///
            /// # Errors
            /// [`WindowError`] when they are not in the window or not aligned, or the window is
            /// read-only.
            #[inline]
            pub fn $try_write(&self, offset: usize, value: $integer) -> Result<(), WindowError> {
                let stored = self.view.store(offset, value.to_le());
                stored.ok_or_else(|| self.refused::<$integer>(offset, true))
            }

            #[doc = concat!("Reads ", $bits, " bits at `OFFSET` bytes, checked at compile time.")]
            #[inline]
            #[must_use]
            pub fn $read<const OFFSET: usize>(&self) -> $integer {
                <$integer>::from_le(self.view.load_at::<$integer, OFFSET>())
            }

            #[doc = concat!("Writes ", $bits, " bits at `OFFSET` bytes, checked at compile time.")]
            #[inline]
            pub fn $write<const OFFSET: usize>(&self, value: $integer) {
                self.view.store_at::<$integer, OFFSET>(value.to_le());
            }
        )*}
    };
}

registers! {
    u8, "8": try_read8 try_write8 read8 write8;
    u16, "16": try_read16 try_write16 read16 write16;
    u32, "32": try_read32 try_write32 read32 write32;
    u64, "64": try_read64 try_write64 read64 write64;
}
