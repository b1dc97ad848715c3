//! What the kernel refuses becomes one sentence that says what to do.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;

use crate::machine::{self, Created, complaint, link_name, mdevbus, ran};

fn group_node(created: &Created) -> String {
    format!("/dev/vfio/{}", link_name(created.path().join("iommu_group")))
}

#[test]
fn an_ordinary_user_is_told_whose_the_node_is() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    let output = ran(mdevbus().args(["show", &device.uuid]).uid(1000).gid(1000).output().unwrap());
    assert_eq!(output.status, 1);
    let node = group_node(&device);
    for part in [node.as_str(), "owner 0:0, mode 0600", "udev rule", "Permission denied"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    // Listing needs no permission.
    let listed = ran(mdevbus().arg("list").uid(1000).gid(1000).output().unwrap());
    assert!(listed.status == 0 && listed.stdout.contains(&device.uuid));
}

#[test]
fn an_ordinary_user_who_was_given_the_node_can_use_it() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    std::os::unix::fs::chown(group_node(&device), Some(1000), Some(1000)).unwrap();
    let output = ran(mdevbus().args(["show", &device.uuid]).uid(1000).gid(1000).output().unwrap());
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
}

#[test]
fn a_group_that_somebody_holds_is_busy() {
    let device = Created::new("mtty", "mtty-1");
    let held = File::options().read(true).write(true).open(group_node(&device)).unwrap();
    let error = complaint(&["show", &device.uuid]);
    let holder = format!("process {} (", std::process::id());
    for part in [group_node(&device).as_str(), holder.as_str(), "has it open", "busy"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    drop(held);
    assert_eq!(machine::run(&["show", &device.uuid]).status, 0);
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let error = complaint(&["show", "00000000-0000-0000-0000-000000000000"]);
    let expected = "there is no device 00000000-0000-0000-0000-000000000000 in \
                    /sys/bus/mdev/devices: see `mdevbus list` for those there are";
    assert_eq!(error, expected);
}

#[test]
fn places_that_a_device_does_not_have_are_refused() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    let uuid = device.uuid.as_str();
    for (arguments, part) in [
        (["peek", uuid, "0", "0x8000"], "pass the end of region 0"),
        (["peek", uuid, "0", "0x7ffd"], "pass the end of region 0"),
        (["peek", uuid, "5", "0"], "has no region 5"),
        (["peek", uuid, "8", "0"], "has no region 8"),
        (["peek", uuid, "99", "0"], "has no region 99"),
        (["peek", uuid, "2", "2"], "not a multiple of the width 4"),
    ] {
        let error = complaint(&arguments);
        assert!(error.contains(part) && error.contains(uuid), "{error}");
    }
    let error = complaint(&["poke", uuid, "9", "0", "1"]);
    assert!(error.contains("cannot be written"), "{error}");
}

#[test]
fn an_upper_case_uuid_is_the_same_device() {
    let device = Created::new("mtty", "mtty-1");
    let shown = machine::json(&["show", &device.uuid.to_uppercase()]);
    assert_eq!(shown["uuid"], device.uuid);
}

#[test]
fn a_missing_container_node_is_named_with_the_module() {
    let device = Created::new("mtty", "mtty-1");
    let nodes = tempfile::tempdir().unwrap();
    let dev = nodes.path().to_str().unwrap();
    let error = complaint(&["--dev", dev, "show", &device.uuid]);
    assert!(error.contains("No such file or directory") && error.contains(dev), "{error}");
    // A file is no node.
    fs::create_dir(nodes.path().join("vfio")).unwrap();
    fs::write(nodes.path().join("vfio").join(link_name(device.path().join("iommu_group"))), "")
        .unwrap();
    let error = complaint(&["--dev", dev, "show", &device.uuid]);
    assert!(error.contains("not a device node of VFIO"), "{error}");
}
