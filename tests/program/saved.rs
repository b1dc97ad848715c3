//! Saving to files and restoring from them, on software devices: they are new at each start, so what
//! is looked at here is the files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::{complaint, json, run};

/// A card with two ports.
const CARD: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const STATE: u64 = 0x60;

fn uuid_of(mdev_type: &str) -> String {
    let rows = json(&["--sim", "list"]);
    let mut rows = rows.as_array().unwrap().iter();
    let row = rows.find(|row| row["mdev_type"] == mdev_type).unwrap();
    row["uuid"].as_str().unwrap().to_owned()
}

/// A folder with the state of a card in it.
fn saved() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("card.state");
    let told = json(&["--sim", "save", CARD, text(&file)]);
    assert_eq!(told, json!({"uuid": CARD, "file": text(&file), "bytes": STATE}));
    (folder, file)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_saved_card_is_restored_and_both_say_so() {
    let (folder, file) = saved();
    assert_eq!(names(&folder), ["card.state"]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what a device holds is nobody else's business");
    let restored = run(&["--sim", "restore", CARD, text(&file)]);
    let expected = format!("restored {CARD} from {}, 96 bytes of state\n", file.display());
    assert_eq!((restored.status, restored.stdout, restored.stderr), (0, expected, String::new()));
    let told = json(&["--sim", "restore", CARD, text(&file)]);
    assert_eq!(told, json!({"uuid": CARD, "file": text(&file), "bytes": STATE}));
}

#[test]
fn a_save_replaces_the_file_that_is_there_and_only_when_it_is_complete() {
    let (folder, file) = saved();
    let good = fs::read(&file).unwrap();
    fs::write(&file, "older").unwrap();
    let again = run(&["--sim", "save", CARD, text(&file)]);
    assert_eq!((again.status, again.stderr.as_str()), (0, ""));
    assert_eq!(fs::read(&file).unwrap(), good);

    fs::write(&file, "older").unwrap();
    let platform = uuid_of("mdevtest-platform");
    let error = complaint(&["--sim", "save", &platform, text(&file)]);
    let expected = "cannot be migrated: its kernel driver does not save and restore devices";
    assert_eq!(error, format!("{platform} {expected}"));
    assert_eq!(fs::read(&file).unwrap(), b"older");
    assert_eq!(names(&folder), ["card.state"], "no half file stays");
}

#[test]
fn a_file_that_is_not_right_is_refused_with_the_reason() {
    let (folder, file) = saved();
    let good = fs::read(&file).unwrap();
    let length = good.len();
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    let cut = "is cut short: it has";
    let cases = [
        ("empty", Vec::new(), cut),
        ("inside the magic", good[..5].to_vec(), cut),
        ("inside the version", good[..10].to_vec(), cut),
        ("inside the identity", good[..40].to_vec(), cut),
        ("inside the data", good[..length - 50].to_vec(), cut),
        ("inside the checksum", good[..length - 1].to_vec(), cut),
        ("longer", [good.as_slice(), b"more"].concat(), "has 4 bytes behind its end"),
        ("another file", b"#!/bin/sh\nexit 0\n".to_vec(), "is no saved device: `mdevbus save`"),
        ("magic", changed(0), "is no saved device"),
        ("version", changed(8), "of format 65, and this program knows format 1"),
        ("identity", changed(24), "is damaged: its checksum is wrong"),
        ("length of the identity", changed(15), "is damaged"),
        ("length of the data", changed(length - 101), cut),
        ("data", changed(length - 50), "is damaged"),
        ("checksum", changed(length - 1), "is damaged"),
    ];
    for (what, bytes, part) in cases {
        let file = folder.path().join("bad.state");
        fs::write(&file, bytes).unwrap();
        let error = complaint(&["--sim", "restore", CARD, text(&file)]);
        assert!(error.starts_with(text(&file)) && error.contains(part), "{what}: {error}");
    }
}

#[test]
fn a_state_of_another_kind_of_device_is_refused() {
    let (_folder, file) = saved();
    let single = uuid_of("mtty-1");
    let error = complaint(&["--sim", "restore", &single, text(&file)]);
    let both = "PCI 4348:3253, subsystem 4348:3253";
    let expected = format!(
        "{} is the state of a device of type mtty-2 (vfio-pci, {both}), and {single} is of type mtty-1 (vfio-pci, {both}): \
         restore it to a device of the same type",
        file.display()
    );
    assert_eq!(error, expected);
    let platform = uuid_of("mdevtest-platform");
    let error = complaint(&["--sim", "restore", &platform, text(&file)]);
    assert!(error.contains("cannot be migrated"), "{error}");
}

#[test]
fn places_and_devices_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing/card.state");
    let error = complaint(&["--sim", "save", CARD, text(&nowhere)]);
    let expected = format!("cannot make a file for the state in {}", folder.path().display());
    assert!(error.starts_with(&expected) && error.contains("No such file"), "{error}");
    let error = complaint(&["--sim", "restore", CARD, text(&nowhere)]);
    assert!(error.starts_with(&format!("cannot read {}", nowhere.display())), "{error}");
    let error = complaint(&["--sim", "save", CARD, text(folder.path())]);
    assert!(error.contains("Is a directory"), "{error}");
    let nobody = "00000000-0000-0000-0000-000000000000";
    let file = folder.path().join("nobody.state");
    let error = complaint(&["--sim", "save", nobody, text(&file)]);
    assert!(error.starts_with(&format!("there is no device {nobody}")), "{error}");
    assert_eq!(names(&folder), Vec::<String>::new());
}
