//! Address spaces and buffers: the same calls on software, on a container, and on an IOAS.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;

use vfio_common::device::Device;
use vfio_common::iommu::{
    AddressSpace, Aligned, BufferError, DeviceAccess, DmaBuffer, DmaError, DmaMapping, IovaRange,
    Pages,
};
use vfio_common::route::{Opener, Target};

use crate::bench::{Bench, Created};

const PAGE: u64 = 0x1000;
const READ: DeviceAccess = DeviceAccess::READ;
const WRITE: DeviceAccess = DeviceAccess::WRITE;

fn open(opener: &Arc<dyn Opener>, created: &Created<'_>) -> Device {
    let name = created.address.to_string();
    let sysfs = format!("bus/mdev/devices/{name}").into();
    opener.open(&Target { name, sysfs }).unwrap()
}

/// Runs a test on an address space with a device, and on one that needs none.
fn on_each_kind(test: impl Fn(&AddressSpace, &str)) {
    let bench = Bench::new();
    let created = bench.create("mdevtest", "mdevtest-sparse");
    let (opener, space) = bench.address_space();
    let device = open(&opener, &created);
    test(&space, bench.address_space_kind());
    drop(device);
    if let Some(ioas) = bench.ioas() {
        test(&ioas, "ioas");
    }
}

fn map_at(space: &AddressSpace, iova: u64, length: u64) -> Result<DmaBuffer, DmaError> {
    DmaBuffer::builder(usize::try_from(length).unwrap(), READ | WRITE).at(iova).build(space)
}

fn range(iova: u64, length: u64) -> IovaRange {
    IovaRange::new(iova, length).unwrap()
}

#[test]
fn an_address_space_says_what_can_be_mapped() {
    on_each_kind(|space, kind| {
        let all = IovaRange { first: 0, last: u64::MAX - PAGE };
        assert_eq!(space.ranges().unwrap(), [all], "{kind}");
        assert_eq!(space.page_sizes().unwrap(), !(PAGE - 1), "{kind}");
        assert_eq!(space.smallest_page().unwrap(), PAGE, "{kind}");
        let before = space.available().unwrap();
        assert_eq!(before, (kind == "container").then_some(65_535), "{kind}");
        let buffer = DmaBuffer::new(space, 1, READ).unwrap();
        assert_eq!(space.available().unwrap(), before.map(|before| before - 1), "{kind}");
        drop(buffer);
        assert_eq!(space.available().unwrap(), before, "{kind}");
    });
}

#[test]
fn mappings_that_cannot_be_are_refused_with_the_reason() {
    on_each_kind(|space, kind| {
        let there = map_at(space, 0x10_0000, 4 * PAGE).unwrap();
        let mapping = DmaMapping { range: range(0x10_0000, 4 * PAGE), access: READ | WRITE };
        assert_eq!(space.mappings(), [mapping], "{kind}");
        // All ways to overlap it.
        for (iova, length) in [
            (0x10_0000, 4 * PAGE),
            (0x10_0000, PAGE),
            (0x10_3000, PAGE),
            (0x10_1000, 2 * PAGE),
            (0x0f_f000, 2 * PAGE),
            (0x10_3000, 2 * PAGE),
            (0x0f_f000, 6 * PAGE),
        ] {
            let error = map_at(space, iova, length).unwrap_err();
            let DmaError::Overlap { range: wanted, mapping: found } = &error else {
                panic!("{kind}: {error}")
            };
            assert_eq!((*wanted, *found), (range(iova, length), mapping), "{kind}");
            assert!(error.to_string().contains("[0x100000, 0x103fff]"), "{error}");
        }
        let error = map_at(space, 0x20_0800, PAGE).unwrap_err();
        let odd = |what, value| {
            move |error: &DmaError| {
                matches!(error, DmaError::Misaligned { what: found, value: at, page: PAGE }
                    if *found == what && *at == value)
            }
        };
        assert!(odd(Aligned::Iova, 0x20_0800)(&error), "{kind}: {error}");
        let error = map_at(space, u64::MAX - PAGE + 1, 2 * PAGE).unwrap_err();
        assert!(matches!(error, DmaError::Wraps { .. }), "{kind}: {error}");
        let error = map_at(space, 0x20_0000, 0).unwrap_err();
        assert!(matches!(error, DmaError::Empty { .. }), "{kind}: {error}");
        let error = DmaBuffer::new(space, 1, DeviceAccess::empty()).unwrap_err();
        assert!(matches!(error, DmaError::NoAccess), "{kind}: {error}");
        let error = DmaBuffer::builder(1, READ).alignment(0x3000).build(space).unwrap_err();
        assert!(matches!(error, DmaError::Alignment { alignment: 0x3000 }), "{kind}: {error}");
        let error = DmaBuffer::builder(1, READ).highest(PAGE).build(space).unwrap_err();
        assert!(matches!(error, DmaError::NoRoom { length: PAGE, .. }), "{kind}: {error}");
        let error = DmaBuffer::new(space, usize::MAX, READ).unwrap_err();
        assert!(matches!(error, DmaError::Memory { .. }) && error.source().is_some(), "{error}");
        // None of it left a trace, and the neighbours are free.
        assert_eq!(space.mappings(), [mapping], "{kind}");
        let (below, above) = (map_at(space, 0x0f_f000, PAGE), map_at(space, 0x10_4000, PAGE));
        assert!(below.is_ok() && above.is_ok(), "{kind}");
        drop((there, below, above));
        assert_eq!(space.mappings(), [], "{kind}");
    });
}

#[test]
fn the_first_and_the_last_page_can_be_mapped_and_unmapped() {
    on_each_kind(|space, kind| {
        let last = u64::MAX - 2 * PAGE + 1;
        for iova in [0, last] {
            let buffer = map_at(space, iova, PAGE).unwrap();
            assert_eq!(buffer.range(), range(iova, PAGE), "{kind}");
            assert_eq!(space.unmap(iova, PAGE).unwrap(), PAGE, "{kind}");
            assert!(!buffer.is_mapped(), "{kind}");
        }
        // There is one more page, which a container would not find again to unmap it.
        for iova in [last, last + PAGE] {
            let length = u64::MAX - iova + 1;
            let error = map_at(space, iova, length).unwrap_err();
            assert!(matches!(error, DmaError::OutsideRanges { .. }), "{kind}: {error}");
        }
    });
}

#[test]
fn unmapping_takes_whole_mappings_and_nothing_is_no_error() {
    on_each_kind(|space, kind| {
        assert_eq!(space.unmap(0x10_0000, PAGE).unwrap(), 0, "{kind}");
        assert_eq!(space.unmap_all().unwrap(), 0, "{kind}");
        let pages = [0, 1, 2, 4].map(|page| map_at(space, 0x10_0000 + page * PAGE, PAGE).unwrap());
        let large = map_at(space, 0x20_0000, 4 * PAGE).unwrap();
        for (iova, length) in
            [(0x20_0000, PAGE), (0x20_3000, PAGE), (0x20_1000, PAGE), (0x1f_f000, 2 * PAGE)]
        {
            let error = space.unmap(iova, length).unwrap_err();
            let DmaError::Part { mapping, .. } = &error else { panic!("{kind}: {error}") };
            assert_eq!(mapping.range, large.range(), "{kind}");
        }
        for (iova, length) in [(0x20_0001, PAGE), (0x20_0000, 1)] {
            let error = space.unmap(iova, length).unwrap_err();
            assert!(matches!(error, DmaError::Misaligned { .. }), "{kind}: {error}");
        }
        assert!(matches!(space.unmap(PAGE, 0), Err(DmaError::Empty { .. })), "{kind}");
        assert!(matches!(space.unmap(PAGE, u64::MAX), Err(DmaError::Wraps { .. })), "{kind}");
        assert!(large.is_mapped() && pages.iter().all(DmaBuffer::is_mapped), "{kind}");
        // Two of the pages, and the hole behind them.
        assert_eq!(space.unmap(0x10_1000, 3 * PAGE).unwrap(), 2 * PAGE, "{kind}");
        assert_eq!(
            pages.each_ref().map(DmaBuffer::is_mapped),
            [true, false, false, true],
            "{kind}"
        );
        assert_eq!(space.unmap(0x10_1000, 3 * PAGE).unwrap(), 0, "{kind}");
        assert_eq!(space.unmap_all().unwrap(), 6 * PAGE, "{kind}");
        assert_eq!(space.mappings(), [], "{kind}");
        assert!(!large.is_mapped(), "{kind}");
    });
}

#[test]
fn a_buffer_that_was_unmapped_leaves_its_successor_alone() {
    on_each_kind(|space, kind| {
        let old = map_at(space, 0x10_0000, PAGE).unwrap();
        old.write(0, 7u32).unwrap();
        assert_eq!(space.unmap(0x10_0000, PAGE).unwrap(), PAGE, "{kind}");
        let new = map_at(space, 0x10_0000, PAGE).unwrap();
        assert_eq!((old.is_mapped(), new.is_mapped()), (false, true), "{kind}");
        assert_eq!(old.read::<u32>(0), Ok(7), "its memory is still there");
        drop(old);
        assert!(new.is_mapped(), "{kind}");
        assert_eq!(space.unmap_all().unwrap(), PAGE, "{kind}");
    });
}

#[test]
fn a_thousand_mappings_come_and_go() {
    on_each_kind(|space, kind| {
        let mut buffers: Vec<_> =
            (0..1000).map(|_| DmaBuffer::new(space, 1, WRITE).unwrap()).collect();
        let places: BTreeSet<_> = buffers.iter().map(DmaBuffer::iova).collect();
        assert_eq!((places.len(), space.mappings().len()), (1000, 1000), "{kind}");
        // Every second one goes; the next takes the first hole, and never address 0.
        let mut at = 0;
        buffers.retain(|_| {
            at += 1;
            at % 2 == 0
        });
        assert_eq!(space.mappings().len(), 500, "{kind}");
        let next = DmaBuffer::new(space, 1, WRITE).unwrap();
        assert_eq!(next.iova(), PAGE, "{kind}");
        assert_eq!(space.unmap_all().unwrap(), 501 * PAGE, "{kind}");
        assert!(!next.is_mapped() && buffers.iter().all(|buffer| !buffer.is_mapped()), "{kind}");
    });
}

#[test]
fn threads_get_buffers_that_do_not_overlap() {
    const THREADS: usize = 8;
    const EACH: usize = 40;
    on_each_kind(|space, kind| {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for round in 0..EACH {
                        let length = 1 + (thread * 7 + round * 3) % 5 * 0x1000;
                        let buffer = DmaBuffer::new(space, length, READ | WRITE).unwrap();
                        buffer.write(0, u32::try_from(thread).unwrap()).unwrap();
                        kept.push(buffer);
                        if round % 3 == 0 {
                            kept.swap_remove(round % kept.len());
                        }
                    }
                    for buffer in &kept {
                        assert!(buffer.is_mapped(), "{kind}");
                        assert_eq!(buffer.read::<u32>(0).unwrap() as usize, thread, "{kind}");
                    }
                });
            }
        });
        assert_eq!(space.mappings(), [], "{kind}");
        assert_eq!(space.unmap_all().unwrap(), 0, "{kind}");
    });
}

#[test]
fn a_buffer_is_as_it_was_asked_for() {
    on_each_kind(|space, kind| {
        let buffer = DmaBuffer::builder(5000, WRITE)
            .alignment(1 << 20)
            .highest(u32::MAX.into())
            .build(space)
            .unwrap();
        assert_eq!(
            (buffer.iova(), buffer.len(), buffer.access()),
            (1 << 20, 8192, WRITE),
            "{kind}"
        );
        let mapping = DmaMapping { range: buffer.range(), access: WRITE };
        assert_eq!(space.mappings(), [mapping], "{kind}");
        let top = DmaBuffer::builder(4096, READ).highest(PAGE * 2 - 1).build(space).unwrap();
        assert_eq!(top.iova(), PAGE, "{kind}");
        // Whether there are huge pages or not.
        let huge = DmaBuffer::builder(5000, WRITE).pages(Pages::HugeIfFree).build(space).unwrap();
        assert!(huge.len() >= 8192 && huge.iova().is_multiple_of(huge.len() as u64 / 2), "{kind}");
    });
}

#[test]
fn a_buffer_is_copied_at_any_offset_and_never_outside() {
    on_each_kind(|space, kind| {
        let buffer = DmaBuffer::new(space, 4096, READ | WRITE).unwrap();
        let mut all = [0xff; 4096];
        buffer.copy_out(0, &mut all).unwrap();
        assert_eq!(all, [0; 4096], "{kind}");
        let bytes: Vec<u8> = (1..=40).collect();
        for offset in (0..20).chain(4096 - 48..=4096 - 40) {
            for length in 0..=bytes.len() {
                buffer.copy_in(offset, &bytes[..length]).unwrap();
                let mut found = [0; 40];
                buffer.copy_out(offset, &mut found[..length]).unwrap();
                assert_eq!(found[..length], bytes[..length], "{kind} {offset} {length}");
            }
        }
        buffer.copy_in(0, &[0xee; 4096]).unwrap();
        buffer.copy_in(11, &bytes).unwrap();
        buffer.copy_out(0, &mut all).unwrap();
        assert!(all[..11].iter().chain(&all[51..]).all(|byte| *byte == 0xee), "{kind}");
        buffer.write(8, 0x1122_3344_5566_7788u64).unwrap();
        assert_eq!(buffer.read::<u8>(8), Ok(0x88), "it is little-endian");
        assert_eq!(buffer.read::<u16>(14), Ok(0x1122));
        assert_eq!(buffer.copy_in(4096, &[]), Ok(()));
        let refusals: [Result<(), BufferError>; 7] = [
            buffer.copy_in(4090, &bytes),
            buffer.copy_in(usize::MAX, &bytes),
            buffer.copy_out(4097, &mut []),
            buffer.write(4096, 0u8),
            buffer.write(4092, 0u64),
            buffer.write(2, 0u32),
            buffer.read::<u64>(usize::MAX - 7).map(drop),
        ];
        assert!(refusals.iter().all(Result::is_err), "{kind}: {refusals:?}");
        let error = buffer.write(2, 0u32).unwrap_err().to_string();
        assert!(error.contains("0x2") && error.contains("multiple of the width"), "{error}");
    });
}

#[test]
fn mappings_need_an_open_device_and_go_with_the_last() {
    let bench = Bench::new();
    let created = [(); 2].map(|()| bench.create("mdevtest", "mdevtest-sparse"));
    let (opener, space) = bench.address_space();
    let refused = |space: &AddressSpace| {
        let error = map_at(space, PAGE, PAGE).unwrap_err();
        assert!(matches!(error, DmaError::NoDevice), "{error}");
        assert!(error.to_string().contains("open a device first"), "{error}");
        assert!(matches!(space.ranges(), Err(DmaError::NoDevice)));
        assert_eq!(space.unmap(PAGE, PAGE).unwrap(), 0);
        assert_eq!(space.unmap_all().unwrap(), 0);
    };
    refused(&space);

    let devices = created.each_ref().map(|created| open(&opener, created));
    let buffer = map_at(&space, PAGE, PAGE).unwrap();
    buffer.write(8, 0x77u8).unwrap();
    let [first, second] = devices;
    drop(first);
    assert!(buffer.is_mapped(), "the other device is still there");
    drop(second);
    assert!(!buffer.is_mapped());
    assert_eq!(space.mappings(), []);
    refused(&space);
    assert_eq!(buffer.read::<u8>(8), Ok(0x77), "the memory is still there");

    // The next device finds the address space empty; the old buffer does not touch what is new in it.
    let again = open(&opener, &created[0]);
    assert!(!buffer.is_mapped());
    let new = map_at(&space, PAGE, PAGE).unwrap();
    drop(buffer);
    assert_eq!(space.mappings().len(), 1);
    // The buffer goes first, or last: both are fine.
    let late = DmaBuffer::new(&space, 1, READ).unwrap();
    drop((new, again, space));
    assert!(!late.is_mapped());
}

#[test]
fn a_buffer_keeps_its_address_space_and_no_device() {
    let bench = Bench::new();
    let created = bench.create("mdevtest", "mdevtest-sparse");
    let (opener, space) = bench.address_space();
    let device = open(&opener, &created);
    let buffer = DmaBuffer::new(&space, 1, READ).unwrap();
    drop((opener, space));
    assert!(buffer.is_mapped());
    drop(device);
    assert!(!buffer.is_mapped());
    // The kernel would not return if the buffer held the device.
    drop(created);
}
