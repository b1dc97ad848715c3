//! How the kernel cuts an access of any length.

/// The widths of the naturally aligned pieces that `length` bytes from `offset` are made of, each the
/// widest that fits and at most `widest` bytes, a power of two.
pub(super) fn pieces(offset: u64, length: usize, widest: usize) -> impl Iterator<Item = usize> {
    let mut at = offset;
    let mut left = length;
    std::iter::from_fn(move || {
        let mut width = widest;
        while width > left || !at.is_multiple_of(width as u64) {
            width /= 2;
            if width == 0 {
                return None;
            }
        }
        at = at.wrapping_add(width as u64);
        left = left.saturating_sub(width);
        Some(width)
    })
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_aligned_and_as_wide_as_can_be() {
        let cut = |offset, length, widest| pieces(offset, length, widest).collect::<Vec<_>>();
        assert_eq!(cut(0, 8, 8), [8]);
        assert_eq!(cut(0, 8, 4), [4, 4]);
        assert_eq!(cut(4, 8, 8), [4, 4]);
        assert_eq!(cut(1, 16, 8), [1, 2, 4, 8, 1]);
        assert_eq!(cut(0xfc, 3, 8), [2, 1]);
        assert!(cut(0, 0, 8).is_empty());
        assert_eq!(cut(u64::MAX, 2, 8), [1, 1]);
    }
}
