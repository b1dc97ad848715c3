//! What of a region gets mapped, and what happens where it cannot be.

use std::fs::File;
use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use vfio_common::region::{Area, Refusal, RegionError, RegionFlags, RegionInfo};
use vfio_common::{Mapping, Protection, page_size};

use crate::backend::{
    Behaviour, Call, INDEX, MAPPABLE, Mapper, READ_WRITE, Setup, holey, pages, start,
};

fn whole_pages(count: u64) -> usize {
    usize::try_from(pages(count)).unwrap()
}

fn with_mapper(name: &str, map: Mapper) -> Setup {
    Setup::new(name, Behaviour { map, ..Behaviour::new([holey()]) })
}

#[test]
fn each_sparse_part_is_mapped_once_in_whole_pages_where_the_kernel_says() {
    let (setup, region) = Setup::of_region("parts", holey());
    let map =
        |page, count| Call::Map(start() + pages(page), whole_pages(count), Protection::ReadWrite);
    assert_eq!(setup.calls(), [map(1, 1), map(3, 2), map(6, 1)]);
    let parts: Vec<_> = region.mapped().collect();
    let area = |page, size| Area { offset: pages(page), size };
    assert_eq!(parts, [area(1, pages(1)), area(3, pages(2)), area(6, 0x104)]);
    assert!(region.unmapped().is_empty());
    assert_eq!(setup.watch().mappings(), 3);
}

#[test]
fn protection_follows_the_regions_flags() {
    for (flags, expected) in [
        (MAPPABLE, Protection::ReadWrite),
        (RegionFlags::READ | RegionFlags::MMAP, Protection::Read),
    ] {
        let info = RegionInfo::new(INDEX, flags, pages(1), start());
        let (setup, _region) = Setup::of_region("protection", info);
        assert_eq!(setup.calls(), [Call::Map(start(), whole_pages(1), expected)]);
    }
    for flags in [READ_WRITE, RegionFlags::WRITE | RegionFlags::MMAP] {
        let info = RegionInfo::new(INDEX, flags, pages(1), start());
        let (setup, region) = Setup::of_region("protection", info);
        assert_eq!(setup.calls(), []);
        assert_eq!(region.mapped().len(), 0);
    }
}

#[test]
fn is_mapped_is_true_within_one_part_only() {
    let (_setup, region) = Setup::of_region("is mapped", holey());
    let inside = [(pages(1), pages(2)), (pages(3), pages(5)), (pages(6), pages(6) + 0x104)];
    for (from, to) in inside {
        assert!(region.is_mapped(from..to));
        assert!(region.is_mapped(from..from + 1) && region.is_mapped(to - 1..to));
        assert!(!region.is_mapped(from - 1..to) && !region.is_mapped(from..to + 1));
    }
    assert!(!region.is_mapped(pages(1)..pages(4)), "over a hole");
    assert!(!region.is_mapped(u64::MAX - 1..u64::MAX));
}

#[test]
fn a_failed_mapping_leaves_the_descriptor_and_the_reason() {
    let setup = with_mapper("no mapping", |_, _, _, _| Err(Errno::NODEV.into()));
    let region = setup.device.region(INDEX).unwrap();
    assert_eq!(region.mapped().len(), 0);
    let unmapped: Vec<_> =
        region.unmapped().iter().map(|(area, why)| (area.offset, why.raw_os_error())).collect();
    let why = Some(Errno::NODEV.raw_os_error());
    assert_eq!(unmapped, [(pages(1), why), (pages(3), why), (pages(6), why)]);
    setup.calls();
    region.write32(pages(1), 7).unwrap();
    assert_eq!(region.read32(pages(1)).unwrap(), 7);
    let at = start() + pages(1);
    assert_eq!(setup.calls(), [Call::Write(at, 4), Call::Read(at, 4)]);
}

#[test]
fn one_part_that_fails_does_not_take_the_others_with_it() {
    let setup = with_mapper("one fails", |file, offset, length, protection| {
        if length == whole_pages(2) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Mapping::new(file, offset, length, protection)
    });
    let region = setup.device.region(INDEX).unwrap();
    assert_eq!(region.mapped().map(|area| area.offset).collect::<Vec<_>>(), [pages(1), pages(6)]);
    assert_eq!(region.unmapped().len(), 1);
    setup.calls();
    for (page, calls) in [(1, 0), (3, 1), (4, 1), (6, 0)] {
        region.read8(pages(page)).unwrap();
        assert_eq!(setup.calls().len(), calls, "page {page}");
    }
}

#[test]
fn a_mapping_shorter_than_asked_for_is_not_used() {
    let setup = with_mapper("short mapping", |file, offset, length, protection| {
        Mapping::new(file, offset, length.min(0x100), protection)
    });
    let region = setup.device.region(INDEX).unwrap();
    assert_eq!(region.mapped().len(), 0);
    assert_eq!(region.unmapped().len(), 3);
    setup.poke(start() + pages(4), &[9]);
    assert_eq!(region.read8(pages(4)).unwrap(), 9, "through the descriptor");
    assert!(region.window(pages(3)..pages(3) + 0x10).is_err());
    assert_eq!(setup.watch().mappings(), 0, "it is given back");
}

#[test]
fn a_mapping_longer_than_asked_for_is_used_up_to_the_parts_end() {
    let setup = with_mapper("long mapping", |file, offset, length, protection| {
        Mapping::new(file, offset, length + whole_pages(3), protection)
    });
    let region = setup.device.region(INDEX).unwrap();
    let last = region.window(pages(1)..pages(2)).unwrap();
    assert_eq!(last.len(), whole_pages(1));
    assert!(last.try_read8(whole_pages(1)).is_err());
    setup.calls();
    region.read8(pages(2)).unwrap();
    assert_eq!(setup.calls(), [Call::Read(start() + pages(2), 1)]);
    assert!(region.read8(pages(6) + 0x104).is_err());
}

#[test]
fn a_refused_part_says_why_and_is_reached_through_the_descriptor() {
    let mut info = holey();
    info.sparse = Some(vec![Area { offset: 0x10, size: pages(1) }, Area { offset: 0, size: 0 }]);
    let (setup, region) = Setup::of_region("refused parts", info);
    let why: Vec<_> = region
        .unmapped()
        .iter()
        .map(|(area, why)| (area.offset, *why.get_ref().unwrap().downcast_ref().unwrap()))
        .collect();
    assert_eq!(why, [(0x10, Refusal::Misaligned), (0, Refusal::Empty)]);
    region.read32(0x10).unwrap();
    assert_eq!(setup.calls(), [Call::Read(start() + 0x10, 4)]);
}

#[test]
fn a_region_asked_for_twice_is_mapped_once_while_it_is_in_use() {
    let (setup, first) = Setup::of_region("twice", holey());
    setup.calls();
    let again = setup.device.region(INDEX).unwrap();
    let third = setup.device.clone().region(INDEX).unwrap();
    assert_eq!(setup.calls(), []);
    assert_eq!(setup.watch().mappings(), 3);
    again.write8(pages(1), 5).unwrap();
    assert_eq!(third.read8(pages(1)).unwrap(), 5);

    let window = first.window(pages(1)..pages(2)).unwrap();
    drop((first, again, third));
    let fourth = setup.device.region(INDEX).unwrap();
    assert_eq!(setup.calls(), [], "the window kept it in use");
    drop((window, fourth));
    assert_eq!(setup.watch().mappings(), 0);
    setup.device.region(INDEX).unwrap();
    assert_eq!(setup.calls().len(), 3, "mapped anew");
}

#[test]
fn threads_that_ask_for_a_region_at_once_share_its_mapping() {
    let setup = with_mapper("at once", |file, offset, length, protection| {
        thread::sleep(Duration::from_millis(5));
        Mapping::new(file, offset, length, protection)
    });
    let barrier = Barrier::new(8);
    let ask = || {
        barrier.wait();
        setup.device.region(INDEX).unwrap()
    };
    let regions: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(setup.calls().len(), 3, "one for each part");
    assert_eq!(regions.len(), 8);
}

#[test]
fn a_region_is_absent_when_the_device_denies_it_or_gives_it_no_size() {
    let empty = RegionInfo::new(2, READ_WRITE, 0, 0);
    let beyond = RegionInfo::new(16, READ_WRITE, 8, 0);
    let setup = Setup::new("absent", Behaviour::new([empty, beyond]));
    for index in [0, 2, u32::MAX] {
        assert!(setup.device.region_info(index).unwrap().is_none());
        let error = setup.device.region(index).unwrap_err();
        assert!(matches!(error, RegionError::Absent { index: told, .. } if told == index));
    }
    assert_eq!(setup.device.region(16).unwrap().size(), 8, "past the number of regions");
}

#[test]
fn a_region_that_ends_within_a_page_is_mapped_with_that_page_and_not_reached_behind_its_end() {
    let info = RegionInfo::new(INDEX, MAPPABLE, 0x100, start());
    let (setup, region) = Setup::of_region("sub-page", info);
    assert_eq!(setup.calls(), [Call::Map(start(), whole_pages(1), Protection::ReadWrite)]);
    assert!(region.write8(0x100, 1).is_err());
    assert!(region.window(0..page_size()).is_err());
    let window = region.window(0..0x100).unwrap();
    assert!(window.try_write8(0x100, 1).is_err());
    assert_eq!(setup.peek(start() + 0x100, 1), [0]);
}

#[test]
fn a_region_that_does_not_start_at_a_page_is_not_mapped() {
    let info = RegionInfo::new(INDEX, MAPPABLE, pages(1), start() + 0x80);
    let (setup, region) = Setup::of_region("region start", info);
    assert_eq!(region.mapped().len(), 0);
    region.write16(2, 0x0102).unwrap();
    assert_eq!(setup.peek(start() + 0x82, 2), [2, 1]);
}

#[test]
fn a_mapping_is_refused_off_a_page_and_without_length() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(pages(2)).unwrap();
    for (offset, length) in [(1, 8), (page_size() - 1, 8), (0, 0), (page_size(), 0)] {
        let error = Mapping::new(&file, offset, length, Protection::Read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    let mapping = Mapping::new(&file, page_size(), 8, Protection::Read).unwrap();
    assert_eq!((mapping.len(), mapping.protection()), (8, Protection::Read));
    assert!(mapping.start().addr().is_multiple_of(whole_pages(1)));
}

#[test]
fn a_file_that_can_only_be_read_is_mapped_for_reading_only() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8).unwrap();
    let read_only = File::open(file.path()).unwrap();
    assert!(Mapping::new(&read_only, 0, 8, Protection::Read).is_ok());
    let error = Mapping::new(&read_only, 0, 8, Protection::ReadWrite).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
}

#[test]
fn a_range_is_mapped_just_when_a_window_can_be_opened_on_it() {
    let (_setup, region) = Setup::of_region("is window", holey());
    let places: Vec<_> = (0..8).flat_map(|page| [pages(page), pages(page) + 8]).collect();
    for from in &places {
        for to in &places {
            let opened = region.window(*from..*to).is_ok();
            assert_eq!(region.is_mapped(*from..*to), opened, "{from:#x}..{to:#x}");
        }
    }
}
