//! The serial card's state moves from one card to another.

use std::io::{Read as _, Write as _};

use vfio_common::device::{Device, Feature, FeatureError, FeatureUse};
use vfio_common::migration::{
    Migration, MigrationError, MigrationFlags, MigrationState, PreCopyInfo, Saved, Whereabouts,
};

use crate::bench::Bench;

/// A card's data: a header, and one or two ports.
const HEADER: usize = 24;
const TWO_PORTS: usize = 0x60;
const BACK: Whereabouts = Whereabouts::In(MigrationState::RUNNING);
const STOPPED: Whereabouts = Whereabouts::In(MigrationState::STOP_COPY);

fn migration(device: &Device) -> Migration {
    device.migration().unwrap().unwrap()
}

/// What a port says of itself without changing it.
fn registers(device: &Device, port: u32) -> Vec<u8> {
    let registers = device.region(port).unwrap();
    (1..8).map(|offset| registers.read8(offset).unwrap()).collect()
}

fn both_ports(device: &Device) -> [Vec<u8>; 2] {
    [registers(device, 0), registers(device, 1)]
}

fn received(device: &Device, port: u32) -> Vec<u8> {
    let registers = device.region(port).unwrap();
    let mut bytes = Vec::new();
    while registers.read8(5).unwrap() & 1 != 0 {
        bytes.push(registers.read8(0).unwrap());
    }
    bytes
}

/// Gives the ports a state that no card has at first.
fn furnish(device: &Device, text: &str) {
    for port in [0, 1] {
        let registers = device.region(port).unwrap();
        registers.write8(2, 0x01).unwrap();
        // A divisor, 8 bits, interrupt at received data, RTS and DTR.
        registers.write8(3, 0x80).unwrap();
        registers.write8(0, 0x0c).unwrap();
        registers.write8(3, 0x03).unwrap();
        registers.write8(4, 0x03).unwrap();
        registers.write8(7, 0xa0 + u8::try_from(port).unwrap()).unwrap();
        for byte in text.bytes().chain([u8::try_from(port).unwrap()]) {
            registers.write8(0, byte).unwrap();
        }
    }
}

fn save(device: &Device) -> Vec<u8> {
    let mut data = Vec::new();
    let bytes = migration(device).save(&mut data, |_| ()).unwrap();
    assert_eq!(bytes, data.len() as u64);
    data
}

#[test]
fn migration_moves_registers_and_bytes_in_flight_to_another_card() {
    let bench = Bench::new();
    let cards = [bench.create("mtty", "mtty-2"), bench.create("mtty", "mtty-2")];
    let [source, target] = [bench.open(&cards[0]), bench.open(&cards[1])];
    furnish(&source, "moving");
    let before = both_ports(&source);
    assert_ne!(both_ports(&target), before);

    let mut steps = Vec::new();
    let mut data = Vec::new();
    migration(&source).save(&mut data, |so_far| steps.push(so_far)).unwrap();
    assert_eq!(steps.last(), Some(&(TWO_PORTS as u64)));
    assert_eq!(migration(&source).state().unwrap(), MigrationState::RUNNING);
    assert_eq!(both_ports(&source), before, "saving changes nothing");

    let mut steps = Vec::new();
    let restored = migration(&target).restore(&mut data.as_slice(), |so_far| steps.push(so_far));
    assert_eq!(restored.unwrap(), TWO_PORTS as u64);
    assert_eq!(steps.last(), Some(&(TWO_PORTS as u64)));
    assert_eq!(migration(&target).state().unwrap(), MigrationState::RUNNING);
    assert_eq!(both_ports(&target), before);
    for card in [&source, &target] {
        assert_eq!(received(card, 0), b"moving\x00");
        assert_eq!(received(card, 1), b"moving\x01");
        let divisor = card.region(0).unwrap();
        // What was sent with the latch off left the divisor as it is.
        assert_eq!(save(card)[HEADER + 30..HEADER + 32], [0x0c, 0]);
        divisor.write8(0, b'!').unwrap();
        assert_eq!(received(card, 0), b"!", "it still works");
    }
}

#[test]
fn migration_is_announced_with_what_it_can_and_how_much_there_will_be() {
    let bench = Bench::new();
    let all = MigrationFlags::STOP_COPY | MigrationFlags::P2P | MigrationFlags::PRE_COPY;
    for (mdev_type, size) in [("mtty-1", 60), ("mtty-2", 96)] {
        let card = bench.create("mtty", mdev_type);
        let device = bench.open(&card);
        let migration = migration(&device);
        assert_eq!(migration.flags(), all);
        assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
        assert_eq!(migration.data_size().unwrap(), Some(size));
        let data = save(&device);
        assert_eq!(data.len() as u64, size);
        // Magic, version 1.0, number of ports, no flags; then a port that was never used.
        let ports = if size == 60 { 1 } else { 2 };
        assert_eq!(data[..8], 0x7e9d_0989_8c3e_2c4e_u64.to_ne_bytes());
        assert_eq!(data[8..HEADER], [1, 0, 0, 0, 0, 0, 0, 0, ports, 0, 0, 0, 0, 0, 0, 0]);
        let mut port = [0; 36];
        port[33] = 16;
        assert_eq!(data[HEADER..HEADER + 36], port);
    }
}

#[test]
fn migration_features_are_probed_and_a_device_without_them_says_none() {
    let bench = Bench::new();
    let (card, other) =
        (bench.create("mtty", "mtty-1"), bench.create("mdevtest", "mdevtest-sparse"));
    let (card, other) = (bench.open(&card), bench.open(&other));
    let (get, set) = (FeatureUse::Get, FeatureUse::Set);
    for (feature, operation, there) in [
        (Feature::MIGRATION, get, true),
        (Feature::MIGRATION, set, false),
        (Feature::MIG_DEVICE_STATE, get, true),
        (Feature::MIG_DEVICE_STATE, set, true),
        (Feature::MIG_DATA_SIZE, get, true),
        (Feature::DMA_LOGGING_START, set, true),
        (Feature::DMA_LOGGING_STOP, set, true),
        (Feature::DMA_LOGGING_REPORT, get, true),
        (Feature::DMA_LOGGING_REPORT, set, false),
        (Feature::LOW_POWER_ENTRY, set, false),
        (Feature::PCI_VF_TOKEN, set, false),
        (Feature(0xffff), get, false),
    ] {
        let found = card.has_feature(feature, operation).unwrap();
        assert_eq!(found, there, "{feature}, {operation}");
        assert!(!other.has_feature(feature, operation).unwrap(), "{feature}, {operation}");
    }
    assert!(other.migration().unwrap().is_none());
    let refused = card.enter_low_power().unwrap_err();
    assert!(matches!(refused, FeatureError::Unsupported { .. }), "{refused}");
    assert!(matches!(other.exit_low_power(), Err(FeatureError::Unsupported { .. })));
    assert!(matches!(other.set_bus_master(true), Err(FeatureError::Unsupported { .. })));
}

#[test]
fn migration_of_garbage_is_refused_and_changes_nothing() {
    let bench = Bench::new();
    let cards = [bench.create("mtty", "mtty-2"), bench.create("mtty", "mtty-1")];
    let [card, single] = [bench.open(&cards[0]), bench.open(&cards[1])];
    furnish(&card, "staying");
    let before = both_ports(&card);
    let good = save(&card);
    let changed = |at: usize| {
        let mut data = good.clone();
        data[at] ^= 0xff;
        data
    };
    let garbage = [
        ("nothing", Vec::new()),
        ("a part of the header", good[..HEADER - 1].to_vec()),
        ("the header", good[..HEADER].to_vec()),
        ("all but a byte", good[..good.len() - 1].to_vec()),
        ("a byte too many", [good.as_slice(), &[0]].concat()),
        ("far too many", vec![0x55; 200_000]),
        ("zeroes", vec![0; good.len()]),
        ("another magic", changed(0)),
        ("another version", changed(8)),
        ("another number of ports", changed(16)),
        ("flags", changed(20)),
        ("a card with one port", save(&single)),
    ];
    for (what, data) in garbage {
        let error = migration(&card).restore(&mut data.as_slice(), |_| ()).unwrap_err();
        assert!(matches!(error, MigrationError::Refused { now: BACK, .. }), "{what}: {error:?}");
        assert_eq!(both_ports(&card), before, "{what}");
        assert_eq!(save(&card), good, "{what}");
    }
    migration(&card).restore(&mut good.as_slice(), |_| ()).unwrap();
    assert_eq!(received(&card, 0), b"staying\x00");
}

#[test]
fn migration_gives_first_data_while_the_card_runs_and_the_rest_when_it_stops() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let device = bench.open(&card);
    furnish(&device, "early");
    let migration = migration(&device);
    let mut stream = migration.go_to(MigrationState::PRE_COPY).unwrap().unwrap();
    let mut data = Vec::new();
    stream.read_to_end(&mut data).unwrap();
    assert_eq!(data.len(), HEADER);
    // It runs: what comes now is in the rest.
    device.region(0).unwrap().write8(7, 0x77).unwrap();
    assert!(migration.go_to(MigrationState::STOP_COPY).unwrap().is_none(), "the stream goes on");
    stream.read_to_end(&mut data).unwrap();
    assert_eq!((data.len(), data[HEADER + 7]), (TWO_PORTS, 0x77));
    migration.go_to(MigrationState::RUNNING).unwrap();

    let target = bench.create("mtty", "mtty-2");
    let target = bench.open(&target);
    target.migration().unwrap().unwrap().restore(&mut data.as_slice(), |_| ()).unwrap();
    assert_eq!(both_ports(&target), both_ports(&device));
}

#[test]
fn migration_with_pre_copy_moves_what_a_card_gives_while_it_runs() {
    let bench = Bench::new();
    let cards = [bench.create("mtty", "mtty-2"), bench.create("mtty", "mtty-2")];
    let [source, target] = [bench.open(&cards[0]), bench.open(&cards[1])];
    furnish(&source, "early");
    let (mut data, mut steps) = (Vec::new(), Vec::new());
    let saved = migration(&source).save_with_pre_copy(&mut data, 0, |bytes| {
        steps.push(bytes);
        if bytes == HEADER as u64 {
            assert_eq!(migration(&source).state().unwrap(), MigrationState::PRE_COPY);
            // It runs, and what changes now is in the rest.
            source.region(1).unwrap().write8(7, 0x77).unwrap();
        }
    });
    let (bytes, while_running) = (TWO_PORTS as u64, HEADER as u64);
    assert_eq!(saved.unwrap(), Saved { bytes, while_running });
    assert_eq!(steps, [while_running, bytes]);
    assert_eq!(migration(&source).state().unwrap(), MigrationState::RUNNING);
    assert_eq!(data, save(&source), "it is the same data");
    migration(&target).restore(&mut data.as_slice(), |_| ()).unwrap();
    assert_eq!(both_ports(&target), both_ports(&source));
    assert_eq!(received(&target, 0), b"early\x00");
}

#[test]
fn migration_tells_what_is_left_to_read_while_the_card_runs() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let device = bench.open(&card);
    let migration = migration(&device);
    let mut stream = migration.go_to(MigrationState::PRE_COPY).unwrap().unwrap();
    let left = |initial_bytes| PreCopyInfo { initial_bytes, dirty_bytes: 0 };
    assert_eq!(migration.pre_copy_info(&stream).unwrap(), left(HEADER as u64));
    stream.read_exact(&mut [0; 10]).unwrap();
    assert_eq!(migration.pre_copy_info(&stream).unwrap(), left(HEADER as u64 - 10));
    migration.go_to(MigrationState::PRE_COPY_P2P).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(migration.pre_copy_info(&stream).unwrap(), left(0));
    device.region(0).unwrap().write8(7, 1).unwrap();
    assert_eq!(migration.pre_copy_info(&stream).unwrap(), left(0), "changes are not counted");

    for state in [MigrationState::STOP_COPY, MigrationState::RUNNING] {
        migration.go_to(state).unwrap();
        let error = migration.pre_copy_info(&stream).unwrap_err();
        let now = Whereabouts::In(state);
        let is_told = matches!(error, MigrationError::PreCopy { now: found, .. } if found == now);
        assert!(is_told, "{error:?}");
    }
    let _next = migration.go_to(MigrationState::PRE_COPY).unwrap().unwrap();
    assert!(migration.pre_copy_info(&stream).is_err(), "the data of another transfer");
    migration.recover().unwrap();
}

#[test]
fn migration_states_are_walked_and_what_has_no_way_says_where_the_card_is() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-1");
    let device = bench.open(&card);
    let migration = migration(&device);
    for (to, has_data) in [
        (MigrationState::STOP, false),
        (MigrationState::RUNNING_P2P, false),
        (MigrationState::PRE_COPY_P2P, true),
        (MigrationState::PRE_COPY, false),
        (MigrationState::RUNNING, false),
        (MigrationState::STOP_COPY, true),
        (MigrationState::STOP_COPY, false),
    ] {
        assert_eq!(migration.go_to(to).unwrap().is_some(), has_data, "{to}");
        assert_eq!(migration.state().unwrap(), to);
    }
    for to in [MigrationState::PRE_COPY, MigrationState::ERROR, MigrationState(8)] {
        let error = migration.go_to(to).unwrap_err();
        assert!(matches!(error, MigrationError::Step { now: STOPPED, .. }), "{to}: {error:?}");
        assert!(error.to_string().contains("is in STOP_COPY and must be brought back"), "{error}");
    }
    let refused = migration.save(&mut Vec::new(), |_| ()).unwrap_err();
    assert!(matches!(refused, MigrationError::NotRunning { .. }), "{refused}");
    assert_eq!(migration.recover().unwrap(), MigrationState::STOP_COPY);
    assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
}

#[test]
fn migration_that_was_left_in_the_middle_is_recovered_after_the_card_was_closed() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let device = bench.open(&card);
    furnish(&device, "left");
    let good = save(&device);
    drop(device);
    for left_in in [
        MigrationState::STOP,
        MigrationState::PRE_COPY,
        MigrationState::PRE_COPY_P2P,
        MigrationState::STOP_COPY,
        MigrationState::RESUMING,
    ] {
        let device = bench.open(&card);
        drop(migration(&device).go_to(left_in).unwrap());
        drop(device);
        let device = bench.open(&card);
        let migration = migration(&device);
        assert_eq!(migration.state().unwrap(), left_in);
        let refused = migration.restore(&mut good.as_slice(), |_| ()).unwrap_err();
        assert!(matches!(refused, MigrationError::NotRunning { .. }), "{refused}");
        if left_in == MigrationState::RESUMING {
            let refused = migration.go_to(MigrationState::RUNNING).unwrap_err();
            assert!(matches!(refused, MigrationError::Abandoned { .. }), "{refused}");
        }
        assert_eq!(migration.recover().unwrap(), left_in);
        assert_eq!(save(&device), good, "{left_in}");
    }
}

#[test]
fn migration_data_ends_with_its_transfer() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let device = bench.open(&card);
    let migration = migration(&device);
    let mut stream = migration.go_to(MigrationState::RESUMING).unwrap().unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it is for writing");
    migration.recover().unwrap();
    assert!(stream.write(&[0]).is_err());
    let mut stream = migration.go_to(MigrationState::STOP_COPY).unwrap().unwrap();
    assert!(stream.write(&[0]).is_err(), "it is for reading");
    migration.recover().unwrap();
    // ENODEV from the kernel; a software device can only say that there is nothing more.
    assert!(!matches!(stream.read(&mut [0]), Ok(1)));
}
