//! Accesses of more than one register.

use super::{Region, RegionError, RegionFlags, Register};

macro_rules! named {
    ($($integer:ty, $bits:literal: $read:ident $write:ident;)*) => {
        /// The four widths by name.
        impl Region {$(
            #[doc = concat!("Reads ", $bits, " bits, little-endian, at `offset` bytes.")]
            ///
            /// # Errors
            /// As [`Region::read`].
            #[inline]
            pub fn $read(&self, offset: u64) -> Result<$integer, RegionError> {
                self.read(offset)
            }

            #[doc = concat!("Writes ", $bits, " bits, little-endian, at `offset` bytes.")]
            ///
            /// # Errors
            /// As [`Region::read`].
            #[inline]
            pub fn $write(&self, offset: u64, value: $integer) -> Result<(), RegionError> {
                self.write(offset, value)
            }
        )*}
    };
}

named! {
    u8, "8": read8 write8;
    u16, "16": read16 write16;
    u32, "32": read32 write32;
    u64, "64": read64 write64;
}

/// Copies in a stated unit: each unit is one access of its width, in rising order, on either path.
impl Region {
    /// Reads `units.len()` little-endian registers that follow each other from `offset` bytes.
    ///
    /// # Errors
    /// As [`Region::read`]. Nothing is accessed if any of them is out of range; after another error
    /// the units before it hold what was read.
    pub fn read_units<T: Register>(&self, offset: u64, units: &mut [T]) -> Result<(), RegionError> {
        self.check_range(offset, size_of_val(units) as u64, RegionFlags::READ)?;
        for (unit, at) in units.iter_mut().zip((offset..).step_by(T::WIDTH)) {
            *unit = self.read(at)?;
        }
        Ok(())
    }

    /// Writes `units` as little-endian registers that follow each other from `offset` bytes.
    ///
    /// # Errors
    /// As [`Region::read`]. Nothing is accessed if any of them is out of range; after another error
    /// the units before it are written.
    pub fn write_units<T: Register>(&self, offset: u64, units: &[T]) -> Result<(), RegionError> {
        self.check_range(offset, size_of_val(units) as u64, RegionFlags::WRITE)?;
        for (unit, at) in units.iter().zip((offset..).step_by(T::WIDTH)) {
            self.write(at, *unit)?;
        }
        Ok(())
    }
}

/// Linux moves no more than 2 GiB less a page in one `pread` or `pwrite`.
const LONGEST_CALL: usize = 1 << 30;

/// Copies of memory-like regions (video memory, a blob), in whatever unit is fast: 8 bytes and less
/// where mapped, one system call for all that is not. Not for registers with side effects.
impl Region {
    /// Copies `bytes.len()` bytes from `offset`.
    ///
    /// # Errors
    /// [`RegionError`] when they are out of range or not readable, or when an access fails.
    pub fn read_bytes(&self, offset: u64, bytes: &mut [u8]) -> Result<(), RegionError> {
        self.check_range(offset, bytes.len() as u64, RegionFlags::READ)?;
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let step = self.stretch(at, rest.len());
            let (piece, after) = rest.split_at_mut(step.length);
            match step.width {
                None => self.read_trapped(at, piece)?,
                Some(1) => piece.copy_from_slice(&self.read_native::<u8>(at)?.to_ne_bytes()),
                Some(_) => {
                    for (piece, at) in piece.chunks_exact_mut(8).zip((at..).step_by(8)) {
                        piece.copy_from_slice(&self.read_native::<u64>(at)?.to_ne_bytes());
                    }
                }
            }
            at = at.saturating_add(step.length as u64);
            rest = after;
        }
        Ok(())
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// [`RegionError`] when they are out of range or not writable, or when an access fails.
    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), RegionError> {
        self.check_range(offset, bytes.len() as u64, RegionFlags::WRITE)?;
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let step = self.stretch(at, rest.len());
            let (piece, after) = rest.split_at(step.length);
            match step.width {
                None => self.write_trapped(at, piece)?,
                Some(1) => {
                    for byte in piece {
                        self.write_native(at, *byte)?;
                    }
                }
                Some(_) => {
                    let (words, _) = piece.as_chunks::<8>();
                    for (word, at) in words.iter().zip((at..).step_by(8)) {
                        self.write_native(at, u64::from_ne_bytes(*word))?;
                    }
                }
            }
            at = at.saturating_add(step.length as u64);
            rest = after;
        }
        Ok(())
    }

    /// The longest next piece of a copy that one way of access serves.
    fn stretch(&self, at: u64, rest: usize) -> Stretch {
        let mapped = |width: u64| self.part(at, width).is_some();
        let part_end = |rest: usize| {
            let end = self.mapped().filter_map(|area| area.end()).find(|end| *end > at);
            let within = end.map_or(0, |end| end.saturating_sub(at));
            rest.min(usize::try_from(within).unwrap_or(rest))
        };
        if at.is_multiple_of(8) && rest >= 8 && mapped(8) {
            let length = part_end(rest);
            return Stretch { length: length.saturating_sub(length % 8), width: Some(8) };
        }
        if mapped(1) {
            return Stretch { length: 1, width: Some(1) };
        }
        let next = self.mapped().map(|area| area.offset).find(|offset| *offset > at);
        let hole = next.map_or(u64::MAX, |next| next.saturating_sub(at));
        let hole = usize::try_from(hole).unwrap_or(rest).min(LONGEST_CALL);
        Stretch { length: rest.min(hole), width: None }
    }
}

struct Stretch {
    length: usize,
    /// Width of the mapped accesses; `None` for one access through the descriptor.
    width: Option<u8>,
}
