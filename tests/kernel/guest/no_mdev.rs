//! On the machine `no_mdev`: a kernel that nobody has loaded a module with mediated devices into.

use std::process::Command;

use crate::machine::{complaint, run};

#[test]
fn a_kernel_without_the_bus_is_told_from_one_without_devices() {
    const SENTENCE: &str = "there is no mdev bus at /sys/bus/mdev: load the module of the vendor (kvmgt, mtty, \
                            ...), mdev.ko comes only with it; or try the software devices with --sim";
    for arguments in [&["list"][..], &["probe"]] {
        assert_eq!(complaint(arguments), SENTENCE);
    }
    let diagnosed = run(&["doctor"]);
    assert_eq!(diagnosed.status, 1);
    for part in ["/sys/bus/mdev is not there", "load the module of the vendor"] {
        assert!(diagnosed.stdout.contains(part), "{part}: {}", diagnosed.stdout);
    }

    // The way out, and the way back.
    for module in ["mdev", "mtty"] {
        busybox(&["insmod", &format!("/modules/{module}.ko")]);
    }
    let (listed, diagnosed) = (run(&["list"]), run(&["doctor"]));
    for module in ["mtty", "mdev"] {
        busybox(&["rmmod", module]);
    }
    assert_eq!(listed.status, 0, "{}", listed.stderr);
    assert!(listed.stdout.starts_with("No mediated devices in /sys/bus/mdev/devices."));
    assert_eq!(diagnosed.status, 0, "{}", diagnosed.stdout);
    assert!(diagnosed.stdout.contains("there is no mediated device"), "{}", diagnosed.stdout);
    assert_eq!(complaint(&["list"]), SENTENCE);
}

fn busybox(arguments: &[&str]) {
    assert!(Command::new("/bin/busybox").args(arguments).status().unwrap().success());
}
