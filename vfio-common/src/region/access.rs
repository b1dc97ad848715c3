//! Access to a region, mapped where it can be.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::{Area, RegionError, RegionFlags, RegionInfo, Register, plan};
use crate::device::{Device, Shared};
use crate::mapping::{Protection, page_size};
use crate::mmio::View;
use crate::pci_config;

/// A region of an open device. Clones are handles to the same one; it keeps the device open.
///
/// The parts that the kernel allows to be mapped are mapped; an access there is one load or store.
/// Everywhere else an access is one system call of exactly its width. Both are checked first.
///
/// A 64-bit access through the device descriptor may reach the device as two of 32 bits: the
/// kernel's sample devices always split it, vfio-pci does so in Linux 6.1 and not in 6.12.
///
/// Mapped memory of a PCI device faults (SIGBUS) while its memory decoding is off, while it resets
/// and while it sleeps: keep decoding on while a mapped region is accessed.
#[derive(Debug, Clone)]
pub struct Region {
    state: Arc<RegionState>,
}

/// Which way an access takes: `mmap(2)`, or `pread(2)` and `pwrite(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Path {
    /// The mapping where there is one, the device descriptor elsewhere.
    #[default]
    Auto,
    /// The mapping, or an error.
    Mapped,
    /// The device descriptor, also where the range is mapped.
    Trapped,
}

/// Invariant: `parts` is sorted by offset and free of overlap. The parts come before `device`, so
/// that they are unmapped before the device can close.
#[derive(Debug)]
pub(crate) struct RegionState {
    parts: Vec<Part>,
    unmapped: Vec<(Area, io::Error)>,
    info: RegionInfo,
    device: Arc<Shared>,
}

#[derive(Debug)]
struct Part {
    area: Area,
    view: View,
}

impl RegionState {
    /// Maps what can be mapped of the region that `info` describes.
    pub(crate) fn map(device: &Device, info: RegionInfo) -> Self {
        let page = page_size();
        let planned = plan(&info, &pci_config::holes(device, &info), page);
        let mut unmapped: Vec<_> =
            planned.refused.into_iter().map(|(area, why)| (area, io::Error::other(why))).collect();
        let protection = if info.flags.contains(RegionFlags::WRITE) {
            Protection::ReadWrite
        } else {
            Protection::Read
        };
        let mut parts = Vec::with_capacity(planned.areas.len());
        for area in planned.areas {
            match map_area(device, &info, area, page, protection) {
                Ok(view) => parts.push(Part { area, view }),
                Err(error) => {
                    tracing::debug!(
                        device = device.name(), region = info.index, ?area, %error,
                        "not mapped, accessed through the device descriptor instead"
                    );
                    unmapped.push((area, error));
                }
            }
        }
        Self { parts, unmapped, info, device: device.shared().clone() }
    }

    /// The mapped part in which `length` bytes from `offset` lie, and where they start in it.
    #[inline]
    fn find(&self, offset: u64, length: u64) -> Option<(&View, usize)> {
        let after = self.parts.partition_point(|part| part.area.offset <= offset);
        let part = self.parts.get(after.checked_sub(1)?)?;
        let within = offset.checked_sub(part.area.offset)?;
        if part.area.size.checked_sub(within)? < length {
            return None;
        }
        Some((&part.view, usize::try_from(within).ok()?))
    }
}

fn map_area(
    device: &Device,
    info: &RegionInfo,
    area: Area,
    page: u64,
    protection: Protection,
) -> io::Result<View> {
    let offset = info.offset.checked_add(area.offset);
    let mapped = area.size.checked_next_multiple_of(page);
    let mapped = mapped.and_then(|length| usize::try_from(length).ok());
    let (Some(offset), Some(mapped), Ok(size)) = (offset, mapped, usize::try_from(area.size))
    else {
        return Err(io::Error::other("the area does not fit in the address space"));
    };
    let mapping = device.shared().backend.map(offset, mapped, protection)?;
    if mapping.protection() != protection {
        return Err(io::Error::other("the mapping is not protected as asked for"));
    }
    View::new(mapping, size)
        .ok_or_else(|| io::Error::other("the mapping is shorter than asked for"))
}

impl From<Arc<RegionState>> for Region {
    fn from(state: Arc<RegionState>) -> Self {
        Self { state }
    }
}

impl Region {
    /// What the kernel said of the region.
    #[must_use]
    pub fn info(&self) -> &RegionInfo {
        &self.state.info
    }

    /// Length in bytes, never 0.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.state.info.size
    }

    /// The parts that are mapped, sorted and apart from each other.
    pub fn mapped(&self) -> impl ExactSizeIterator<Item = Area> + '_ {
        self.state.parts.iter().map(|part| part.area)
    }

    /// Whether the bytes `range`, counted from the region's start, lie in one mapped part. An empty
    /// range never does.
    #[must_use]
    pub fn is_mapped(&self, range: Range<u64>) -> bool {
        let area = Area::of(range);
        area.size > 0 && self.state.find(area.offset, area.size).is_some()
    }

    /// The parts that the kernel offered and that are not mapped, each with the reason: a
    /// [`Refusal`](super::Refusal), what `mmap(2)` said, or that the mapping was not as asked for.
    #[must_use]
    pub fn unmapped(&self) -> &[(Area, io::Error)] {
        &self.state.unmapped
    }

    /// Reads a little-endian register at `offset` bytes.
    ///
    /// # Errors
    /// [`RegionError`] when the access is out of range, not aligned, not allowed, or fails.
    #[inline]
    pub fn read<T: Register>(&self, offset: u64) -> Result<T, RegionError> {
        self.read_via(Path::Auto, offset)
    }

    /// Writes a little-endian register at `offset` bytes.
    ///
    /// # Errors
    /// As [`Region::read`].
    #[inline]
    pub fn write<T: Register>(&self, offset: u64, value: T) -> Result<(), RegionError> {
        self.write_via(Path::Auto, offset, value)
    }

    /// Reads a little-endian register, on the way asked for.
    ///
    /// # Errors
    /// As [`Region::read`]; [`RegionError::NotMapped`] when the mapped way is asked for and there is
    /// none.
    #[inline]
    pub fn read_via<T: Register>(&self, path: Path, offset: u64) -> Result<T, RegionError> {
        self.load(path, offset).map(T::le_to_host)
    }

    /// Writes a little-endian register, on the way asked for.
    ///
    /// # Errors
    /// As [`Region::read_via`].
    #[inline]
    pub fn write_via<T: Register>(
        &self,
        path: Path,
        offset: u64,
        value: T,
    ) -> Result<(), RegionError> {
        self.store(path, offset, value.host_to_le())
    }

    /// Reads a register in the host's byte order, for regions that are native structs (the channel
    /// and cryptographic devices of s390).
    ///
    /// # Errors
    /// As [`Region::read`].
    #[inline]
    pub fn read_native<T: Register>(&self, offset: u64) -> Result<T, RegionError> {
        self.load(Path::Auto, offset)
    }

    /// Writes a register in the host's byte order.
    ///
    /// # Errors
    /// As [`Region::read`].
    #[inline]
    pub fn write_native<T: Register>(&self, offset: u64, value: T) -> Result<(), RegionError> {
        self.store(Path::Auto, offset, value)
    }

    /// The mapped way first, without any error in sight; everything else out of line.
    #[inline]
    fn load<T: Register>(&self, path: Path, offset: u64) -> Result<T, RegionError> {
        if path != Path::Trapped
            && self.allows::<T>(offset, RegionFlags::READ)
            && let Some((view, at)) = self.state.find(offset, T::WIDTH as u64)
            && let Some(value) = view.load(at)
        {
            return Ok(value);
        }
        self.load_trapped(path, offset)
    }

    #[inline(never)]
    fn load_trapped<T: Register>(&self, path: Path, offset: u64) -> Result<T, RegionError> {
        self.check::<T>(path, offset, RegionFlags::READ)?;
        let mut bytes = T::Bytes::default();
        self.read_trapped(offset, bytes.as_mut())?;
        Ok(T::of_native(bytes))
    }

    #[inline]
    fn store<T: Register>(&self, path: Path, offset: u64, value: T) -> Result<(), RegionError> {
        if path != Path::Trapped
            && self.allows::<T>(offset, RegionFlags::WRITE)
            && let Some((view, at)) = self.state.find(offset, T::WIDTH as u64)
            && view.store(at, value).is_some()
        {
            return Ok(());
        }
        self.store_trapped(path, offset, value)
    }

    #[inline(never)]
    fn store_trapped<T: Register>(
        &self,
        path: Path,
        offset: u64,
        value: T,
    ) -> Result<(), RegionError> {
        self.check::<T>(path, offset, RegionFlags::WRITE)?;
        self.write_trapped(offset, value.native().as_ref())
    }

    #[inline]
    fn allows<T: Register>(&self, offset: u64, needed: RegionFlags) -> bool {
        offset.is_multiple_of(T::WIDTH as u64) && self.contains(offset, T::WIDTH as u64, needed)
    }

    #[inline]
    fn contains(&self, offset: u64, length: u64, needed: RegionFlags) -> bool {
        let info = &self.state.info;
        let inside = offset.checked_add(length).is_some_and(|end| end <= info.size);
        inside && info.flags.contains(needed)
    }

    /// Why an access cannot take the way by the descriptor, if it cannot.
    fn check<T: Register>(
        &self,
        path: Path,
        offset: u64,
        needed: RegionFlags,
    ) -> Result<(), RegionError> {
        if !offset.is_multiple_of(T::WIDTH as u64) {
            return Err(self.misaligned(offset, T::WIDTH));
        }
        self.check_range(offset, T::WIDTH as u64, needed)?;
        if path == Path::Mapped {
            return Err(self.not_mapped(offset, T::WIDTH as u64));
        }
        Ok(())
    }

    /// Whether `length` bytes from `offset` are in the region and its flags allow the access.
    #[inline]
    pub(super) fn check_range(
        &self,
        offset: u64,
        length: u64,
        needed: RegionFlags,
    ) -> Result<(), RegionError> {
        if self.contains(offset, length, needed) {
            return Ok(());
        }
        let inside = self.contains(offset, length, RegionFlags::empty());
        Err(if inside { self.not_allowed(needed) } else { self.out_of_range(offset, length) })
    }

    /// The mapped part in which `length` bytes from `offset` lie, and where they start in it.
    pub(super) fn part(&self, offset: u64, length: u64) -> Option<(&View, usize)> {
        self.state.find(offset, length)
    }

    /// One system call; the range was checked.
    pub(super) fn read_trapped(&self, offset: u64, bytes: &mut [u8]) -> Result<(), RegionError> {
        let length = bytes.len();
        let done = self.file_offset(offset).and_then(|at| self.backend().read_at(at, bytes));
        self.whole(done, offset, length, false)
    }

    /// One system call; the range was checked.
    pub(super) fn write_trapped(&self, offset: u64, bytes: &[u8]) -> Result<(), RegionError> {
        let done = self.file_offset(offset).and_then(|at| self.backend().write_at(at, bytes));
        self.whole(done, offset, bytes.len(), true)
    }

    fn backend(&self) -> &dyn crate::device::Backend {
        &*self.state.device.backend
    }

    fn file_offset(&self, offset: u64) -> io::Result<u64> {
        let at = self.state.info.offset.checked_add(offset);
        at.ok_or_else(|| io::Error::other("the region's offset in the device's file overflows"))
    }

    #[cold]
    fn device_name(&self) -> Arc<str> {
        self.state.device.name.clone()
    }

    #[inline]
    fn whole(
        &self,
        done: io::Result<usize>,
        offset: u64,
        length: usize,
        write: bool,
    ) -> Result<(), RegionError> {
        let index = self.state.info.index;
        match done {
            Ok(done) if done == length => Ok(()),
            Ok(done) => {
                Err(RegionError::Short { device: self.device_name(), index, offset, length, done })
            }
            Err(source) => Err(RegionError::Io {
                device: self.device_name(),
                index,
                offset,
                length,
                write,
                source,
            }),
        }
    }

    #[cold]
    pub(super) fn out_of_range(&self, offset: u64, length: u64) -> RegionError {
        let RegionInfo { index, size, .. } = self.state.info;
        RegionError::OutOfRange { device: self.device_name(), index, offset, length, size }
    }

    #[cold]
    pub(super) fn misaligned(&self, offset: u64, width: usize) -> RegionError {
        let index = self.state.info.index;
        RegionError::Misaligned { device: self.device_name(), index, offset, width }
    }

    #[cold]
    fn not_allowed(&self, needed: RegionFlags) -> RegionError {
        let write = needed.contains(RegionFlags::WRITE);
        RegionError::NotAllowed { device: self.device_name(), index: self.state.info.index, write }
    }

    #[cold]
    pub(super) fn not_mapped(&self, offset: u64, length: u64) -> RegionError {
        let index = self.state.info.index;
        RegionError::NotMapped { device: self.device_name(), index, offset, length }
    }
}
