//! Mistakes: one sentence that names the thing and the way out, and the right exit status.

use crate::{complaint, run};

const CARD: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

#[test]
fn wrong_arguments_exit_with_2_and_say_which() {
    for (arguments, part) in [
        (vec!["--sim", "show", "not-a-uuid"], "is not a UUID"),
        (vec!["--sim", "show", "83b8f4f2509f382f3c1ee6bfe0fa1001"], "is not a UUID"),
        (vec!["--sim", "peek", CARD, "x", "0"], "write it as"),
        (vec!["--sim", "peek", CARD, "0", "0x"], "write it as"),
        (vec!["--sim", "peek", CARD, "0", "0", "--width", "3"], "--width"),
        (vec!["--sim", "peek", CARD, "0", "0", "--count", "0"], "give 1 or more"),
        (vec!["--sim", "poke", CARD, "0", "0"], "<VALUE>"),
        (vec!["--sim", "poke", CARD, "0", "0", "256", "--width", "1"], "does not fit in 1 bytes"),
        (vec!["--sim", "--sysfs", "/sys", "list"], "--sysfs"),
        (vec!["doctor", "3b:00"], "neither a UUID nor a PCI address"),
        (vec!["pci"], "bind"),
        (vec!["pci", "bind"], "<BDF>"),
        (vec!["pci", "bind", "3b:00"], "is not a PCI address"),
        (vec!["pci", "unbind"], "<BDF>"),
        (vec!["--sim", "pci", "bind", "3b:00.0"], "leave out --sim"),
        (vec!["--sim", "pci", "unbind", "3b:00.0"], "leave out --sim"),
        (vec!["--sim", "pci", "restore"], "leave out --sim"),
        (vec!["--vf-token", "not-a-uuid", "pci", "list"], "--vf-token"),
        (vec!["--sim", "--vf-token", NOBODY, "pci", "list"], "--vf-token"),
        (vec!["frobnicate"], "frobnicate"),
    ] {
        let ran = run(&arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"));
    }
    assert_eq!(run(&[]).status, 2);
}

#[test]
fn places_that_a_device_does_not_have_are_named() {
    for (place, part) in [
        (["0", "8"], "4 bytes at 0x8 pass the end of region 0"),
        (["0", "18446744073709551612"], "pass the end of region 0"),
        (["2", "0"], "has no region 2"),
        (["4294967295", "0"], "has no region 4294967295"),
        (["0", "2"], "0x2 in region 0"),
    ] {
        let error = complaint(&[&["--sim", "peek", CARD], place.as_slice()].concat());
        assert!(error.contains(part) && error.contains(CARD), "{error}");
    }
    let many = ["--sim", "peek", CARD, "0", "0", "--count", "0xffffffffffffffff"];
    assert!(complaint(&many).contains("pass the end of region 0"));
}

#[test]
fn a_device_that_is_not_there_is_named_with_where_it_was_looked_for() {
    let nobody = "00000000-0000-0000-0000-000000000000";
    let error = complaint(&["--sim", "show", nobody]);
    assert!(error.starts_with(&format!("there is no device {nobody} in ")), "{error}");
    assert!(error.contains("bus/mdev/devices: see `mdevbus list`"), "{error}");
    let probed = run(&["--sim", "probe", nobody, CARD]);
    assert_eq!(probed.status, 1);
    assert!(probed.stdout.contains("1 bound, 1 failed"), "{}", probed.stdout);
    assert!(probed.stderr.contains(nobody), "{}", probed.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_mdevbus"));
    // The reader is gone before the program starts.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program().args(["--sim", "list"]).stdout(writer).output().unwrap();
    let ran = crate::ran(output);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));

    // What went wrong is said all the same.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program().args(["--sim", "probe", NOBODY]).stdout(full).output().unwrap();
    let ran = crate::ran(output);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains(NOBODY), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot write to standard output"), "{}", ran.stderr);
}

#[test]
fn a_path_with_a_line_end_stays_on_its_line() {
    let error = complaint(&["--sysfs", "/no\nsuch", "list"]);
    assert!(error.contains("/no\\nsuch"), "{error}");
}

#[test]
fn a_device_that_is_named_twice_is_probed_once() {
    let ran = run(&["--sim", "probe", CARD, CARD]);
    assert!(ran.stdout.contains("1 bound, 0 failed, 0 left alone"), "{}", ran.stdout);
}
