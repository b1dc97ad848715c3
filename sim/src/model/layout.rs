//! Where the regions of a software device lie in its file, and how accesses to it are cut.

use std::io;

use rustix::io::Errno;
use vfio_common::page_size;
use vfio_common::region::{RegionFlags, RegionInfo};

use super::RegionModel;
use crate::errno::failed;

/// The regions of a software device, each with its place in the device's file.
///
/// ```
/// use vfio_sim::model::{Layout, RegionModel};
///
/// let layout = Layout::packed([RegionModel::memory(7, 0x100), RegionModel::memory(0, 0x1000)]);
/// # let _ = layout;
/// ```
#[derive(Debug, Clone)]
pub struct Layout {
    regions: Vec<RegionModel>,
    offsets: Offsets,
    /// Width of the widest piece of an access, in bytes.
    widest: usize,
    /// What an access fails with that no region takes.
    outside: Errno,
}

#[derive(Debug, Clone, Copy)]
enum Offsets {
    Packed,
    ByIndex,
}

/// Bits that the kernel's own drivers shift an index by.
const INDEX_SHIFT: u32 = 40;

impl Layout {
    /// Regions one after the other in the order given, each at a page, with an unused page between
    /// two: nobody gets away with an offset computed from the index, or with running over an end.
    /// Accesses are cut into pieces of at most 8 bytes; one that is not wholly inside a region, or
    /// against its flags, is `EINVAL`.
    pub fn packed(regions: impl IntoIterator<Item = RegionModel>) -> Self {
        Self {
            regions: regions.into_iter().collect(),
            offsets: Offsets::Packed,
            widest: 8,
            outside: Errno::INVAL,
        }
    }

    /// Each region at its index shifted by 40 bits, as vfio-pci has them; the rest as
    /// [`Layout::packed`].
    pub fn by_index(regions: impl IntoIterator<Item = RegionModel>) -> Self {
        Self { offsets: Offsets::ByIndex, ..Self::packed(regions) }
    }

    /// As [`Layout::by_index`], with the habits of the kernel's sample devices: pieces of at most 4
    /// bytes, and `EFAULT` for whatever goes wrong with an access.
    pub fn of_samples(regions: impl IntoIterator<Item = RegionModel>) -> Self {
        Self { widest: 4, outside: Errno::FAULT, ..Self::by_index(regions) }
    }

    /// Gives each region its place.
    pub(crate) fn place(self) -> io::Result<Places> {
        let page = page_size();
        let mut regions: Vec<Region> = Vec::with_capacity(self.regions.len());
        let mut free = 0;
        for RegionModel { mut info, memory, reach } in self.regions {
            if regions.iter().any(|placed| placed.info.index == info.index) {
                return Err(failed(Errno::EXIST));
            }
            info.offset = match self.offsets {
                Offsets::Packed if info.size == 0 => 0,
                Offsets::Packed => free,
                Offsets::ByIndex => {
                    let offset = u64::from(info.index).checked_mul(1 << INDEX_SHIFT);
                    offset.ok_or(failed(Errno::OVERFLOW))?
                }
            };
            let whole = info.size.max(reach).checked_next_multiple_of(page);
            let end = whole.and_then(|whole| info.offset.checked_add(whole));
            let end = end.ok_or(failed(Errno::OVERFLOW))?;
            if info.size > 0 {
                free = end.checked_add(page).ok_or(failed(Errno::OVERFLOW))?;
            }
            regions.push(Region { info, memory, reach, end });
        }
        Ok(Places { regions, widest: self.widest, outside: self.outside })
    }
}

/// Regions at their places.
#[derive(Debug)]
pub(crate) struct Places {
    regions: Vec<Region>,
    pub(crate) widest: usize,
    outside: Errno,
}

#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) info: RegionInfo,
    pub(crate) memory: bool,
    reach: u64,
    /// The end of its last page in the file.
    end: u64,
}

impl Places {
    pub(crate) fn get(&self, index: u32) -> Option<&Region> {
        self.regions.iter().find(|region| region.info.index == index)
    }

    /// Length of a file that has all the memory in it; `None` when there is none.
    pub(crate) fn memory_length(&self) -> Option<u64> {
        self.regions.iter().filter(|region| region.memory).map(|region| region.end).max()
    }

    /// The region that a read or write of `length` bytes at `offset` of the file goes to, and its
    /// offset there.
    pub(crate) fn accessed(
        &self,
        offset: u64,
        length: usize,
        needed: RegionFlags,
    ) -> io::Result<(&Region, u64)> {
        let hit = self.regions.iter().find_map(|region| {
            let within = offset.checked_sub(region.info.offset)?;
            let end = within.checked_add(length as u64)?;
            (end <= region.reach).then_some((region, within))
        });
        hit.filter(|(region, _)| region.info.flags.contains(needed)).ok_or(failed(self.outside))
    }

    /// The region that a mapping of `length` bytes, whole pages, at `offset` of the file shows, and
    /// its offset there.
    pub(crate) fn mapped(&self, offset: u64, length: u64) -> Option<(&Region, u64)> {
        self.regions.iter().find_map(|region| {
            let within = offset.checked_sub(region.info.offset)?;
            let whole = region.info.size.checked_next_multiple_of(page_size())?;
            (within.checked_add(length)? <= whole).then_some((region, within))
        })
    }
}

impl Region {
    /// Whether `length` bytes from `start` can be mapped.
    pub(crate) fn allows_mapping(&self, start: u64, length: u64) -> bool {
        let inside = |offset: u64, size: u64| {
            let end = start.checked_add(length);
            start >= offset && end.is_some_and(|end| offset.checked_add(size) >= Some(end))
        };
        self.info.flags.contains(RegionFlags::MMAP)
            && self
                .info
                .sparse
                .as_ref()
                .is_none_or(|areas| areas.iter().any(|area| inside(area.offset, area.size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(layout: Layout, indices: &[u32]) -> Vec<u64> {
        let places = layout.place().unwrap();
        indices.iter().map(|index| places.get(*index).unwrap().info.offset).collect()
    }

    #[test]
    fn regions_get_their_places() {
        let regions = [(7, 0x100), (0, 0x8000), (5, 0), (1, 0x4000)];
        let regions = regions.map(|(index, size)| RegionModel::registers(index, size));
        let packed = offsets(Layout::packed(regions.clone()), &[7, 0, 5, 1]);
        assert_eq!(packed, [0, 2 * page_size(), 0, 2 * page_size() + 0x8000 + page_size()]);
        assert_eq!(offsets(Layout::by_index(regions), &[7, 1]), [7 << 40, 1 << 40]);
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let region = |index, size| RegionModel::memory(index, size);
        assert!(Layout::packed([region(1, 8), region(1, 8)]).place().is_err());
        assert!(Layout::packed([region(1, u64::MAX)]).place().is_err());
        assert!(Layout::packed([region(1, 1 << 63), region(2, 1 << 63)]).place().is_err());
        assert!(Layout::by_index([region(u32::MAX, 8)]).place().is_err());
    }
}
