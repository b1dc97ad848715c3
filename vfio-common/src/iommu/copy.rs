//! Copies between bytes and memory that devices reach, in accesses of 8 bytes and less.

use crate::mmio::View;

/// Copies `bytes` into a view from `offset`; `None`, and nothing copied, when they do not fit.
pub(super) fn into_view(view: &View, offset: usize, bytes: &[u8]) -> Option<()> {
    check(view, offset, bytes.len())?;
    let (head, rest) = bytes.split_at(bytes.len().min(ahead(offset)));
    let (words, tail) = rest.as_chunks::<8>();
    let middle = offset.saturating_add(head.len());
    let end = middle.saturating_add(size_of_val(words));
    (offset..).zip(head).try_for_each(|(at, byte)| view.store(at, *byte))?;
    let mut words = (middle..).step_by(8).zip(words);
    words.try_for_each(|(at, word)| view.store(at, u64::from_ne_bytes(*word)))?;
    (end..).zip(tail).try_for_each(|(at, byte)| view.store(at, *byte))
}

/// Fills `bytes` from a view, from `offset`; `None`, and nothing copied, when there are not so many.
pub(super) fn out_of_view(view: &View, offset: usize, bytes: &mut [u8]) -> Option<()> {
    check(view, offset, bytes.len())?;
    let (head, rest) = bytes.split_at_mut(bytes.len().min(ahead(offset)));
    let middle = offset.saturating_add(head.len());
    let (words, tail) = rest.as_chunks_mut::<8>();
    let end = middle.saturating_add(size_of_val(words));
    let byte = |(at, byte): (usize, &mut u8)| view.load(at).map(|found| *byte = found);
    (offset..).zip(head).try_for_each(byte)?;
    let mut words = (middle..).step_by(8).zip(words);
    words.try_for_each(|(at, word)| view.load(at).map(|found: u64| *word = found.to_ne_bytes()))?;
    (end..).zip(tail).try_for_each(byte)
}

fn check(view: &View, offset: usize, count: usize) -> Option<()> {
    offset.checked_add(count).filter(|end| *end <= view.length()).map(drop)
}

/// Bytes before the next multiple of 8.
fn ahead(offset: usize) -> usize {
    offset.wrapping_neg() % 8
}
