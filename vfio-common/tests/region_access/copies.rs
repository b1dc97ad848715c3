//! Copies across mapped and trapped parts, against a model in a vector.

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::io::Errno;
use vfio_common::region::{Region, RegionError, Register};

use crate::backend::{Behaviour, Call, INDEX, Setup, holey, pages, start};

#[derive(Debug, Clone)]
enum Operation {
    Read { width: usize, offset: u64, length: usize },
    Write { width: usize, offset: u64, bytes: Vec<u8> },
}

/// Offsets near the ends of the parts and of the region, and anywhere.
fn offset() -> impl Strategy<Value = u64> {
    let edge = (0..8u64, -20..20i64);
    prop_oneof![
        8 => edge.prop_map(|(page, near)| pages(page).saturating_add_signed(near)),
        4 => 0..pages(7),
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = usize> {
    let most = usize::try_from(pages(4)).unwrap();
    prop_oneof![4 => 0..40usize, 1 => 0..most]
}

/// Bytes (width 0) or units.
fn width() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(4), 1 => Just(8)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let whole = |width: usize, length: usize| length - length % width.max(1);
    let aligned = (width(), offset(), any::<bool>()).prop_map(|(width, offset, align)| {
        (width, if align { offset - offset % width.max(1) as u64 } else { offset })
    });
    (aligned, length(), any::<u8>(), any::<bool>()).prop_map(
        move |((width, offset), length, seed, write)| {
            let length = whole(width, length);
            if !write {
                return Operation::Read { width, offset, length };
            }
            let bytes = (0u8..=250).cycle().map(|byte| byte.wrapping_add(seed)).take(length);
            Operation::Write { width, offset, bytes: bytes.collect() }
        },
    )
}

fn read_units<T: Register + Default>(
    region: &Region,
    offset: u64,
    bytes: &mut [u8],
    little: impl Fn(T) -> Vec<u8>,
) -> Result<(), RegionError> {
    let mut units = vec![T::default(); bytes.len() / size_of::<T>()];
    region.read_units(offset, &mut units)?;
    bytes.copy_from_slice(&units.into_iter().flat_map(little).collect::<Vec<_>>());
    Ok(())
}

fn read(region: &Region, width: usize, at: u64, bytes: &mut [u8]) -> Result<(), RegionError> {
    match width {
        0 => region.read_bytes(at, bytes),
        1 => read_units(region, at, bytes, |unit: u8| unit.to_le_bytes().to_vec()),
        2 => read_units(region, at, bytes, |unit: u16| unit.to_le_bytes().to_vec()),
        4 => read_units(region, at, bytes, |unit: u32| unit.to_le_bytes().to_vec()),
        _ => read_units(region, at, bytes, |unit: u64| unit.to_le_bytes().to_vec()),
    }
}

fn write(region: &Region, width: usize, at: u64, bytes: &[u8]) -> Result<(), RegionError> {
    fn units<const N: usize, T>(bytes: &[u8], unit: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| unit(*chunk)).collect()
    }
    match width {
        0 => region.write_bytes(at, bytes),
        1 => region.write_units(at, &units(bytes, u8::from_le_bytes)),
        2 => region.write_units(at, &units(bytes, u16::from_le_bytes)),
        4 => region.write_units(at, &units(bytes, u32::from_le_bytes)),
        _ => region.write_units(at, &units(bytes, u64::from_le_bytes)),
    }
}

fn is_trapped(offset: u64) -> bool {
    matches!(offset / pages(1), 0 | 2 | 5)
}

/// What the calls of one copy are to be: one for each trapped unit, or for each trapped stretch.
fn expected_calls(width: usize, offset: u64, length: usize) -> Vec<(u64, usize)> {
    let end = offset + length as u64;
    if width > 0 {
        let units = (offset..end).step_by(width).filter(|at| is_trapped(*at));
        return units.map(|at| (start() + at, width)).collect();
    }
    let holes = [0, 2, 5].map(|page| (pages(page).max(offset), pages(page + 1).min(end)));
    let met = holes.into_iter().filter(|(from, to)| from < to);
    met.map(|(from, to)| (start() + from, usize::try_from(to - from).unwrap())).collect()
}

/// Whether the copy is done, or which error it is refused with.
fn check(
    done: &Result<(), RegionError>,
    width: usize,
    offset: u64,
    length: usize,
    size: usize,
) -> Result<bool, TestCaseError> {
    let inside = u128::from(offset) + length as u128 <= size as u128;
    let aligned = length == 0 || offset.is_multiple_of(width.max(1) as u64);
    let right = match done {
        Ok(()) => inside && aligned,
        Err(RegionError::OutOfRange { .. }) => !inside,
        Err(RegionError::Misaligned { .. }) => inside && !aligned,
        Err(_) => false,
    };
    prop_assert!(right, "{:?} for {} bytes at {:#x} by {}", done, length, offset, width);
    Ok(done.is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn copies_equal_those_of_a_vector_and_make_the_fewest_calls(
        operations in vec(operation(), 1..24),
    ) {
        let (setup, region) = Setup::of_region("copies", holey());
        let size = usize::try_from(region.size()).unwrap();
        let around = usize::try_from(start()).unwrap();
        let noise: Vec<u8> = (0u8..=252).cycle().take(size + 2 * around).collect();
        setup.poke(0, &noise);
        let mut model = noise[around..around + size].to_vec();
        setup.calls();
        for operation in operations {
            let (width, offset, length, kind): (_, _, _, fn(u64, usize) -> Call) =
                match &operation {
                    Operation::Read { width, offset, length } => {
                        (*width, *offset, *length, Call::Read)
                    }
                    Operation::Write { width, offset, bytes } => {
                        (*width, *offset, bytes.len(), Call::Write)
                    }
                };
            let (done, copied) = match operation {
                Operation::Read { .. } => {
                    let mut bytes = vec![0x77; length];
                    let done = read(&region, width, offset, &mut bytes);
                    (done, bytes)
                }
                Operation::Write { bytes, .. } => (write(&region, width, offset, &bytes), bytes),
            };
            if !check(&done, width, offset, length, size)? {
                prop_assert_eq!(setup.calls(), []);
                continue;
            }
            let calls = expected_calls(width, offset, length);
            let calls: Vec<_> = calls.into_iter().map(|(at, width)| kind(at, width)).collect();
            prop_assert_eq!(setup.calls(), calls);
            let place = usize::try_from(offset).unwrap();
            if kind(0, 0) == Call::Write(0, 0) {
                model[place..place + length].copy_from_slice(&copied);
            }
            prop_assert_eq!(&model[place..place + length], &copied[..]);
        }
        let now = setup.peek(0, noise.len());
        prop_assert_eq!(&now[around..around + size], &model[..]);
        prop_assert_eq!(&now[..around], &noise[..around], "before the region");
        prop_assert_eq!(&now[around + size..], &noise[around + size..], "behind the region");
    }
}

#[test]
fn units_before_a_failed_one_are_done_and_none_behind_it() {
    let failing = Behaviour { error: Some(Errno::IO), ..Behaviour::new([holey()]) };
    let setup = Setup::new("midway", failing);
    let region = setup.device.region(INDEX).unwrap();
    setup.poke(start() + pages(2) - 4, &[1, 2, 3, 4, 5, 6, 7, 8]);
    setup.calls();
    let mut units = [0x7777u16; 4];
    let error = region.read_units(pages(2) - 4, &mut units).unwrap_err();
    assert!(matches!(error, RegionError::Io { length: 2, .. }), "{error}");
    assert_eq!(units, [0x0201, 0x0403, 0x7777, 0x7777]);
    region.write_units(pages(2) - 4, &[0xbbaa_u16; 4]).unwrap_err();
    assert_eq!(setup.peek(start() + pages(2) - 4, 8), [0xaa, 0xbb, 0xaa, 0xbb, 5, 6, 7, 8]);
    let at = start() + pages(2);
    assert_eq!(setup.calls(), [Call::Read(at, 2), Call::Write(at, 2)], "and no further one");
}
