//! Pages that a device wrote.

use crate::iommu::IovaRange;

/// Bits of a word.
const BITS: u64 = u64::BITS as u64;

/// Which pages of a range a device wrote: the bitmap of
/// `struct vfio_device_feature_dma_logging_report`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyPages {
    first: u64,
    page_size: u64,
    pages: u64,
    words: Vec<u64>,
}

impl DirtyPages {
    pub(super) fn new(first: u64, page_size: u64) -> Self {
        Self { first, page_size, pages: 0, words: Vec::new() }
    }

    /// Adds the bits of `pages` more pages; words that are not there are 0, bits behind the last page
    /// are dropped. Only the last piece may end within a word.
    pub(super) fn append(&mut self, words: &[u64], pages: u64) {
        self.pages = self.pages.saturating_add(pages);
        let whole = usize::try_from(pages.div_ceil(BITS)).unwrap_or(usize::MAX);
        let end = self.words.len().saturating_add(whole);
        self.words.extend(words.iter().take(whole));
        self.words.resize(end, 0);
        let used = pages % BITS;
        if used != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << used) - 1;
        }
    }

    /// The address of the first page, which bit 0 of word 0 stands for.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// Number of pages of the range, written or not.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Number of pages that were written.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// A bit a page, 1 for written, the lowest bit of a word first. Bits behind the last page are 0.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// What was written, in ascending order; pages that touch are one range.
    pub fn ranges(&self) -> impl Iterator<Item = IovaRange> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, true)?;
            let end = self.next(start, false).unwrap_or(self.pages);
            at = end;
            let address =
                |page: u64| self.first.saturating_add(page.saturating_mul(self.page_size));
            Some(IovaRange { first: address(start), last: address(end).saturating_sub(1) })
        })
    }

    /// The first page from `at` on that was written, or was not.
    fn next(&self, at: u64, written: bool) -> Option<u64> {
        let word = usize::try_from(at / BITS).ok()?;
        let rest = self.words.get(word..)?;
        let ignored = (1 << (at % BITS)) - 1;
        let found = rest.iter().enumerate().find_map(|(index, bits)| {
            let bits = if written { *bits } else { !*bits };
            let bits = if index == 0 { bits & !ignored } else { bits };
            let word = (word as u64).saturating_add(index as u64);
            (bits != 0)
                .then(|| word.saturating_mul(BITS).saturating_add(bits.trailing_zeros().into()))
        });
        found.filter(|page| *page < self.pages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_that_touch_are_one_range_and_pieces_join() {
        let mut dirty = DirtyPages::new(0x10_0000, 0x1000);
        dirty.append(&[1 << 63 | 0b110], 64);
        dirty.append(&[0b1001], 3);
        assert_eq!((dirty.pages(), dirty.count()), (67, 4));
        let found: Vec<_> = dirty.ranges().map(|range| [range.first, range.last]).collect();
        assert_eq!(found, [[0x10_1000, 0x10_2fff], [0x13_f000, 0x14_0fff]]);
        assert_eq!(dirty.words(), [1 << 63 | 0b110, 1]);
    }

    #[test]
    fn words_that_are_missing_or_too_many_do_no_harm() {
        let mut dirty = DirtyPages::new(0, 0x1000);
        dirty.append(&[], 128);
        dirty.append(&[u64::MAX; 9], 64);
        assert_eq!((dirty.count(), dirty.words().len()), (64, 3));
        assert_eq!(dirty.ranges().count(), 1);
        assert_eq!(DirtyPages::new(0, 0x1000).ranges().count(), 0);
    }

    proptest! {
        #[test]
        fn ranges_are_the_bits(words: Vec<u64>, spare in 0..64u64) {
            let pages = (words.len() as u64 * 64).saturating_sub(spare);
            let mut dirty = DirtyPages::new(0x4000, 0x4000);
            dirty.append(&words, pages);
            let bit = |page: u64| words[usize::try_from(page / 64).unwrap()] >> (page % 64) & 1 == 1;
            let wanted: Vec<u64> = (0..pages).filter(|page| bit(*page)).collect();
            let found: Vec<u64> = dirty
                .ranges()
                .flat_map(|range| range.first / 0x4000 - 1..(range.last + 1) / 0x4000 - 1)
                .collect();
            prop_assert_eq!(dirty.count(), wanted.len() as u64);
            prop_assert_eq!(found, wanted);
        }
    }
}
