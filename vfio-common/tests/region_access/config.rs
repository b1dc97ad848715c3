//! PCI configuration space, hostile ones included.

use proptest::collection::vec;
use proptest::prelude::*;
use vfio_common::device::DeviceFlags;
use vfio_common::pci_config::{
    Capability, Command, ConfigError, MsixTable, PciConfig, PciIds, REGION_INDEX,
};
use vfio_common::region::{Area, Region, RegionError, RegionInfo};

use crate::backend::{Behaviour, Call, MAPPABLE, READ_WRITE, Setup, pages};

/// Where the configuration space starts in the device's file.
const AT: u64 = 0x100;

fn device(name: &str, bytes: &[u8], regions: Vec<RegionInfo>) -> Setup {
    let config = RegionInfo::new(REGION_INDEX, READ_WRITE, bytes.len() as u64, AT);
    let behaviour = Behaviour::new(regions.into_iter().chain([config]));
    let setup = Setup::new(name, Behaviour { flags: DeviceFlags::PCI, ..behaviour });
    setup.poke(AT, bytes);
    setup
}

fn config(name: &str, bytes: &[u8]) -> (Setup, PciConfig) {
    let setup = device(name, bytes, Vec::new());
    let config = setup.device.pci_config().unwrap().unwrap();
    (setup, config)
}

/// A space of `length` bytes with a capability list, whose bytes at the places are set.
fn space(length: usize, set: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[0x06] = 0x10;
    for (at, part) in set {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    bytes
}

fn list(bytes: &[u8]) -> Result<Vec<(u8, u64)>, ConfigError> {
    let (_setup, config) = config("list", bytes);
    Ok(config.capabilities()?.into_iter().map(|found| (found.id, found.offset)).collect())
}

#[test]
fn the_identity_is_read_from_its_registers() {
    let bytes: Vec<u8> = (0..=254).collect();
    for (header_type, subsystem) in
        [(0x00, (0x2d2c, 0x2f2e)), (0x80, (0x2d2c, 0x2f2e)), (0x01, (0, 0)), (0x82, (0, 0))]
    {
        let mut bytes = bytes.clone();
        bytes[0x0e] = header_type;
        let (_setup, config) = config("ids", &bytes);
        let expected = PciIds {
            vendor: 0x0100,
            device: 0x0302,
            subsystem_vendor: subsystem.0,
            subsystem_device: subsystem.1,
            class: 0x0b_0a09,
            revision: 0x08,
        };
        assert_eq!(config.ids().unwrap(), expected, "header type {header_type:#x}");
    }
}

#[test]
fn the_command_register_is_read_and_written_in_one_access() {
    let (setup, config) = config("command", &space(255, &[(4, &[0x03, 0x81, 0xee])]));
    setup.calls();
    let command = config.command().unwrap();
    assert_eq!(command, Command::IO | Command::MEMORY | Command::from_bits_retain(0x8100));
    config.set_command(command | Command::BUS_MASTER).unwrap();
    assert_eq!(setup.peek(AT + 4, 3), [0x07, 0x81, 0xee], "and its neighbours are left alone");
    assert_eq!(setup.calls(), [Call::Read(AT + 4, 2), Call::Write(AT + 4, 2)]);
}

#[test]
fn a_device_that_is_not_pci_has_no_configuration_space() {
    let info = RegionInfo::new(REGION_INDEX, READ_WRITE, 256, 0);
    let setup = Setup::new("no pci", Behaviour::new([info]));
    assert!(setup.device.pci_config().unwrap().is_none());
    let pci = Behaviour { flags: DeviceFlags::PCI, ..Behaviour::new([]) };
    let error = Setup::new("no config", pci).device.pci_config().unwrap_err();
    assert!(matches!(error, ConfigError::Region(RegionError::Absent { index: 7, .. })), "{error}");
}

#[test]
fn the_list_is_followed_in_its_order_and_its_low_bits_are_ignored() {
    let bytes =
        [(0x34, &[0x53][..]), (0x50, &[9, 0x42]), (0x40, &[1, 0xfc]), (0xfc, &[0x11, 0x03])];
    let found = list(&space(256, &bytes)).unwrap();
    assert_eq!(found, [(9, 0x50), (1, 0x40), (0x11, 0xfc)]);
}

#[test]
fn without_the_status_bit_there_is_no_list() {
    let mut bytes = space(256, &[(0x34, &[0x40]), (0x40, &[9, 0])]);
    assert_eq!(list(&bytes).unwrap(), [(9, 0x40)]);
    bytes[0x06] = 0;
    assert_eq!(list(&bytes).unwrap(), []);
}

#[test]
fn a_list_that_leads_in_a_circle_or_into_the_header_is_broken_after_bounded_reads() {
    let cases = [
        ("to itself", 0x40, [9, 0x40], [0, 0]),
        ("in a circle", 0x40, [9, 0x80], [9, 0x40]),
        ("into the header", 0x40, [9, 0x3c], [0, 0]),
        ("starts in the header", 0x04, [0, 0], [0, 0]),
        ("back to the pointer", 0x34, [0, 0], [0, 0]),
    ];
    for (what, first, at_40, at_80) in cases {
        let set = [(0x34, &[first][..]), (0x40, &at_40), (0x80, &at_80)];
        let (setup, config) = config("broken", &space(256, &set));
        setup.calls();
        let error = config.capabilities().unwrap_err();
        assert!(matches!(error, ConfigError::BrokenList { .. }), "{what}: {error}");
        assert!(config.msix().is_err(), "{what}");
        assert!(setup.calls().len() <= 2 * (2 + 2 * 48), "{what}");
    }
}

#[test]
fn the_longest_list_is_read_to_its_end_and_one_more_is_a_circle() {
    let mut bytes = space(256, &[(0x34, &[0x40])]);
    for at in (0x40u8..=0xf8).step_by(4) {
        bytes[usize::from(at)] = at;
        bytes[usize::from(at) + 1] = at + 4;
    }
    let offsets: Vec<_> = list(&bytes).unwrap().into_iter().map(|(_, offset)| offset).collect();
    assert_eq!(offsets, (0x40..0x100).step_by(4).collect::<Vec<u64>>());
    bytes[0xfd] = 0x40;
    assert!(matches!(list(&bytes), Err(ConfigError::BrokenList { .. })));
}

#[test]
fn a_list_that_leads_out_of_the_space_is_an_error_and_reads_nothing_there() {
    let (setup, config) = config("out", &space(0x80, &[(0x34, &[0x40]), (0x40, &[9, 0x80])]));
    setup.calls();
    let error = config.capabilities().unwrap_err();
    assert!(
        matches!(error, ConfigError::Region(RegionError::OutOfRange { offset: 0x80, .. })),
        "{error}"
    );
    let end = AT + 0x80;
    assert!(setup.calls().iter().all(|call| matches!(call, Call::Read(at, _) if *at < end)));
}

#[test]
fn a_space_of_255_bytes_has_the_capability_in_its_last_three() {
    let bytes = space(255, &[(0x34, &[0xfc]), (0xfc, &[0x11, 0])]);
    assert_eq!(list(&bytes).unwrap(), [(0x11, 0xfc)]);
    let (_setup, config) = config("255", &bytes);
    let error = config.msix().unwrap_err();
    assert!(
        matches!(error, ConfigError::Region(RegionError::OutOfRange { offset: 0xfe, .. })),
        "{error}"
    );
}

/// A space with an MSI-X capability: the control word, where the table is, and where the pending bits
/// are.
fn with_pending(control: u16, table: u32, pending: u32) -> Vec<u8> {
    let words = [table, pending].map(u32::to_le_bytes).concat();
    let words = [&[0x11, 0][..], &control.to_le_bytes(), &words].concat();
    space(256, &[(0x34, &[0x60]), (0x60, &words)])
}

/// The pending bits are in no BAR.
fn with_msix(control: u16, table: u32) -> Vec<u8> {
    with_pending(control, table, 7)
}

#[test]
fn the_msix_table_is_where_its_capability_says() {
    let cases = [
        (0x0000, 0x0000_2000, 0x0000_3001, (1, 0, 0x2000, 1, 0x3000)),
        (0xc7ff, 0xffff_fffc, 0xffff_ffff, (2048, 4, 0xffff_fff8, 7, 0xffff_fff8)),
        (0xf81f, 0x0000_0007, 0x0000_0000, (32, 7, 0, 0, 0)),
    ];
    for (control, table, pending, expected) in cases {
        let (vectors, bar, offset, pending_bar, pending_offset) = expected;
        let expected = MsixTable { vectors, bar, offset, pending_bar, pending_offset };
        let (_setup, config) = config("msix", &with_pending(control, table, pending));
        assert_eq!(config.msix().unwrap(), Some(expected));
    }
    let (_setup, config) = config("no msix", &space(256, &[(0x34, &[0x40]), (0x40, &[5, 0])]));
    assert_eq!(config.msix().unwrap(), None);
    assert_eq!(Capability::MSIX, 0x11);
}

/// Region `index` of four pages on a device whose MSI-X table, of 17 vectors, lies in the second
/// page of BAR 2.
fn bar(index: u32, change: impl Fn(&mut RegionInfo), config: &[u8]) -> (Setup, Region) {
    let mut info = RegionInfo::new(index, MAPPABLE, pages(4), pages(2));
    change(&mut info);
    let setup = device("bar", config, vec![info]);
    let region = setup.device.region(index).unwrap();
    (setup, region)
}

#[test]
fn the_pages_of_the_msix_table_are_not_mapped_unless_the_kernel_says_so() {
    let table = u32::try_from(pages(1)).unwrap() + 0x800;
    let config = with_msix(16, table | 2);
    let area = |page, count| Area { offset: pages(page), size: pages(count) };
    let mapped = |index, change: fn(&mut RegionInfo), config: &[u8]| {
        let (_setup, region) = bar(index, change, config);
        region.mapped().collect::<Vec<_>>()
    };
    let nothing: fn(&mut RegionInfo) = |_| {};
    assert_eq!(mapped(2, nothing, &config), [area(0, 1), area(2, 2)]);
    assert_eq!(mapped(2, |info| info.msix_mappable = true, &config), [area(0, 4)]);
    let sparse: fn(&mut RegionInfo) =
        |info| info.sparse = Some(vec![Area { offset: 0, size: pages(2) }]);
    assert_eq!(mapped(2, sparse, &config), [area(0, 2)], "the areas override the table");
    assert_eq!(mapped(1, nothing, &config), [area(0, 4)], "the table is in another BAR");
    let no_bar = with_msix(16, table | 6);
    assert_eq!(mapped(6, nothing, &no_bar), [area(0, 4)], "not a BAR");
    let with_bits =
        |page: u64| with_pending(64, table | 2, u32::try_from(pages(page)).unwrap() | 2);
    assert_eq!(mapped(2, nothing, &with_bits(2)), [area(0, 1), area(3, 1)]);
    assert_eq!(mapped(2, nothing, &with_bits(3)), [area(0, 1), area(2, 1)]);
    let bits_alone = with_pending(64, table | 1, (u32::try_from(pages(3)).unwrap() - 8) | 2);
    assert_eq!(mapped(2, nothing, &bits_alone), [area(0, 2)], "65 vectors have 16 bytes of bits");
    let over_pages = with_msix(255, table | 2);
    assert_eq!(mapped(2, nothing, &over_pages), [area(0, 1), area(3, 1)]);
    let broken = space(256, &[(0x34, &[0x40]), (0x40, &[9, 0x40])]);
    assert_eq!(mapped(2, nothing, &broken), [area(0, 4)], "nobody knows where the table is");
}

#[test]
fn the_device_is_asked_for_its_msix_table_only_where_that_matters() {
    type Change = fn(&mut RegionInfo);
    let changes: [(u32, Change, bool); 5] = [
        (0, |_| {}, true),
        (0, |info| info.sparse = Some(Vec::new()), false),
        (0, |info| info.msix_mappable = true, false),
        (0, |info| info.flags = READ_WRITE, false),
        (6, |_| {}, false),
    ];
    for (index, change, asked) in changes {
        let (setup, region) = bar(index, change, &with_msix(0, 2));
        let reads = setup.calls().iter().any(|call| matches!(call, Call::Read(..)));
        assert_eq!(reads, asked, "{:?}", region.info());
    }
}

#[test]
fn the_msix_pages_are_reached_through_the_descriptor() {
    let table = u32::try_from(pages(1)).unwrap();
    let (setup, region) = bar(2, |_| {}, &with_msix(0, table | 2));
    setup.calls();
    region.write32(pages(1), 1).unwrap();
    region.write32(pages(2), 1).unwrap();
    assert_eq!(setup.calls(), [Call::Write(pages(3), 4)]);
    assert_eq!(region.unmapped().len(), 1);
}

fn any_space() -> impl Strategy<Value = Vec<u8>> {
    let pointer = (16..64u8).prop_map(|at| at * 4);
    vec(prop_oneof![any::<u8>(), Just(Capability::MSIX), pointer], 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_space_is_read_to_an_answer_in_bounded_reads_inside_it(
        bytes in any_space(),
        has_list in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if let Some(status) = bytes.get_mut(0x06) {
            *status |= u8::from(has_list) << 4;
        }
        let (setup, config) = config("any", &bytes);
        setup.calls();
        if let Ok(found) = config.capabilities() {
            prop_assert!(found.len() <= 48);
            for found in found {
                prop_assert!(found.offset >= 0x40 && found.offset.is_multiple_of(4));
                let place = usize::try_from(found.offset).unwrap();
                prop_assert_eq!(bytes.get(place), Some(&found.id));
            }
        }
        if let Ok(Some(table)) = config.msix() {
            prop_assert!((1..=2048).contains(&table.vectors));
            prop_assert!(table.bar < 8 && table.pending_bar < 8);
            prop_assert!(table.pending_offset.is_multiple_of(8));
            prop_assert!(table.offset.is_multiple_of(8));
        }
        // A function needs its subsystem's registers, a bridge only those up to the header type.
        let needed = bytes.get(0x0e).map(|kind| if kind & 0x7f == 0 { 0x30 } else { 0x0f });
        prop_assert_eq!(config.ids().is_ok(), needed.is_some_and(|needed| bytes.len() >= needed));
        let calls = setup.calls();
        prop_assert!(calls.len() <= 2 * (2 + 2 * 48) + 3 + 6);
        for call in calls {
            let Call::Read(at, width) = call else { panic!("{call:?}") };
            prop_assert!(at >= AT && at - AT + width as u64 <= bytes.len() as u64);
        }
    }
}
