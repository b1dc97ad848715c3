//! Windows: where they may be opened, what they refuse, and what they keep alive.

use proptest::prelude::*;
use vfio_common::Mapping;
use vfio_common::region::{Area, RegionError, RegionFlags, RegionInfo, Window};

use crate::backend::{Behaviour, INDEX, MAPPABLE, Setup, holey, pages, start};

#[test]
fn a_window_lies_in_one_mapped_part_and_has_bytes() {
    let (setup, region) = Setup::of_region("places", holey());
    setup.calls();
    let not_mapped = [
        (pages(1) - 1, pages(2), "starts in a hole"),
        (pages(1), pages(2) + 1, "ends in a hole"),
        (pages(1), pages(4), "over a hole"),
        (0, 8, "in a hole"),
        (pages(5), pages(6) + 8, "from a hole into a part"),
        (pages(1), pages(1), "empty, at a part's start"),
        (pages(1) + 8, pages(1) + 8, "empty, in a part"),
        (pages(2), pages(2), "empty, at a part's end"),
        (pages(6) + 0x104, pages(6) + 0x104, "empty, at the region's end"),
        (pages(1) + 8, pages(1), "reversed"),
        (0, 0, "empty, in a hole"),
    ];
    for (from, to, what) in not_mapped {
        let error = region.window(from..to).unwrap_err();
        assert!(matches!(error, RegionError::NotMapped { .. }), "{what}: {error}");
    }
    let outside = [
        (pages(6), pages(6) + 0x105, "past the region's end"),
        (pages(7), pages(7) + 8, "behind the region"),
        (pages(7), pages(7), "empty, behind the region"),
        (0, u64::MAX, "as long as can be"),
        (u64::MAX - 8, u64::MAX, "far away"),
        (u64::MAX, 0, "reversed and far away"),
    ];
    for (from, to, what) in outside {
        let error = region.window(from..to).unwrap_err();
        assert!(matches!(error, RegionError::OutOfRange { .. }), "{what}: {error}");
    }
    for (from, to) in [(pages(1), pages(2)), (pages(3) + 1, pages(5)), (pages(6), pages(6) + 0x104)]
    {
        let window = region.window(from..to).unwrap();
        assert_eq!(window.len() as u64, to - from);
        assert!(window.is_writable());
    }
    assert_eq!(setup.calls(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_access_is_done_when_it_is_inside_and_aligned_in_the_region_and_makes_no_call(
        from in pages(3)..pages(3) + 32,
        length in 1..64u64,
        at in prop_oneof![4 => 0..70usize, 1 => usize::MAX - 8..=usize::MAX],
        value in any::<u64>(),
    ) {
        let (setup, region) = Setup::of_region("window", holey());
        let window = region.window(from..from + length).unwrap();
        setup.poke(start() + pages(3), &[0x5a; 256]);
        let before = setup.peek(start() + pages(3), 256);
        setup.calls();
        let bytes = value.to_le_bytes();
        let [a, b, c, d, ..] = bytes;
        let (v16, v32) = (u16::from_le_bytes([a, b]), u32::from_le_bytes([a, b, c, d]));
        let done = [
            (1, window.try_write8(at, a).is_ok(), window.try_read8(at).ok() == Some(a)),
            (2, window.try_write16(at, v16).is_ok(), window.try_read16(at).ok() == Some(v16)),
            (4, window.try_write32(at, v32).is_ok(), window.try_read32(at).ok() == Some(v32)),
            (8, window.try_write64(at, value).is_ok(), window.try_read64(at).ok() == Some(value)),
        ];
        let mut expected = before;
        for (width, written, read) in done {
            let inside = at.checked_add(width).is_some_and(|end| end as u64 <= length);
            let right = inside && (from + at as u64).is_multiple_of(width as u64);
            prop_assert_eq!((written, read), (right, right), "{} bytes at {:#x}", width, at);
            if right {
                let place = usize::try_from(from - pages(3)).unwrap() + at;
                expected[place..place + width].copy_from_slice(&bytes[..width]);
            }
        }
        prop_assert_eq!(setup.peek(start() + pages(3), 256), expected);
        prop_assert_eq!(setup.calls(), []);
    }
}

#[test]
fn an_access_over_the_windows_end_is_refused() {
    let (setup, region) = Setup::of_region("window end", holey());
    let window = region.window(pages(1)..pages(1) + 6).unwrap();
    assert!(window.try_read8(5).is_ok() && window.try_write8(5, 1).is_ok());
    assert!(window.try_read16(4).is_ok() && window.try_write16(4, 1).is_ok());
    assert!(window.try_read8(6).is_err() && window.try_write8(6, 1).is_err());
    assert!(window.try_read32(4).is_err() && window.try_write32(4, u32::MAX).is_err());
    assert!(window.try_read64(0).is_err() && window.try_write64(0, u64::MAX).is_err());
    assert_eq!(setup.peek(start() + pages(1), 8), [0, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_window_of_a_read_only_region_reads_and_refuses_writes() {
    let flags = RegionFlags::READ | RegionFlags::MMAP;
    let (setup, region) = Setup::of_region("r/o window", RegionInfo { flags, ..holey() });
    setup.poke(start() + pages(1), &[1, 2, 3, 4]);
    let window = region.window(pages(1)..pages(2)).unwrap();
    assert!(!window.is_writable());
    assert_eq!(window.try_read32(0).unwrap(), 0x0403_0201);
    let error = window.try_write32(0, 7).unwrap_err();
    assert!(error.to_string().contains("is read-only"), "{error}");
    assert_eq!(setup.peek(start() + pages(1), 4), [1, 2, 3, 4]);

    let fixed = region.fixed_window::<8>(pages(1)).unwrap_err();
    assert!(matches!(fixed, RegionError::NotAllowed { write: true, .. }), "{fixed}");
}

#[test]
fn a_fixed_window_reads_and_writes_its_constants() {
    let (setup, region) = Setup::of_region("fixed", holey());
    let window = region.fixed_window::<0x20>(pages(3) + 8).unwrap();
    setup.calls();
    let at = start() + pages(3) + 8;
    window.write8::<0x1f>(0xab);
    window.write16::<0x1a>(0x0102);
    window.write32::<0x4>(0x0304_0506);
    window.write64::<0x8>(0x0708_090a_0b0c_0d0e);
    assert_eq!(setup.peek(at + 0x1f, 1), [0xab]);
    assert_eq!(setup.peek(at + 0x1a, 2), [2, 1]);
    assert_eq!(setup.peek(at + 0x4, 4), [6, 5, 4, 3]);
    assert_eq!(setup.peek(at + 0x8, 8), [0xe, 0xd, 0xc, 0xb, 0xa, 9, 8, 7]);
    assert_eq!(window.read8::<0x1f>(), 0xab);
    assert_eq!(window.read16::<0x1a>(), 0x0102);
    assert_eq!(window.read32::<0x4>(), 0x0304_0506);
    assert_eq!(window.read64::<0x8>(), 0x0708_090a_0b0c_0d0e);
    assert_eq!(window.try_read32(0x4).unwrap(), 0x0304_0506);
    assert!(window.try_read8(0x20).is_err());
    assert_eq!(window.len(), 0x20);
    assert_eq!(setup.calls(), []);
}

#[test]
fn a_fixed_window_is_mapped_aligned_and_inside() {
    let (_setup, region) = Setup::of_region("fixed places", holey());
    for at in [pages(3) + 1, pages(3) + 4, pages(4) + 7] {
        let error = region.fixed_window::<8>(at).unwrap_err();
        assert!(matches!(error, RegionError::Misaligned { width: 8, .. }), "{error}");
    }
    for at in [0, pages(2) - 8, pages(5)] {
        let error = region.fixed_window::<16>(at).unwrap_err();
        assert!(matches!(error, RegionError::NotMapped { .. }), "{error}");
    }
    for at in [pages(6) + 0xf8, pages(7), u64::MAX - 7, u64::MAX] {
        let error = region.fixed_window::<16>(at).unwrap_err();
        assert!(matches!(error, RegionError::OutOfRange { .. }), "{error}");
    }
    let empty = region.fixed_window::<0>(pages(3)).unwrap_err();
    assert!(matches!(empty, RegionError::NotMapped { .. }), "{empty}");
    assert!(region.fixed_window::<16>(pages(2) - 16).is_ok());
    assert!(region.fixed_window::<0x100>(pages(6)).is_ok());
}

#[test]
fn a_fixed_window_never_has_fewer_bytes_than_it_says() {
    // The region reaches as far as 64 bits can say, and the windows' ends pass that.
    let last_page = u64::MAX - (pages(1) - 1);
    let mut info = RegionInfo::new(INDEX, MAPPABLE, u64::MAX, 0);
    info.sparse = Some(vec![Area { offset: last_page, size: pages(1) - 1 }]);
    let map = |file: &_, _, length, protection| Mapping::new(file, 0, length, protection);
    let setup = Setup::new("wrapping", Behaviour { map, ..Behaviour::new([info]) });
    let region = setup.device.region(INDEX).unwrap();
    assert!(region.fixed_window::<16>(u64::MAX - 15).is_err());
    assert!(region.fixed_window::<8>(u64::MAX - 7).is_err());
    assert_eq!(region.fixed_window::<8>(u64::MAX - 15).unwrap().len(), 8);
}

#[test]
fn a_window_alone_keeps_its_mapping_and_the_device() {
    let (setup, region) = Setup::of_region("alive", holey());
    let watch = setup.watch();
    setup.poke(start() + pages(4), &[0x11, 0x22, 0x33, 0x44]);
    let window = region.window(pages(4)..pages(5)).unwrap();
    drop((setup, region));
    assert!(watch.is_open());
    assert_eq!(window.try_read32(0).unwrap(), 0x4433_2211);

    let copy = window.clone();
    drop(window);
    assert_eq!(copy.try_read32(0).unwrap(), 0x4433_2211);
    let fixed: Window<8> = copy.region().fixed_window(pages(4)).unwrap();
    drop(copy);
    assert_eq!(fixed.read32::<0>(), 0x4433_2211);
    assert!(watch.is_open());
    drop(fixed);
    assert!(!watch.is_open());
    assert_eq!(watch.mappings(), 0);
}

#[test]
fn a_region_alone_keeps_the_device_and_lets_go_of_it_with_its_mappings() {
    let (setup, region) = Setup::of_region("region alive", holey());
    let watch = setup.watch();
    drop(setup);
    assert!(watch.is_open());
    assert!(region.read32(0).is_ok(), "the descriptor is still open");
    assert_eq!(watch.mappings(), 3);
    drop(region);
    assert!(!watch.is_open());
    assert_eq!(watch.mappings(), 0);
}

#[test]
fn a_window_can_be_used_by_several_threads() {
    let (setup, region) = Setup::of_region("threads", holey());
    let window = region.window(pages(1)..pages(2)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let window = &window;
            scope.spawn(move || window.try_write8(thread.into(), thread + 1));
        }
    });
    assert_eq!(setup.peek(start() + pages(1), 4), [1, 2, 3, 4]);
}
