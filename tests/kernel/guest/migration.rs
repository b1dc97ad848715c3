//! The state of a real card moves to another one, by the program alone.

use std::fs;
use std::path::Path;

use serde_json::json;

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
