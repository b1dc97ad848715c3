//! The state of a real card moves to another one, by the program alone.

use std::fs;
use std::path::Path;

use mdev_bus::Bus;
use serde_json::json;
use vfio_common::migration::MigrationState;

use crate::machine::{self, Created, complaint};

fn poke(card: &Created, region: &str, offset: &str, value: &str) {
    let ran = machine::run(&["poke", &card.uuid, region, offset, value, "--width", "1"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
}

fn peek(card: &Created, region: &str, offset: &str) -> String {
    let ran = machine::run(&["peek", &card.uuid, region, offset, "--width", "1"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    ran.stdout.trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn migration_by_save_and_restore_moves_a_real_cards_state() {
    let [source, target] = [Created::new("mtty", "mtty-2"), Created::new("mtty", "mtty-2")];
    // FIFO on, 8 bits, RTS; bytes in flight on both ports; scratch.
    for (region, byte, scratch) in [("0", "0x41", "0x5a"), ("1", "0x42", "0xa5")] {
        for (offset, value) in [("2", "1"), ("3", "3"), ("4", "2"), ("7", scratch), ("0", byte)] {
            poke(&source, region, offset, value);
        }
    }
    assert_eq!([peek(&target, "0", "7"), peek(&target, "0", "5")], ["0x00", "0x60"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("card.state");
    let saved = machine::json(&["save", &source.uuid, text(&file)]);
    assert_eq!(saved, json!({"uuid": source.uuid, "file": text(&file), "bytes": 0x60}));
    let restored = machine::json(&["restore", &target.uuid, text(&file)]);
    assert_eq!(restored, json!({"uuid": target.uuid, "file": text(&file), "bytes": 0x60}));

    for card in [&source, &target] {
        for (region, byte, scratch) in [("0", "0x41", "0x5a"), ("1", "0x42", "0xa5")] {
            for (offset, value) in
                [("3", "0x03"), ("4", "0x02"), ("7", scratch), ("5", "0x01"), ("0", byte)]
            {
                assert_eq!(peek(card, region, offset), value, "{region} {offset}");
            }
            assert_eq!(peek(card, region, "5"), "0x60", "it was the only byte");
        }
    }
}

#[test]
fn migration_to_another_type_or_from_a_bad_file_leaves_the_card_alone() {
    let [source, target] = [Created::new("mtty", "mtty-2"), Created::new("mtty", "mtty-1")];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("card.state");
    assert_eq!(machine::run(&["save", &source.uuid, text(&file)]).status, 0);
    poke(&source, "0", "7", "0x77");
    poke(&target, "0", "7", "0x66");
    let error = complaint(&["restore", &target.uuid, text(&file)]);
    assert!(error.contains("is the state of a device of type mtty-2"), "{error}");

    let mut bytes = fs::read(&file).unwrap();
    let length = bytes.len();
    bytes[length - 20] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(complaint(&["restore", &source.uuid, text(&file)]).contains("is damaged"));
    fs::write(&file, &bytes[..length - 20]).unwrap();
    assert!(complaint(&["restore", &source.uuid, text(&file)]).contains("is cut short"));
    assert_eq!([peek(&source, "0", "7"), peek(&target, "0", "7")], ["0x77", "0x66"]);

    let other = Created::new("mdpy", "mdpy-xga");
    let error = complaint(&["save", &other.uuid, text(&file)]);
    assert!(error.contains("cannot be migrated"), "{error}");
}

#[test]
fn migration_that_a_killed_program_left_behind_is_cleared_up_and_told() {
    let card = Created::new("mtty", "mtty-2");
    poke(&card, "0", "7", "0x5a");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("card.state");
    for left_in in [MigrationState::STOP_COPY, MigrationState::RESUMING] {
        let bus = Bus::builder().build().unwrap();
        let device = bus.open(&card.uuid.parse().unwrap()).unwrap();
        // Closed where it is, as when the program is killed.
        drop(device.migration().unwrap().unwrap().go_to(left_in).unwrap());
        drop((device, bus));
        let ran = machine::run(&["save", &card.uuid, text(&file)]);
        let told = format!(
            "mdevbus: {} was left in migration state {left_in} and is now back in RUNNING\n",
            card.uuid
        );
        assert_eq!((ran.status, ran.stderr), (0, told));
        assert_eq!(peek(&card, "0", "7"), "0x5a");
        assert_eq!(machine::run(&["restore", &card.uuid, text(&file)]).stderr, "");
    }
}
