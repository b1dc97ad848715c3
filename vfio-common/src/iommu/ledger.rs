//! What is mapped into an address space, and where there is room.

use std::collections::BTreeMap;

use super::{DeviceAccess, DmaMapping, IovaRange};
use crate::mmio::View;

/// One mapping, of all that an address space has ever had. Another one at the same place is not it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

/// The mappings of an address space. No two overlap.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By first address.
    mappings: BTreeMap<u64, Entry>,
    made: u64,
}

#[derive(Debug)]
struct Entry {
    last: u64,
    access: DeviceAccess,
    key: Key,
    /// Its memory, if that is this crate's. It stays as long as it is mapped.
    view: Option<View>,
}

impl Ledger {
    /// The mapping that has an address in common with `range`, the last if there are more.
    pub(super) fn overlap(&self, range: IovaRange) -> Option<DmaMapping> {
        let (first, entry) = self.mappings.range(..=range.last).next_back()?;
        (entry.last >= range.first).then(|| mapping(*first, entry))
    }

    /// A mapping of which `range` holds a part but not the whole.
    pub(super) fn split(&self, range: IovaRange) -> Option<DmaMapping> {
        let at_start = self.overlap(IovaRange { first: range.first, last: range.first });
        let candidates = [at_start, self.overlap(range)];
        candidates.into_iter().flatten().find(|found| !range.contains(&found.range))
    }

    /// The mappings that lie wholly in `range`.
    pub(super) fn within(&self, range: IovaRange) -> Vec<DmaMapping> {
        let from = self.mappings.range(range.first..=range.last);
        let all = from.map(|(first, entry)| mapping(*first, entry));
        all.filter(|found| range.contains(&found.range)).collect()
    }

    /// Adds a mapping that overlaps none.
    pub(super) fn insert(
        &mut self,
        range: IovaRange,
        access: DeviceAccess,
        view: Option<View>,
    ) -> Key {
        self.made = self.made.wrapping_add(1);
        let key = Key(self.made);
        self.mappings.insert(range.first, Entry { last: range.last, access, key, view });
        key
    }

    /// The memory of the mapping at `iova`, if devices may do `access` with it and it is this crate's:
    /// where it is mapped, and its bytes.
    pub(super) fn memory(&self, iova: u64, access: DeviceAccess) -> Option<(IovaRange, &View)> {
        let (first, entry) = self.mappings.range(..=iova).next_back()?;
        let fits = entry.last >= iova && entry.access.contains(access);
        let range = IovaRange { first: *first, last: entry.last };
        entry.view.as_ref().filter(|_| fits).map(|view| (range, view))
    }

    /// Takes the mapping at `first` out.
    pub(super) fn remove(&mut self, first: u64) {
        self.mappings.remove(&first);
    }

    /// Whether the mapping at `first` is the one that was inserted with `key`.
    pub(super) fn has(&self, first: u64, key: Key) -> bool {
        self.mappings.get(&first).is_some_and(|entry| entry.key == key)
    }

    pub(super) fn clear(&mut self) {
        self.mappings.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.mappings.len()
    }

    /// Bytes mapped.
    pub(super) fn bytes(&self) -> u64 {
        self.iter().fold(0, |sum, mapping| sum.saturating_add(mapping.range.length()))
    }

    /// In rising order.
    pub(super) fn iter(&self) -> impl Iterator<Item = DmaMapping> {
        self.mappings.iter().map(|(first, entry)| mapping(*first, entry))
    }

    /// The lowest place for `length` bytes that is in one of `ranges`, overlaps no mapping, is a
    /// multiple of `alignment`, ends at `highest` or before, and is not address 0, which many devices
    /// take for none. `length` and `alignment` are not 0.
    pub(super) fn room(
        &self,
        ranges: &[IovaRange],
        length: u64,
        alignment: u64,
        highest: u64,
    ) -> Option<IovaRange> {
        let room_in = |range: &IovaRange| {
            let end = range.last.min(highest);
            let mut first = range.first.max(1).checked_next_multiple_of(alignment)?;
            loop {
                let candidate = IovaRange::new(first, length).filter(|place| place.last <= end)?;
                let Some(taken) = self.overlap(candidate) else { return Some(candidate) };
                first = taken.range.last.checked_add(1)?.checked_next_multiple_of(alignment)?;
            }
        };
        ranges.iter().filter_map(room_in).min_by_key(|place| place.first)
    }
}

fn mapping(first: u64, entry: &Entry) -> DmaMapping {
    DmaMapping { range: IovaRange { first, last: entry.last }, access: entry.access }
}

#[cfg(test)]
mod tests;
