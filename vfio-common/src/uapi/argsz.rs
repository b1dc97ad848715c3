//! The `argsz` protocol: the caller says how long its buffer is, the kernel fills in the fixed part
//! and says how long the whole would be, and the caller comes back with more.

use std::io;

/// Rounds before giving up: the length may grow between two calls, but not for ever.
const MOST_ROUNDS: usize = 8;
/// No description is longer: a million bytes would be 65,000 sparse areas.
const LONGEST: usize = 1 << 20;

/// Fetches a struct of `fixed` bytes whose first word holds `argsz` and `flags`, with what the
/// kernel appends to it. `index` goes where information structs have it, at byte 8.
///
/// Starts with the fixed part, not with a large buffer: some drivers refuse one (mbochs up to Linux
/// 6.12). Takes all from the last call: some drivers fill in the first one incompletely. The bytes
/// that come back are no more than the kernel could have filled in.
pub(super) fn fetch(
    fixed: usize,
    index: Option<u32>,
    mut call: impl FnMut(&mut [u64]) -> io::Result<i32>,
) -> io::Result<Vec<u8>> {
    let mut length = fixed;
    for _ in 0..MOST_ROUNDS {
        let mut buffer = vec![0u64; length.div_ceil(8)];
        let argsz = u32::try_from(length).map_err(|_| too_long())?;
        if let Some(first) = buffer.first_mut() {
            *first = halves(argsz, 0);
        }
        if let (Some(second), Some(index)) = (buffer.get_mut(1), index) {
            *second = halves(index, 0);
        }
        call(&mut buffer)?;
        let wanted = buffer.first().map_or(0, |first| low_half(*first)) as usize;
        if wanted <= length {
            let mut bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
            bytes.truncate(length);
            return Ok(bytes);
        }
        if wanted > LONGEST {
            return Err(too_long());
        }
        length = wanted;
    }
    Err(io::Error::other("the kernel asks for a larger buffer at every call"))
}

fn too_long() -> io::Error {
    io::Error::other("the kernel asks for an absurdly large buffer")
}

/// A buffer for an ioctl from the bytes of its struct, whose first field, `argsz`, is set here.
pub(super) fn buffer(fields: &[&[u8]]) -> io::Result<Vec<u64>> {
    let length = fields.iter().map(|field| field.len()).sum::<usize>().saturating_add(4);
    let argsz = u32::try_from(length).map_err(|_| too_long())?.to_ne_bytes();
    let mut bytes: Vec<u8> = argsz.into_iter().chain(fields.concat()).collect();
    bytes.resize(length.next_multiple_of(8), 0);
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
}

/// Two 32-bit fields that lie in one word, the first at the lower address.
pub(super) fn halves(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// The field at the lower address of a word.
pub(super) fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_until_the_kernel_is_content_and_passes_the_index_each_time() {
        let mut asked = Vec::new();
        let bytes = fetch(32, Some(9), |buffer| {
            asked.push((buffer.len() * 8, low_half(buffer[0]), low_half(buffer[1])));
            let wanted = if asked.len() == 1 { 48 } else { 80 };
            buffer[0] = halves(wanted, 8);
            buffer[1] = halves(9, 32);
            Ok(0)
        })
        .unwrap();
        assert_eq!(asked, [(32, 32, 9), (48, 48, 9), (80, 80, 9)]);
        assert_eq!(bytes.len(), 80);
    }

    #[test]
    fn a_driver_that_leaves_or_lowers_argsz_is_taken_at_its_word() {
        for answer in [0, 20, 24] {
            let bytes = fetch(20, None, |buffer| {
                assert_eq!(buffer.len(), 3, "20 bytes take three words");
                buffer[0] = halves(answer.min(20), 1);
                Ok(0)
            })
            .unwrap();
            assert_eq!(bytes.len(), 20);
        }
    }

    #[test]
    fn endless_growth_and_absurd_lengths_are_errors() {
        let mut calls = 0;
        let endless = fetch(32, None, |buffer| {
            calls += 1;
            buffer[0] = halves(u32::try_from(buffer.len() * 8 + 8).unwrap(), 0);
            Ok(0)
        });
        assert!(endless.unwrap_err().to_string().contains("at every call"));
        assert_eq!(calls, MOST_ROUNDS);

        let absurd = fetch(32, None, |buffer| {
            buffer[0] = halves(u32::MAX, 0);
            Ok(0)
        });
        assert!(absurd.unwrap_err().to_string().contains("absurdly"));
    }
}
