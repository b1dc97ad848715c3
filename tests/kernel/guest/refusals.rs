//! What the kernel refuses becomes one sentence that says what to do.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;

use crate::machine::{self, Created, complaint, device_node, group_node, mdevbus, nodes, ran};

#[test]
fn an_ordinary_user_is_told_whose_the_node_is() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    // The other node may be open to all, but not this one.
    let [own, shared] = nodes(&device);
    chown(&shared, Some(1000), Some(1000)).unwrap();
    let output = ran(mdevbus().args(["show", &device.uuid]).uid(1000).gid(1000).output().unwrap());
    chown(&shared, Some(0), Some(0)).unwrap();
    assert_eq!(output.status, 1);
    // What udev matches by is the class that sysfs has the node in.
    let number = fs::metadata(&own).unwrap().rdev();
    let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let class = machine::link_name(format!("/sys/dev/char/{number}/subsystem"));
    let rule = format!("SUBSYSTEM==\"{class}\", GROUP=");
    let own = own.to_str().unwrap();
    for part in [own, "owner 0:0, mode 0600", "udev rule", &rule, "Permission denied"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    // Listing needs no permission.
    let listed = ran(mdevbus().arg("list").uid(1000).gid(1000).output().unwrap());
    assert!(listed.status == 0 && listed.stdout.contains(&device.uuid));
}

#[test]
fn an_ordinary_user_who_was_given_the_nodes_can_use_them() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    for node in nodes(&device) {
        chown(node, Some(1000), Some(1000)).unwrap();
    }
    let output = ran(mdevbus().args(["show", &device.uuid]).uid(1000).gid(1000).output().unwrap());
    for node in nodes(&device) {
        chown(node, Some(0), Some(0)).unwrap();
    }
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
}

#[test]
fn a_device_whose_group_somebody_holds_is_busy() {
    let device = Created::new("mtty", "mtty-1");
    let held = File::options().read(true).write(true).open(group_node(&device)).unwrap();
    let error = complaint(&["show", &device.uuid]);
    let holder = format!("process {} (", std::process::id());
    for part in [holder.as_str(), "has it open", "busy"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    drop(held);
    assert_eq!(machine::run(&["show", &device.uuid]).status, 0);
}

#[test]
fn without_a_way_to_its_own_node_a_device_is_opened_by_its_group() {
    let device = Created::new("mtty", "mtty-1");
    let show = |route: &str| {
        let mut program = machine::program();
        program.args(["-v", "--route", route, "show", &device.uuid]).uid(1000).gid(1000);
        ran(program.output().unwrap())
    };
    chown(group_node(&device), Some(1000), Some(1000)).unwrap();
    let auto = show("auto");
    assert_eq!(auto.status, 0, "{}", auto.stderr);
    assert!(auto.stderr.contains("opened by its group"), "{}", auto.stderr);
    assert_eq!(show("group").status, 0);
    let cdev = show("cdev");
    let node = device_node(&device);
    assert_eq!(cdev.status, 1);
    // The iommufd comes first.
    let named = cdev.stderr.contains(node.to_str().unwrap()) || cdev.stderr.contains("/dev/iommu");
    assert!(named && cdev.stderr.contains("Permission denied"), "{}", cdev.stderr);
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
fn missing_nodes_and_files_that_are_no_nodes_are_named() {
    let device = Created::new("mtty", "mtty-1");
    let dev = tempfile::tempdir().unwrap();
    let root = dev.path().to_str().unwrap();
    let error = complaint(&["--dev", root, "show", &device.uuid]);
    assert!(error.contains("No such file or directory") && error.contains(root), "{error}");
    for node in nodes(&device) {
        let file = dev.path().join(node.strip_prefix("/dev").unwrap());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    let error = complaint(&["--dev", root, "show", &device.uuid]);
    assert!(error.contains("not a device node of VFIO"), "{error}");
}
