//! Every rule of mapping, on a device made for it.

use vfio_common::device::{Device, ResetOutcome};
use vfio_common::pci_config::{Capability, Command, MsixTable};
use vfio_common::region::{Area, Path, Region, RegionError, RegionType};

use crate::bench::Bench;

const IDENTITY: u64 = 0x000;
const TRAPPED_ACCESSES: u64 = 0x004;
const SCRATCH: u64 = 0x008;
const SIZE: u64 = 0x8000;

const AREAS: [Area; 3] = [
    Area { offset: 0x1000, size: 0x1000 },
    Area { offset: 0x3000, size: 0x2000 },
    Area { offset: 0x6000, size: 0x1000 },
];

fn on_a_device(test: impl FnOnce(&Device)) {
    let bench = Bench::new();
    let created = bench.create("mdevtest", "mdevtest-sparse");
    let device = bench.open(&created);
    test(&device);
}

fn trapped_accesses(region: &Region) -> u32 {
    region.read_via(Path::Trapped, TRAPPED_ACCESSES).unwrap()
}

fn mapped(region: &Region) -> Vec<Area> {
    region.mapped().collect()
}

#[test]
fn the_areas_are_mapped_and_the_holes_are_not() {
    on_a_device(|device| {
        let region = device.region(0).unwrap();
        assert_eq!(region.info().sparse.as_ref().map(Vec::len), Some(3));
        assert_eq!(mapped(&region), AREAS);
        assert!(region.unmapped().is_empty(), "{:?}", region.unmapped());
        for page in (0..SIZE).step_by(0x1000) {
            let is_mapped =
                AREAS.iter().any(|area| (area.offset..area.end().unwrap()).contains(&page));
            for offset in [page, page + 0xff8] {
                let before = trapped_accesses(&region);
                if offset != 0 {
                    region.write64(offset, offset | 1 << 40).unwrap();
                    assert_eq!(region.read64(offset).unwrap(), offset | 1 << 40);
                }
                let pieces = trapped_accesses(&region) - before - 1;
                assert_eq!(pieces == 0, is_mapped || offset == 0, "{offset:#x} took {pieces}");
                match region.read_via::<u64>(Path::Mapped, offset) {
                    Err(RegionError::NotMapped { .. }) => assert!(!is_mapped, "{offset:#x}"),
                    through => assert!(through.is_ok() && is_mapped, "{offset:#x}: {through:?}"),
                }
            }
        }
    });
}

#[test]
fn both_ways_see_the_same_bytes() {
    on_a_device(|device| {
        let region = device.region(0).unwrap();
        for (index, area) in (0u32..).zip(AREAS) {
            let (offset, last) = (area.offset, area.end().unwrap() - 4);
            region.write_via(Path::Mapped, offset, 0xc0de_0000 + index).unwrap();
            assert_eq!(region.read_via::<u32>(Path::Trapped, offset).unwrap(), 0xc0de_0000 + index);
            region.write_via(Path::Trapped, last, 0xface_0000 + index).unwrap();
            assert_eq!(region.read_via::<u32>(Path::Mapped, last).unwrap(), 0xface_0000 + index);
        }
        region.write_via(Path::Mapped, 0x1000, 0x0807_0605_0403_0201u64).unwrap();
        assert_eq!(region.read_via::<u8>(Path::Trapped, 0x1001).unwrap(), 0x02);
        assert_eq!(region.read_via::<u16>(Path::Mapped, 0x1002).unwrap(), 0x0403);
        assert_eq!(region.read_via::<u32>(Path::Trapped, 0x1004).unwrap(), 0x0807_0605);
    });
}

#[test]
fn copies_cross_areas_and_holes() {
    on_a_device(|device| {
        let region = device.region(0).unwrap();
        // From a hole over an area into the next hole, at odd ends.
        let (offset, length) = (0x2ffb_u64, 0x2010);
        let bytes: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0] ^ 0x5a).collect();
        region.write_bytes(offset, &bytes).unwrap();
        let mut copy = vec![0; bytes.len()];
        region.read_bytes(offset, &mut copy).unwrap();
        assert_eq!(copy, bytes);
        for (at, byte) in (offset..).zip(&bytes).step_by(0x3ff) {
            assert_eq!(region.read_via::<u8>(Path::Trapped, at).unwrap(), *byte, "{at:#x}");
        }
        let mut units = [0u32; 4];
        region.read_units(0x2ffc, &mut units).unwrap();
        let expected =
            bytes[1..17].chunks(4).map(|unit| u32::from_le_bytes(unit.try_into().unwrap()));
        assert!(units.iter().copied().eq(expected));
        assert!(region.read_bytes(SIZE - 4, &mut [0; 5]).is_err());
        assert!(region.write_units(SIZE - 4, &[0u32; 2]).is_err());
    });
}

#[test]
fn a_window_reaches_an_area_and_no_hole() {
    on_a_device(|device| {
        let region = device.region(0).unwrap();
        let window = region.window(0x3000..0x5000).unwrap();
        let registers = region.fixed_window::<0x100>(0x3f00).unwrap();
        let before = trapped_accesses(&region);
        window.try_write32(0xf10, 0x600d_cafe).unwrap();
        assert_eq!(registers.read32::<0x10>(), 0x600d_cafe);
        registers.write16::<0x12>(0xbad0);
        assert_eq!(window.try_read64(0xf10).unwrap(), 0xbad0_cafe);
        assert!(window.try_read32(0x1ffd).is_err());
        assert!(window.try_read32(0x2000).is_err());
        assert!(window.try_read8(usize::MAX).is_err());
        assert_eq!(trapped_accesses(&region) - before, 1, "only the count itself was trapped");
        for hole in [0..0x1000, 0x2000..0x3000, 0x4ff8..0x5008, 0x1000..0x5000, 0x3000..0x3000] {
            let refused = region.window(hole.clone());
            assert!(matches!(refused, Err(RegionError::NotMapped { .. })), "{hole:x?}");
        }
        assert!(matches!(region.window(0x7000..0x9000), Err(RegionError::OutOfRange { .. })));
        assert_eq!(region.read_via::<u32>(Path::Trapped, 0x3f10).unwrap(), 0xbad0_cafe);
    });
}

#[test]
fn a_region_without_a_list_is_mapped_whole_and_one_without_the_flag_not_at_all() {
    on_a_device(|device| {
        let whole = device.region(1).unwrap();
        assert!(whole.info().msix_mappable);
        assert_eq!(mapped(&whole), [Area { offset: 0, size: 0x4000 }]);
        whole.write_via(Path::Mapped, 0x3ffc, 1u32).unwrap();
        assert_eq!(whole.read_via::<u32>(Path::Trapped, 0x3ffc).unwrap(), 1);

        let never = device.region(2).unwrap();
        assert_eq!(mapped(&never), []);
        never.write32(0xffc, 2).unwrap();
        assert_eq!(never.read32(0xffc).unwrap(), 2);

        let empty_list = device.region(3).unwrap();
        assert_eq!(empty_list.info().sparse, Some(vec![]));
        assert_eq!(mapped(&empty_list), []);
        empty_list.write32(0x1ffc, 3).unwrap();
        assert_eq!(empty_list.read32(0x1ffc).unwrap(), 3);

        let small = device.region(4).unwrap();
        assert_eq!(mapped(&small), [Area { offset: 0, size: 0x100 }]);
        small.write_via(Path::Mapped, 0xfc, 4u32).unwrap();
        assert_eq!(small.read_via::<u32>(Path::Trapped, 0xfc).unwrap(), 4);
        assert!(small.read32(0x100).is_err(), "the rest of the page is not the region's");
        assert!(small.window(0..0x1000).is_err());
    });
}

#[test]
fn a_read_only_region_is_mapped_for_reading() {
    on_a_device(|device| {
        let table = device.region(9).unwrap();
        assert_eq!(table.info().kind, Some(RegionType { kind: 0x8000_6d64, subtype: 1 }));
        assert_eq!(mapped(&table), [Area { offset: 0, size: 0x2000 }]);
        for index in [0u32, 1, 0x3ff, 0x400, 0x7ff] {
            let offset = u64::from(index) * 4;
            let expected = index ^ 0x5a5a_5a5a;
            assert_eq!(table.read_via::<u32>(Path::Mapped, offset).unwrap(), expected);
            assert_eq!(table.read_via::<u32>(Path::Trapped, offset).unwrap(), expected);
        }
        assert!(matches!(table.write32(0, 1), Err(RegionError::NotAllowed { write: true, .. })));
        let window = table.window(0..0x2000).unwrap();
        assert!(!window.is_writable());
        assert!(window.try_write32(0, 1).is_err(), "a store would be a fault");
        assert!(table.fixed_window::<16>(0).is_err());
    });
}

#[test]
fn indices_that_are_absent_or_fail_are_holes_and_not_the_end() {
    on_a_device(|device| {
        let there: Vec<_> =
            (0..20).filter(|index| device.region_info(*index).unwrap().is_some()).collect();
        assert_eq!(there, [0, 1, 2, 3, 4, 7, 9]);
        for index in [5, 6, 8, 10, u32::MAX] {
            assert!(matches!(device.region(index), Err(RegionError::Absent { .. })), "{index}");
        }
        let offsets: Vec<_> =
            there.iter().map(|index| device.region(*index).unwrap().info().offset).collect();
        assert!(offsets.iter().all(|offset| *offset < 1 << 40), "they are packed: {offsets:x?}");
    });
}

#[test]
fn configuration_space_has_its_capabilities_and_command_register() {
    on_a_device(|device| {
        let config = device.pci_config().unwrap().unwrap();
        let ids = config.ids().unwrap();
        assert_eq!((ids.vendor, ids.device, ids.class), (0x6d64, 0x7370, 0x08_8000));
        assert_eq!((ids.subsystem_vendor, ids.subsystem_device), (0x6d64, 1));
        let capabilities = config.capabilities().unwrap();
        let expected = [(Capability::VENDOR_SPECIFIC, 0x40), (Capability::MSIX, 0x50)];
        assert!(capabilities.iter().map(|found| (found.id, found.offset)).eq(expected));
        let msix = config.msix().unwrap();
        let (pending_bar, pending_offset) = (1, 0x3000);
        let expected =
            MsixTable { vectors: 8, bar: 1, offset: 0x2000, pending_bar, pending_offset };
        assert_eq!(msix, Some(expected));
        config.set_command(Command::MEMORY | Command::BUS_MASTER).unwrap();
        assert_eq!(config.command().unwrap(), Command::MEMORY | Command::BUS_MASTER);
    });
}

#[test]
fn a_reset_clears_the_device_and_leaves_the_mapping_alive() {
    on_a_device(|device| {
        let region = device.region(0).unwrap();
        let window = region.window(0x1000..0x2000).unwrap();
        region.write32(SCRATCH, 5).unwrap();
        window.try_write32(0, 6).unwrap();
        assert_eq!(device.reset().unwrap(), ResetOutcome::Done);
        assert_eq!(region.read32(SCRATCH).unwrap(), 0);
        assert_eq!(window.try_read32(0).unwrap(), 0);
        assert_eq!(region.read32(IDENTITY).unwrap(), 0x7370_6172);
    });
}
