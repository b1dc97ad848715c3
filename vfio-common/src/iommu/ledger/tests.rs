//! The ledger against a model: a list of bytes, each mapped or not.

use proptest::prelude::*;

use super::*;

const SIZE: u64 = 64;
const BYTES: usize = 64;
const ACCESS: DeviceAccess = DeviceAccess::READ;

/// For each byte of a small space, the first byte of the mapping that it is in.
type Model = [Option<u64>; BYTES];

fn bytes(range: IovaRange) -> std::ops::RangeInclusive<usize> {
    let at = |at| usize::try_from(at).unwrap();
    at(range.first)..=at(range.last)
}

fn range() -> impl Strategy<Value = IovaRange> {
    (0..SIZE, 1..=16u64)
        .prop_map(|(first, length)| IovaRange { first, last: (first + length - 1).min(SIZE - 1) })
}

/// Ranges as the kernel gives them, and the mappings made in them by first fit and at will.
#[derive(Debug, Clone)]
enum Step {
    Insert(IovaRange),
    Remove(IovaRange),
    Room { length: u64, alignment: u64, highest: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        range().prop_map(Step::Insert),
        range().prop_map(Step::Remove),
        (1..=SIZE, 0..5u32, 0..SIZE + 2).prop_map(|(length, bits, highest)| Step::Room {
            length,
            alignment: 1 << bits,
            highest
        }),
    ]
}

fn lowest(
    model: &Model,
    ranges: &[IovaRange],
    length: u64,
    alignment: u64,
    highest: u64,
) -> Option<u64> {
    (1..SIZE).find(|first| {
        IovaRange::new(*first, length).is_some_and(|place| {
            first.is_multiple_of(alignment)
                && place.last <= highest
                && ranges.iter().any(|range| range.contains(&place))
                && model[bytes(place)].iter().all(Option::is_none)
        })
    })
}

proptest! {
    #[test]
    fn it_agrees_with_a_list_of_bytes(
        holes in proptest::collection::vec(range(), 0..3),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        // What is left between the holes.
        let free = |at: &u64| !holes.iter().any(|hole| (hole.first..=hole.last).contains(at));
        let mut ranges: Vec<IovaRange> = Vec::new();
        for at in (0..SIZE).filter(free) {
            match ranges.last_mut() {
                Some(range) if range.last + 1 == at => range.last = at,
                _ => ranges.push(IovaRange { first: at, last: at }),
            }
        }
        let (mut ledger, mut model) = (Ledger::default(), [None; BYTES]);
        let mut keys = Vec::new();
        for step in steps {
            match step {
                Step::Insert(range) => {
                    let taken = model[bytes(range)].iter().rev().flatten().next().copied();
                    let found = ledger.overlap(range);
                    prop_assert_eq!(found.map(|mapping| mapping.range.first), taken);
                    if taken.is_none() {
                        keys.push((range, ledger.insert(range, ACCESS, None)));
                        model[bytes(range)].fill(Some(range.first));
                    }
                }
                Step::Remove(range) => {
                    let inside = |first: u64| {
                        let whole = model.iter().filter(|owner| **owner == Some(first)).count();
                        let part = model[bytes(range)].iter().filter(|owner| **owner == Some(first));
                        part.count() == whole
                    };
                    let mut touched: Vec<_> = model[bytes(range)].iter().flatten().copied().collect();
                    touched.dedup();
                    let split = ledger.split(range).map(|mapping| mapping.range.first);
                    prop_assert_eq!(split.is_some(), touched.iter().any(|first| !inside(*first)));
                    prop_assert!(split.is_none_or(|first| !inside(first)));
                    let within: Vec<_> =
                        ledger.within(range).iter().map(|mapping| mapping.range.first).collect();
                    touched.retain(|first| inside(*first));
                    prop_assert_eq!(&within, &touched);
                    for first in within {
                        ledger.remove(first);
                        model.iter_mut().filter(|owner| **owner == Some(first)).for_each(|owner| *owner = None);
                        keys.retain(|(range, _)| range.first != first);
                    }
                }
                Step::Room { length, alignment, highest } => {
                    let place = ledger.room(&ranges, length, alignment, highest);
                    let expected = lowest(&model, &ranges, length, alignment, highest);
                    prop_assert_eq!(place.map(|place| place.first), expected);
                    if let Some(place) = place {
                        keys.push((place, ledger.insert(place, ACCESS, None)));
                        model[bytes(place)].fill(Some(place.first));
                    }
                }
            }
            let mapped = model.iter().flatten().count() as u64;
            prop_assert_eq!((ledger.bytes(), ledger.len()), (mapped, keys.len()));
            prop_assert!(keys.iter().all(|(range, key)| ledger.has(range.first, *key)));
        }
    }
}

#[test]
fn room_is_found_at_the_ends_of_a_64_bit_space() {
    let mut ledger = Ledger::default();
    let all = [IovaRange::ALL];
    assert_eq!(ledger.room(&all, 0x1000, 0x1000, u64::MAX).map(|place| place.first), Some(0x1000));
    let top = IovaRange { first: u64::MAX - 0xfff, last: u64::MAX };
    assert_eq!(ledger.room(&[top], 0x1000, 0x1000, u64::MAX), Some(top));
    ledger.insert(top, ACCESS, None);
    assert_eq!(ledger.room(&[top], 1, 1, u64::MAX), None);
    assert_eq!(ledger.room(&all, u64::MAX - 0xfff, 1, u64::MAX), None);
    assert_eq!(
        ledger.room(&all, 0x1000, 1 << 63, u64::MAX).map(|place| place.first),
        Some(1 << 63)
    );
}
