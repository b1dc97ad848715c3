//! Accesses to single registers.

use proptest::prelude::*;
use rustix::io::Errno;
use vfio_common::region::{Path, Region, RegionError, RegionFlags, RegionInfo, Register};

use crate::backend::{Behaviour, Call, INDEX, READ_WRITE, Setup, holey, pages, start};

/// What the region says of an access of each width: reads, then writes.
fn all_widths(region: &Region, path: Path, offset: u64) -> Vec<(u64, RegionError)> {
    fn of<T: Register + From<u8>>(
        region: &Region,
        path: Path,
        offset: u64,
    ) -> [(u64, Option<RegionError>); 2] {
        let width = size_of::<T>() as u64;
        let read = region.read_via::<T>(path, offset).err();
        [(width, read), (width, region.write_via(path, offset, T::from(0)).err())]
    }
    let all = [
        of::<u8>(region, path, offset),
        of::<u16>(region, path, offset),
        of::<u32>(region, path, offset),
        of::<u64>(region, path, offset),
    ];
    let all = all.into_iter().flatten();
    all.map(|(width, error)| (width, error.unwrap_or_else(|| panic!("{width} at {offset:#x}"))))
        .collect()
}

/// Writes one way and reads the other, and looks at the bytes and at the calls.
fn agree<T>(setup: &Setup, region: &Region, at: u64, value: T, bytes: &[u8])
where
    T: Register + PartialEq,
{
    let (width, at) = (bytes.len(), at - at % bytes.len() as u64);
    let file = start() + at;
    for (write, read) in [(Path::Mapped, Path::Trapped), (Path::Trapped, Path::Mapped)] {
        setup.poke(file, &vec![0x5a; width]);
        setup.calls();
        region.write_via(write, at, value).unwrap();
        assert_eq!(setup.peek(file, width), bytes, "{write:?} at {at:#x}");
        assert_eq!(region.read_via::<T>(read, at).unwrap(), value, "{read:?} at {at:#x}");
        let trapped = if write == Path::Trapped { Call::Write } else { Call::Read };
        assert_eq!(setup.calls(), [trapped(file, width)], "{write:?} and {read:?} at {at:#x}");
    }
    assert_eq!(region.read::<T>(at).unwrap(), value);
    assert_eq!(setup.calls(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_ways_agree_with_each_other_and_with_the_bytes_at_each_width(
        at in prop_oneof![pages(1)..pages(2), pages(3)..pages(5), pages(6)..pages(6) + 0x100],
        value in any::<u64>(),
    ) {
        let (setup, region) = Setup::of_region("agree", holey());
        let bytes = value.to_le_bytes();
        let [a, b, c, d, ..] = bytes;
        agree(&setup, &region, at, a, &[a]);
        agree(&setup, &region, at, u16::from_le_bytes([a, b]), &[a, b]);
        agree(&setup, &region, at, u32::from_le_bytes([a, b, c, d]), &[a, b, c, d]);
        agree(&setup, &region, at, value, &bytes);
    }

    #[test]
    fn a_native_register_has_the_hosts_byte_order_on_both_ways(
        page in 0..6u64,
        at in (0..pages(1)).prop_map(|at| at & !7),
        value in any::<u64>(),
    ) {
        let (setup, region) = Setup::of_region("native", holey());
        let at = pages(page) + at;
        region.write_native(at, value).unwrap();
        prop_assert_eq!(setup.peek(start() + at, 8), value.to_ne_bytes());
        prop_assert_eq!(region.read_native::<u64>(at).unwrap(), value);
    }

    #[test]
    fn an_access_that_is_not_aligned_or_not_inside_reaches_nothing(
        at in prop_oneof![
            any::<u64>(),
            u64::MAX - 16..=u64::MAX,
            pages(6) + 0xf8..pages(6) + 0x114,
            0..64u64,
        ],
        path in prop_oneof![Just(Path::Auto), Just(Path::Mapped), Just(Path::Trapped)],
    ) {
        let (setup, region) = Setup::of_region("refused", holey());
        let size = region.size();
        setup.calls();
        let mut expected = Vec::new();
        let mut refuse = |width: u64, error: Option<RegionError>| {
            let inside = u128::from(at) + u128::from(width) <= u128::from(size);
            match error {
                Some(RegionError::Misaligned { offset, width: told, .. }) => {
                    assert_eq!((offset, told as u64), (at, width));
                    assert_ne!(at % width, 0);
                }
                Some(RegionError::OutOfRange { offset, length, size: told, .. }) => {
                    assert!(at.is_multiple_of(width) && !inside, "{width} bytes at {at:#x}");
                    assert_eq!((offset, length, told), (at, width, size));
                }
                other => {
                    assert!(at.is_multiple_of(width) && inside, "{width} at {at:#x}: {other:?}");
                    let to_file = path == Path::Trapped || path == Path::Auto && at < pages(1);
                    expected.extend(to_file.then(|| usize::try_from(width).unwrap()));
                }
            }
        };
        refuse(1, region.read_via::<u8>(path, at).err());
        refuse(2, region.read_via::<u16>(path, at).err());
        refuse(4, region.read_via::<u32>(path, at).err());
        refuse(8, region.read_via::<u64>(path, at).err());
        let expected: Vec<_> =
            expected.into_iter().map(|width| Call::Read(start() + at, width)).collect();
        prop_assert_eq!(setup.calls(), expected);
    }
}

#[test]
fn mapped_accesses_make_no_call_and_trapped_ones_one_of_their_width_and_place() {
    let (setup, region) = Setup::of_region("calls", holey());
    setup.calls();
    for (page, mapped) in [(0, false), (1, true), (2, false), (3, true), (4, true), (5, false)] {
        for at in [pages(page), pages(page) + 8, pages(page + 1) - 8] {
            region.write8(at, 1).unwrap();
            region.write16(at, 1).unwrap();
            region.write32(at, 1).unwrap();
            region.write64(at, 1).unwrap();
            region.read8(at).unwrap();
            region.read16(at).unwrap();
            region.read32(at).unwrap();
            region.read64(at).unwrap();
            let widths = if mapped { &[][..] } else { &[1, 2, 4, 8] };
            let file = start() + at;
            let writes = widths.iter().map(|width| Call::Write(file, *width));
            let reads = widths.iter().map(|width| Call::Read(file, *width));
            assert_eq!(setup.calls(), writes.chain(reads).collect::<Vec<_>>(), "at {at:#x}");
        }
    }
}

#[test]
fn the_mapped_way_is_taken_or_refused() {
    let (setup, region) = Setup::of_region("mapped way", holey());
    setup.calls();
    for at in [0, pages(1) - 8, pages(2), pages(5)] {
        for (width, error) in all_widths(&region, Path::Mapped, at) {
            let RegionError::NotMapped { index: INDEX, offset, length, .. } = error else {
                panic!("{error}");
            };
            assert_eq!((offset, length), (at, width));
        }
    }
    assert_eq!(setup.calls(), []);
}

#[test]
fn offsets_near_the_end_of_64_bits_are_out_of_range_on_each_way() {
    let (setup, region) = Setup::of_region("far", holey());
    setup.calls();
    for path in [Path::Auto, Path::Mapped, Path::Trapped] {
        for at in [u64::MAX - 7, u64::MAX - 15, 1 << 63, region.size().next_multiple_of(8)] {
            for (_, error) in all_widths(&region, path, at) {
                assert!(matches!(error, RegionError::OutOfRange { .. }), "{error}");
            }
        }
    }
    assert_eq!(setup.calls(), []);
}

#[test]
fn the_last_register_of_a_region_is_in_it_and_a_wider_one_is_not() {
    let (_setup, region) = Setup::of_region("last", RegionInfo::new(0, READ_WRITE, 0xff, 0));
    assert!(region.read8(0xfe).is_ok());
    assert!(region.read16(0xfc).is_ok());
    assert!(region.read8(0xff).is_err());
    assert!(region.read16(0xfe).is_err());
    assert!(region.read32(0xfc).is_err());
    assert!(region.read64(0xf8).is_err());
}

#[test]
fn what_the_flags_do_not_allow_reaches_nothing() {
    let only = |name, flags, sparse: bool| {
        let mut info = RegionInfo { flags, ..holey() };
        info.sparse = info.sparse.filter(|_| sparse);
        let (setup, region) = Setup::of_region(name, info);
        setup.calls();
        (setup, region)
    };
    let (setup, region) = only("read-only", RegionFlags::READ | RegionFlags::MMAP, true);
    for path in [Path::Auto, Path::Trapped] {
        for at in [0, pages(1)] {
            let written = region.write_via(path, at, 1u32).unwrap_err();
            assert!(matches!(written, RegionError::NotAllowed { write: true, .. }), "{written}");
        }
    }
    assert!(region.write_bytes(0, &[1]).is_err());
    assert!(region.write_units(pages(1), &[1u16]).is_err());
    assert_eq!(setup.calls(), []);
    assert_eq!(region.read32(pages(1)).unwrap(), 0, "and it can be read");

    let (setup, region) = only("write-only", RegionFlags::WRITE | RegionFlags::MMAP, false);
    for path in [Path::Auto, Path::Trapped] {
        let read = region.read_via::<u32>(path, 0).unwrap_err();
        assert!(matches!(read, RegionError::NotAllowed { write: false, .. }), "{read}");
    }
    assert!(region.read_bytes(0, &mut [1]).is_err());
    assert!(region.read_units(0, &mut [1u16]).is_err());
    assert_eq!(setup.calls(), []);
    region.write32(0, 0x0102_0304).unwrap();
    assert_eq!(setup.peek(start(), 4), [4, 3, 2, 1]);
    assert_eq!(setup.calls(), [Call::Write(start(), 4)], "nothing is mapped for writing only");
}

#[test]
fn a_short_count_is_an_error_that_says_how_much_was_done() {
    for most in [0, 1, 3] {
        let setup = Setup::new("short", Behaviour { most, ..Behaviour::new([holey()]) });
        let region = setup.device.region(INDEX).unwrap();
        let errors = [
            region.read32(8).unwrap_err(),
            region.write32(8, 1).unwrap_err(),
            region.read_bytes(8, &mut [0; 4]).unwrap_err(),
            region.write_bytes(8, &[0; 4]).unwrap_err(),
            region.read_units(8, &mut [0u32]).unwrap_err(),
            region.write_units(8, &[0u32]).unwrap_err(),
        ];
        for error in errors {
            let RegionError::Short { offset: 8, length: 4, done, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(done, most);
        }
        assert!(region.read32(pages(1)).is_ok(), "a mapped access has no count");
    }
}

#[test]
fn an_error_of_the_device_is_the_source_of_the_accesss_error() {
    for (errno, hint) in [(Errno::IO, true), (Errno::FAULT, false)] {
        let error = Some(errno);
        let setup = Setup::new("failing", Behaviour { error, ..Behaviour::new([holey()]) });
        let region = setup.device.region(INDEX).unwrap();
        let failed = [(false, region.read64(0)), (true, region.write64(0, 1).map(|()| 0))];
        for (written, failed) in failed {
            let failed = failed.unwrap_err();
            assert_eq!(failed.to_string().contains("memory decoding"), hint, "{failed}");
            let RegionError::Io { write, source, length: 8, .. } = failed else {
                panic!("{failed}");
            };
            assert_eq!((write, source.raw_os_error()), (written, Some(errno.raw_os_error())));
        }
    }
}

#[test]
fn a_place_in_the_devices_file_that_passes_64_bits_is_an_error_and_no_call() {
    let info = RegionInfo::new(INDEX, READ_WRITE, 0x1000, u64::MAX - 0xff);
    let (setup, region) = Setup::of_region("overflow", info);
    let (read, written) = (region.read32(0x100), region.write32(0x100, 1));
    for error in [read.unwrap_err(), written.unwrap_err()] {
        assert!(matches!(error, RegionError::Io { offset: 0x100, .. }), "{error}");
    }
    assert!(region.read_bytes(0xfff, &mut [0]).is_err());
    assert_eq!(setup.calls(), []);
}
