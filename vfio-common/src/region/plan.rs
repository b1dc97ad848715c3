//! Which parts of a region are mapped: pure arithmetic on what the kernel said.

use std::ops::Range;

use super::{Area, RegionFlags, RegionInfo};

/// What of a region is mapped, and what is not and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MappingPlan {
    /// Parts to map: sorted, apart from each other, each starting at a page. Each ends at a page or
    /// at the region's end.
    pub areas: Vec<Area>,
    /// Parts that the kernel offered and that are not mapped.
    pub refused: Vec<(Area, Refusal)>,
}

/// Why a part that the kernel offered is not mapped. It can still be accessed through the device
/// descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The area has no bytes.
    #[error("the area is empty")]
    Empty,
    /// The area reaches past the region's last page.
    #[error("the area reaches past the region's end")]
    Outside,
    /// The area does not start and end at pages of this host.
    #[error("the area is not page-aligned")]
    Misaligned,
    /// The area shares bytes with another one; neither can be trusted.
    #[error("the area overlaps another one")]
    Overlap,
    /// The region itself does not start at a page of the device's file.
    #[error("the region does not start at a page of the device")]
    RegionMisaligned,
    /// The region says that it can be neither read nor written, or only written.
    #[error("the region cannot be read")]
    NotReadable,
    /// The pages hold the MSI-X table or its pending bits, and the kernel does not say that they may be
    /// mapped.
    #[error("the pages hold the MSI-X table or its pending bits")]
    Msix,
}

/// Plans the mapping of a region, on a host with pages of `page` bytes (a power of two).
///
/// - No [`RegionFlags::MMAP`]: nothing is mapped.
/// - A list of sparse areas: these and no others, also when the list is empty. Areas are checked
///   against the region, the pages and each other, sorted, and merged where they touch.
/// - No such list: the whole region, but for the pages that `holes` touch, bytes from the region's start
///   (the MSI-X table of a device and its pending bits). Holes may overlap and reach out of the region;
///   [`RegionInfo::msix_mappable`] fills them.
///
/// A region that ends within a page is mapped up to its end. The kernel may round the end of an
/// area up to a page; what lies behind the region's end is cut off.
///
/// ```
/// use vfio_common::region::{Area, RegionFlags, RegionInfo, plan};
///
/// let flags = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;
/// let mut info = RegionInfo::new(0, flags, 0x8000, 0);
/// info.sparse = Some(vec![
///     Area { offset: 0x4000, size: 0x1000 },
///     Area { offset: 0x1000, size: 0x3000 },
///     Area { offset: 0x7800, size: 0x1000 },
/// ]);
/// let plan = plan(&info, &[], 0x1000);
/// assert_eq!(plan.areas, [Area { offset: 0x1000, size: 0x4000 }]);
/// assert_eq!(plan.refused.len(), 1);
/// ```
#[must_use]
pub fn plan(info: &RegionInfo, holes: &[Range<u64>], page: u64) -> MappingPlan {
    let page = page.max(1);
    if !info.flags.contains(RegionFlags::MMAP) || info.size == 0 {
        return MappingPlan::default();
    }
    let whole = Area { offset: 0, size: info.size };
    let offered = match &info.sparse {
        Some(areas) => areas.clone(),
        None => vec![whole],
    };
    let refuse_all = |why| MappingPlan {
        areas: Vec::new(),
        refused: offered.iter().map(|&area| (area, why)).collect(),
    };
    if !info.flags.contains(RegionFlags::READ) {
        return refuse_all(Refusal::NotReadable);
    }
    if !info.offset.is_multiple_of(page) {
        return refuse_all(Refusal::RegionMisaligned);
    }
    match &info.sparse {
        Some(areas) => from_areas(areas, info.size, page),
        None if info.msix_mappable => around(whole, &[], page),
        None => around(whole, holes, page),
    }
}

/// The whole region but for the pages that `holes` touch.
fn around(whole: Area, holes: &[Range<u64>], page: u64) -> MappingPlan {
    let pages_of = |hole: &Range<u64>| {
        let last = hole.end.checked_next_multiple_of(page).unwrap_or(whole.size);
        hole.start - hole.start % page..last.min(whole.size)
    };
    let mut holes: Vec<_> = holes.iter().filter(|hole| !hole.is_empty()).map(pages_of).collect();
    holes.sort_unstable_by_key(|hole| hole.start);
    let (mut areas, mut refused) = (Vec::new(), Vec::new());
    let mut reached = 0;
    for hole in holes {
        let start = hole.start.max(reached);
        if start < hole.end {
            areas.push(Area::of(reached..start));
            refused.push(Area::of(start..hole.end));
            reached = hole.end;
        }
    }
    areas.push(Area::of(reached..whole.size));
    areas.retain(|area| area.size > 0);
    let refused = merge(refused).into_iter().map(|area| (area, Refusal::Msix)).collect();
    MappingPlan { areas, refused }
}

fn from_areas(offered: &[Area], size: u64, page: u64) -> MappingPlan {
    let mut refused = Vec::new();
    let mut sound = Vec::with_capacity(offered.len());
    for &area in offered {
        match check(area, size, page) {
            Ok(cut) => sound.push((cut, area)),
            Err(why) => refused.push((area, why)),
        }
    }
    sound.sort_unstable();
    let areas = merge(apart(&sound, &mut refused));
    MappingPlan { areas, refused }
}

/// The part of `area` that lies in a region of `size` bytes.
fn check(area: Area, size: u64, page: u64) -> Result<Area, Refusal> {
    if area.size == 0 {
        return Err(Refusal::Empty);
    }
    let end = area.end().ok_or(Refusal::Outside)?;
    let last_page_end = size.checked_next_multiple_of(page).unwrap_or(u64::MAX);
    if area.offset >= size || end > last_page_end {
        return Err(Refusal::Outside);
    }
    if !area.offset.is_multiple_of(page) || (end < size && !end.is_multiple_of(page)) {
        return Err(Refusal::Misaligned);
    }
    Ok(Area::of(area.offset..end.min(size)))
}

/// The areas that share no byte with another one; the others go to `refused`, as they were offered.
/// Each comes with what was offered.
fn apart(sorted: &[(Area, Area)], refused: &mut Vec<(Area, Refusal)>) -> Vec<Area> {
    let end = |area: &Area| area.offset.saturating_add(area.size);
    let mut alone = Vec::with_capacity(sorted.len());
    // The end of whatever came before: a long area may reach over several later ones.
    let mut reached = 0;
    for (index, (area, offered)) in sorted.iter().enumerate() {
        let reached_from_before = index > 0 && area.offset < reached;
        let reaches_next =
            sorted.get(index.saturating_add(1)).is_some_and(|(next, _)| next.offset < end(area));
        if reached_from_before || reaches_next {
            refused.push((*offered, Refusal::Overlap));
        } else {
            alone.push(*area);
        }
        reached = reached.max(end(area));
    }
    alone
}

fn merge(sorted: Vec<Area>) -> Vec<Area> {
    let mut merged: Vec<Area> = Vec::with_capacity(sorted.len());
    for area in sorted {
        match merged.last_mut() {
            Some(last) if last.end() == Some(area.offset) => {
                last.size = last.size.saturating_add(area.size);
            }
            _ => merged.push(area),
        }
    }
    merged
}
