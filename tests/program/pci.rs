//! PCI functions: software ones, and those of mock trees.

use serde_json::json;
use vfio_sim::tree::{PciFunction, Tree};

use crate::{complaint, json, run};

const FUNCTION: &str = "0000:00:09.0";

/// A tree with a function of each kind.
fn tree() -> Tree {
    let tree = Tree::without_mdev_bus().unwrap();
    let whole = PciFunction::new("0000:3b:00.0", 0x15b3, 0x101d).class(0x02_0000).numa_node(1);
    let whole = whole.virtual_functions(8).revision(0x10).kernel_driver("mlx5_core");
    let part = PciFunction::new("0000:3b:00.2", 0x15b3, 0x101e).class(0x02_0000);
    let part = part.virtual_of("0000:3b:00.0").vfio_driver("mlx5_vfio_pci");
    let bare = PciFunction::new("0000:00:1f.0", 0x8086, 0x1912).without_group();
    [whole, part, bare].iter().for_each(|function| tree.add_function(function).unwrap());
    tree
}

/// Arguments for a run on a tree.
fn on<'a>(tree: &'a Tree, arguments: &[&'a str]) -> Vec<&'a str> {
    let roots = ["--sysfs", tree.sysfs().to_str().unwrap(), "--dev", tree.dev().to_str().unwrap()];
    [roots.as_slice(), arguments].concat()
}

#[test]
fn list_has_a_row_a_function_with_the_fields_that_are_promised() {
    let tree = tree();
    let arguments = on(&tree, &["pci", "list"]);
    let rows = json(&arguments);
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!(
        rows[2],
        json!({
            "address": "0000:3b:00.2", "vendor": 0x15b3, "device": 0x101e, "subsystem_vendor": 0,
            "subsystem_device": 0, "class": 0x02_0000, "revision": 0, "numa_node": null,
            "iommu_group": 1, "kernel_driver": "mlx5_vfio_pci", "driver_override": null,
            "offered": true, "vfio_dev": "vfio0", "sriov": {"physical": "0000:3b:00.0"},
            "driver": null,
        })
    );
    assert_eq!(rows[1]["sriov"], json!({"total": 8, "current": 1}));
    let text = run(&arguments);
    assert_eq!((text.status, text.stderr.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> =
        text.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let bare = ["0000:00:1f.0", "8086:1912", "ff0000", "00", "-", "-", "-", "-", "-", "-"];
    assert_eq!(lines[1], bare);
    let whole = [
        "0000:3b:00.0",
        "15b3:101d",
        "020000",
        "10",
        "1",
        "0",
        "mlx5_core",
        "-",
        "1",
        "of",
        "8",
        "-",
    ];
    assert_eq!(lines[2], whole);
}

#[test]
fn entries_that_are_odd_are_said_and_the_others_listed() {
    let tree = tree();
    tree.link("bus/pci/devices/nonsense", "../../../devices").unwrap();
    tree.write("bus/pci/devices/0000:00:1f.0/uevent", b"\xff").unwrap();
    tree.remove("bus/pci/devices/0000:3b:00.0/iommu_group").unwrap();
    tree.write("bus/pci/devices/0000:3b:00.0/iommu_group", "1").unwrap();
    let arguments = on(&tree, &["pci", "list"]);
    let ran = run(&arguments);
    assert_eq!((ran.status, ran.stdout.lines().count()), (1, 3), "{}", ran.stdout);
    assert!(ran.stderr.contains("is not a PCI address as the kernel writes it"), "{}", ran.stderr);
    assert!(ran.stderr.contains("0000:3b:00.0: "), "{}", ran.stderr);
}

#[test]
fn a_machine_without_pci_says_so() {
    let tree = Tree::without_mdev_bus().unwrap();
    let arguments = on(&tree, &["pci", "list"]);
    let error = complaint(&arguments);
    assert!(error.starts_with("there is no PCI bus at "), "{error}");
    tree.mkdir("bus/pci/devices").unwrap();
    let ran = run(&arguments);
    assert!(ran.status == 0 && ran.stdout.starts_with("No PCI functions in "), "{}", ran.stdout);
}

#[test]
fn show_peek_and_poke_take_a_function() {
    let shown = json(&["--sim", "pci", "show", "00:09.0"]);
    assert_eq!(shown["address"], FUNCTION);
    assert_eq!((&shown["pci"]["vendor"], &shown["pci"]["device"]), (&json!(0x1b36), &json!(5)));
    assert_eq!(
        (&shown["regions"][1]["name"], &shown["regions"][1]["size"]),
        (&json!("bar1"), &json!(0x100))
    );
    let text = run(&["--sim", "pci", "show", FUNCTION]);
    assert!(text.stdout.starts_with("0000:00:09.0  reset pci\nPCI 1b36:0005"), "{}", text.stdout);

    let peeked = json(&["--sim", "peek", FUNCTION, "7", "0"]);
    let expected = json!({
        "address": FUNCTION, "region": 7, "offset": 0, "width": 4, "via": "trapped",
        "values": ["0x00051b36"],
    });
    assert_eq!(peeked, expected);
    let poked = json(&["--sim", "poke", FUNCTION, "1", "0", "1", "--width", "1"]);
    assert_eq!((&poked["address"], &poked["value"]), (&json!(FUNCTION), &json!("0x01")));
    assert!(poked["uuid"].is_null());
    let beyond = complaint(&["--sim", "peek", FUNCTION, "1", "0x100"]);
    assert!(beyond.contains(FUNCTION) && beyond.contains("pass the end of region 1"), "{beyond}");
}

#[test]
fn probe_tries_what_is_named_and_nothing_of_the_hosts() {
    let named = json(&["--sim", "pci", "probe", FUNCTION]);
    assert_eq!(named["devices"].as_array().unwrap().len(), 1);
    assert_eq!(named["devices"][0]["address"], FUNCTION);

    let tree = tree();
    let arguments = on(&tree, &["pci", "probe"]);
    let probed = json(&arguments);
    assert_eq!(probed, json!({"devices": [], "bound": 0, "failed": 0}));
    let text = run(&arguments);
    assert!(text.stdout.contains("`mdevbus pci list` shows both"), "{}", text.stdout);
}

#[test]
fn mistakes_name_the_function_and_the_way_out() {
    let error = complaint(&["--sim", "pci", "show", "0000:00:0a.0"]);
    assert!(error.contains("0000:00:0a.0") && error.contains("see `mdevbus pci list`"), "{error}");
    let tree = tree();
    let arguments = on(&tree, &["peek", "0000:3b:00.0", "0", "0"]);
    let error = complaint(&arguments);
    assert!(error.starts_with("0000:3b:00.0 is bound to mlx5_core"), "{error}");
    for (arguments, part) in [
        (vec!["--sim", "pci", "show", "00:20.0"], "is not a PCI address"),
        (vec!["--sim", "peek", "3b:00", "0", "0"], "neither a UUID nor a PCI address"),
        (vec!["pci"], "Usage"),
    ] {
        let ran = run(&arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
    }
}
