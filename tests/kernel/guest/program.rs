//! What the program says agrees with sysfs.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::machine::{self, Created, attribute, link_name, type_dir};

fn find<'a>(rows: &'a Value, uuid: &str) -> &'a Value {
    rows.as_array().unwrap().iter().find(|row| row["uuid"] == uuid).unwrap()
}

#[test]
fn list_agrees_with_sysfs() {
    let devices = [
        (Created::new("mtty", "mtty-2"), "mtty", "mtty-2", Some("mtty")),
        (Created::new("mdpy", "mdpy-xga"), "mdpy", "mdpy-xga", None),
        (Created::new("mbochs", "mbochs-small"), "mbochs", "mbochs-small", None),
        (Created::new("mdevtest", "mdevtest-sparse"), "mdevtest", "mdevtest-sparse", None),
        (
            Created::new("mdevtest-soc", "mdevtest-platform"),
            "mdevtest-soc",
            "mdevtest-platform",
            None,
        ),
    ];
    let rows = machine::json(&["list"]);
    let listed: BTreeSet<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["uuid"].as_str().unwrap().to_owned())
        .collect();
    let there: BTreeSet<_> = fs::read_dir("/sys/bus/mdev/devices")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(listed, there);
    for (created, parent, mdev_type, driver) in &devices {
        let row = find(&rows, &created.uuid);
        let kind = type_dir(parent, mdev_type);
        assert_eq!(row["parent"], *parent);
        assert_eq!(row["mdev_type"], link_name(created.path().join("mdev_type")));
        assert_eq!(row["mdev_type"], *mdev_type);
        assert_eq!(row["name"], attribute(kind.join("name")));
        assert_eq!(row["device_api"], attribute(kind.join("device_api")));
        let group: u32 = link_name(created.path().join("iommu_group")).parse().unwrap();
        assert_eq!(row["iommu_group"], group);
        assert_eq!(row["kernel_driver"], link_name(created.path().join("driver")));
        let mut vfio_dev = fs::read_dir(created.path().join("vfio-dev")).unwrap();
        assert_eq!(
            row["vfio_dev"],
            vfio_dev.next().unwrap().unwrap().file_name().to_str().unwrap()
        );
        assert_eq!(row["numa_node"], Value::Null, "no parent here is a PCI device");
        assert_eq!(row["driver"], json!(driver));
    }
}

#[test]
fn types_agrees_with_sysfs_and_counts_instances_down() {
    let available = |parent: &str, mdev_type: &str| {
        let rows = machine::json(&["types"]);
        let rows = rows.as_array().unwrap();
        let row = rows.iter().find(|row| row["parent"] == parent && row["mdev_type"] == mdev_type);
        let kind = type_dir(parent, mdev_type);
        let row = row.unwrap();
        assert_eq!(row["name"], attribute(kind.join("name")));
        assert_eq!(row["device_api"], attribute(kind.join("device_api")));
        let description = fs::read_to_string(kind.join("description")).ok();
        assert_eq!(row["description"], json!(description.map(|text| text.trim().to_owned())));
        let number: u64 = attribute(kind.join("available_instances")).parse().unwrap();
        assert_eq!(row["available_instances"], number);
        number
    };
    let before = available("mtty", "mtty-1");
    let card = Created::new("mtty", "mtty-2");
    assert_eq!(available("mtty", "mtty-1"), before - 2, "the types of a parent share its ports");
    drop(card);
    assert_eq!(available("mtty", "mtty-1"), before);
    available("mdpy", "mdpy-xga");
    available("mbochs", "mbochs-large");
    available("mdevtest", "mdevtest-sparse");
    available("mdevtest-soc", "mdevtest-platform");
    let parents = fs::read_dir("/sys/class/mdev_bus").unwrap();
    let kinds = parents.map(|parent| {
        fs::read_dir(parent.unwrap().path().join("mdev_supported_types")).unwrap().count()
    });
    assert_eq!(machine::json(&["types"]).as_array().unwrap().len(), kinds.sum::<usize>());
}

#[test]
fn show_describes_a_card() {
    let card = Created::new("mtty", "mtty-2");
    let shown = machine::json(&["show", &card.uuid]);
    assert_eq!(shown["uuid"], card.uuid);
    assert_eq!(shown["flags"], json!(["pci"]));
    let pci = json!({
        "vendor": 0x4348, "device": 0x3253, "subsystem_vendor": 0x4348,
        "subsystem_device": 0x3253, "class": 0x07_0002,
    });
    assert_eq!(shown["pci"], pci);
    let regions: Vec<_> = shown["regions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|region| (region["index"].as_u64().unwrap(), region["size"].as_u64().unwrap()))
        .collect();
    assert_eq!(regions, [(0, 8), (1, 8), (7, 0xff)]);
    assert_eq!(shown["regions"][1]["offset"], 1u64 << 40);
    assert_eq!(
        shown["irqs"][0],
        json!({
            "index": 0, "name": "intx", "count": 1, "flags": ["eventfd", "maskable", "automasked"],
        })
    );
}

#[test]
fn show_maps_each_area_of_a_sparse_device_and_no_hole() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    let shown = machine::json(&["show", &device.uuid]);
    let bar0 = &shown["regions"][0];
    let areas = json!([
        {"offset": 0x1000, "size": 0x1000}, {"offset": 0x3000, "size": 0x2000},
        {"offset": 0x6000, "size": 0x1000},
    ]);
    assert_eq!(bar0["mapped"], areas);
    assert_eq!(bar0["sparse"].as_array().unwrap().len(), 3);
    assert_ne!(bar0["sparse"], areas, "the kernel gives them out of order");
    let kind = shown["regions"].as_array().unwrap().iter().find(|region| region["index"] == 9);
    assert_eq!(kind.unwrap()["type"], json!({"type": 0x8000_6d64u32, "subtype": 1}));
    assert_eq!(kind.unwrap()["flags"], json!(["read", "mmap", "caps"]));
}

#[test]
fn show_describes_framebuffers_whose_region_is_mapped_whole() {
    for (parent, mdev_type, size) in
        [("mdpy", "mdpy-xga", 0x40_0000), ("mbochs", "mbochs-small", 0x40_0000)]
    {
        let device = Created::new(parent, mdev_type);
        let shown = machine::json(&["show", &device.uuid]);
        let bar0 = &shown["regions"][0];
        assert_eq!(bar0["mapped"], json!([{"offset": 0, "size": size}]), "{mdev_type}");
        assert_eq!(shown["irqs"], json!([]));
    }
}

#[test]
fn probe_binds_a_real_card_and_runs_its_loopback() {
    let cards = [Created::new("mtty", "mtty-1"), Created::new("mtty", "mtty-2")];
    let sparse = Created::new("mdevtest", "mdevtest-sparse");
    let probed = machine::json(&["probe", &cards[0].uuid, &cards[1].uuid, &sparse.uuid]);
    assert_eq!((&probed["bound"], &probed["failed"]), (&json!(2), &json!(0)));
    assert_eq!(
        probed["devices"][1],
        json!({
            "uuid": cards[1].uuid, "outcome": "bound", "driver": "mtty", "error": null,
            "detail": "looped 15 bytes through 2 ports, scratch and line status are right",
        })
    );
    assert_eq!(probed["devices"][2]["outcome"], "no-driver");

    let all = machine::json(&["probe"]);
    let row = find(&all["devices"], &cards[0].uuid);
    assert_eq!((&row["outcome"], &row["driver"]), (&json!("bound"), &json!("mtty")));
    assert_eq!(find(&all["devices"], &sparse.uuid)["outcome"], "no-driver");
}

#[test]
fn peek_and_poke_agree_on_both_ways() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    let uuid = device.uuid.as_str();
    assert_eq!(machine::run(&["peek", uuid, "0", "0"]).stdout, "0x73706172\n");
    let poke = ["poke", uuid, "1", "0x2ffc", "0xcafef00d", "--via", "mapped"];
    assert_eq!(machine::run(&poke).status, 0);
    for via in ["auto", "mapped", "trapped"] {
        let peeked = machine::run(&["peek", uuid, "1", "0x2ffc", "--via", via]);
        assert_eq!((peeked.status, peeked.stdout.as_str()), (0, "0xcafef00d\n"), "{via}");
    }
    let hole = ["peek", uuid, "0", "0x2000", "--via", "mapped"];
    assert!(machine::complaint(&hole).contains("not wholly mapped"));
}
