//! On mock sysfs trees.

use std::process::Command;

use vfio_sim::tree::{MdevDevice, MdevType, Parent, Tree};

use crate::{complaint, json, run};

const UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

fn tree() -> Tree {
    let tree = Tree::new().unwrap();
    let kind = MdevType::new("mtty-2", "vfio-pci").name("Dual port serial").instances(12);
    tree.add_parent(&Parent::new("mtty").with_type(kind)).unwrap();
    tree
}

fn at<'a>(tree: &'a Tree, arguments: &[&'a str]) -> Vec<&'a str> {
    let roots = ["--sysfs", tree.sysfs().to_str().unwrap(), "--dev", tree.dev().to_str().unwrap()];
    [&roots, arguments].concat()
}

#[test]
fn a_missing_sysfs_and_a_missing_bus_are_named_with_the_way_out() {
    for command in [vec!["list"], vec!["types"], vec!["probe"], vec!["show", UUID]] {
        let error = complaint(&[&["--sysfs", "/no-such-sysfs"], command.as_slice()].concat());
        assert!(error.starts_with("there is no sysfs at /no-such-sysfs: mount it"), "{error}");
        let tree = Tree::without_mdev_bus().unwrap();
        let error = complaint(&at(&tree, &command));
        let expected = format!(
            "there is no mdev bus at {}: load the module of the vendor (kvmgt, mtty, ...), mdev.ko \
             comes only with it; or try the software devices with --sim",
            tree.sysfs().join("bus/mdev").display()
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn an_empty_bus_says_what_was_looked_for_and_what_to_do() {
    let tree = tree();
    for command in ["list", "probe"] {
        let ran = run(&at(&tree, &[command]));
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        assert!(ran.stdout.contains("bus/mdev/devices"), "{}", ran.stdout);
        assert!(ran.stdout.contains("mdevbus types"), "{}", ran.stdout);
    }
    assert_eq!(json(&at(&tree, &["list"])), serde_json::json!([]));
    let empty = Tree::new().unwrap();
    assert!(run(&at(&empty, &["types"])).stdout.contains("class/mdev_bus can be split"));
}

#[test]
fn incomplete_and_unreadable_devices_do_not_hide_the_others() {
    let tree = tree();
    tree.add_device(&MdevDevice::new(UUID, "mtty", "mtty-2")).unwrap();
    let broken = "00000000-0000-0000-0000-00000000000b";
    tree.add_device(&MdevDevice::new(broken, "mtty", "mtty-2")).unwrap();
    tree.remove(format!("devices/virtual/mtty/mtty/{broken}/driver")).unwrap();
    tree.write(format!("devices/virtual/mtty/mtty/{broken}/driver"), "no link").unwrap();
    let driverless = "00000000-0000-0000-0000-00000000000d";
    tree.add_device(&MdevDevice::new(driverless, "mtty", "mtty-2").without_driver()).unwrap();

    let listed = run(&at(&tree, &["list"]));
    assert_eq!(listed.status, 1);
    assert!(listed.stdout.contains(UUID) && listed.stdout.contains(driverless));
    assert!(listed.stderr.contains(broken) && listed.stderr.contains("left out"));

    let error = complaint(&at(&tree, &["show", driverless]));
    assert!(error.contains("has no kernel driver bound to it: remove and create"), "{error}");
}

#[test]
fn attributes_and_folders_that_cannot_be_read_hide_nothing_else() {
    let kind = "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2";
    let vfio_dev = format!("devices/virtual/mtty/mtty/{UUID}/vfio-dev");
    // What is spoilt, how, and how many complaints it is worth.
    type Spoil<'a> = &'a dyn Fn(&Tree);
    let spoil: [(&str, Spoil<'_>, usize); 6] = [
        ("an attribute is a folder", &|tree| tree.mkdir(format!("{kind}/description")).unwrap(), 0),
        (
            "an attribute is a loop",
            &|tree| {
                tree.remove(format!("{kind}/name")).unwrap();
                tree.link(format!("{kind}/name"), "name").unwrap();
            },
            0,
        ),
        ("a parent is a loop", &|tree| tree.link("class/mdev_bus/loop", "loop").unwrap(), 1),
        ("a parent is a file", &|tree| tree.write("class/mdev_bus/file", "").unwrap(), 1),
        ("a type is a file", &|tree| tree.write(format!("{kind}-file"), "").unwrap(), 1),
        (
            "vfio-dev is a file",
            &|tree| {
                tree.remove(&vfio_dev).unwrap();
                tree.write(&vfio_dev, "").unwrap();
            },
            1,
        ),
    ];
    for (what, spoil, complaints) in spoil {
        let tree = tree();
        tree.add_device(&MdevDevice::new(UUID, "mtty", "mtty-2")).unwrap();
        spoil(&tree);
        let listed = run(&at(&tree, &["list"]));
        assert_eq!(listed.status, i32::from(complaints > 0), "{what}: {}", listed.stderr);
        assert!(listed.stdout.contains(UUID), "{what}");
        assert_eq!(listed.stderr.lines().count(), complaints, "{what}: {}", listed.stderr);
        assert!(run(&at(&tree, &["types"])).stdout.contains("mtty-2"), "{what}");
    }
}

#[test]
fn without_a_device_node_the_error_says_where_it_comes_from() {
    let tree = tree();
    tree.add_device(&MdevDevice::new(UUID, "mtty", "mtty-2").group(7)).unwrap();
    // The mock's nodes are files.
    let node = tree.dev().join("vfio/7");
    let ran = run(&at(&tree, &["probe"]));
    let expected = format!(
        "mdevbus: {UUID}: {} is not a device node of VFIO: name the directory that stands for /dev\n",
        node.display()
    );
    assert_eq!((ran.status, ran.stderr), (1, expected));
    std::fs::remove_file(&node).unwrap();
    let ran = run(&at(&tree, &["probe"]));
    assert_eq!(ran.status, 1);
    for part in [node.to_str().unwrap(), "--device", "No such file or directory"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
}

#[test]
fn a_device_without_an_iommu_is_refused() {
    let tree = tree();
    tree.add_device(&MdevDevice::new(UUID, "mtty", "mtty-2").group(7)).unwrap();
    tree.write("class/vfio/noiommu-7/dev", "511:7\n").unwrap();
    let error = complaint(&at(&tree, &["show", UUID]));
    let start =
        "group 7 has no IOMMU, so its devices could write to all memory: switch the IOMMU on";
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn ten_thousand_devices_are_listed() {
    let tree = tree();
    for number in 0..10_000 {
        let uuid = format!("{number:08x}-509f-382f-3c1e-e6bfe0fa1001");
        tree.add_device(&MdevDevice::new(uuid, "mtty", "mtty-2")).unwrap();
    }
    assert_eq!(json(&at(&tree, &["list"])).as_array().unwrap().len(), 10_000);
}

#[test]
fn what_the_kernel_hands_out_cannot_spoil_the_terminal() {
    let tree = tree();
    let name = "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/name";
    tree.write(name, "evil\u{1b}[2Jname\r\n").unwrap();
    let shown = run(&at(&tree, &["types"]));
    assert!(!shown.stdout.contains('\u{1b}') && !shown.stdout.contains('\r'), "{}", shown.stdout);
    assert!(shown.stdout.contains("evil"), "{}", shown.stdout);
}

#[test]
fn help_names_every_subcommand() {
    let output = Command::new(env!("CARGO_BIN_EXE_mdevbus")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands =
        ["list", "types", "drivers", "show", "probe", "doctor", "peek", "poke", "save", "restore"];
    for command in commands {
        assert!(help.contains(command), "{command}: {help}");
    }
}
