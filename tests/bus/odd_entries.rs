//! Entries that are not as they should be: each is one row, and the others are found.

use mdev_bus::{Bus, Outcome, SkipReason};
use vfio_common::sysfs::Host;
use vfio_sim::tree::Tree;

use crate::rescan::{bus, card, tree};
use crate::{address, uuid};

#[test]
fn a_kernel_without_the_bus_has_no_devices() {
    let tree = Tree::without_mdev_bus().unwrap();
    let report = bus(&tree).scan().unwrap();
    assert!(!report.bus_present && report.added.is_empty());
    assert!(!mdev_bus::is_bus_present(&tree.host()).unwrap());
    assert!(mdev_bus::parents(&tree.host()).unwrap().parents.is_empty());
}

#[test]
fn a_machine_without_sysfs_is_an_error_that_says_how_to_get_one() {
    let bus = Bus::builder().host(Host::new("/no-such-sysfs", "/dev")).build().unwrap();
    let error = bus.scan().unwrap_err();
    let expected = "there is no sysfs at /no-such-sysfs: mount it (mount -t sysfs sysfs \
                    /no-such-sysfs) or name another root";
    assert_eq!(error.to_string(), expected);
    assert!(mdev_bus::parents(&Host::new("/no-such-sysfs", "/dev")).is_err());
}

#[test]
fn names_that_are_no_uuid_are_left_out_and_reported() {
    let tree = tree();
    tree.add_device(&card(1)).unwrap();
    for name in ["not-a-uuid", "83b8f4f2509f382f3c1ee6bfe0fa1001", "0000:00:02.0"] {
        tree.link(format!("bus/mdev/devices/{name}"), "../../../devices/virtual").unwrap();
    }
    let report = bus(&tree).scan().unwrap();
    assert_eq!(report.added, [address(1)]);
    let ignored = ["0000:00:02.0", "83b8f4f2509f382f3c1ee6bfe0fa1001", "not-a-uuid"];
    assert_eq!(report.ignored, ignored);
}

#[test]
fn a_uuid_in_upper_case_is_the_same_device() {
    let tree = tree();
    tree.add_device(&card(0xabc)).unwrap();
    let upper = uuid(0xabc).to_uppercase().parse().unwrap();
    assert_eq!(bus(&tree).find(&upper).unwrap().address, address(0xabc));
}

#[test]
fn garbage_in_any_attribute_costs_no_more_than_its_device() {
    let garbage: [&[u8]; 6] =
        [b"", b"\n", b"\xff\xfe\x00\x01", b"-1", b"99999999999999999999", &[b'x'; 5000]];
    let device = format!("devices/virtual/mtty/mtty/{}", uuid(1));
    let kind = "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2";
    let attributes = [
        format!("{kind}/device_api"),
        format!("{kind}/name"),
        format!("{kind}/description"),
        format!("{kind}/available_instances"),
        "devices/virtual/mtty/mtty/numa_node".to_owned(),
        format!("{device}/iommu_group"),
        format!("{device}/driver"),
        format!("{device}/mdev_type"),
        format!("{device}/vfio-dev"),
    ];
    for attribute in &attributes {
        for bytes in garbage {
            let tree = tree();
            tree.add_device(&card(1)).unwrap();
            tree.add_device(&card(2)).unwrap();
            if attribute.starts_with(&device) {
                tree.remove(attribute).unwrap();
            }
            tree.write(attribute, bytes).unwrap();
            let bus = bus(&tree);
            let report = bus.scan().unwrap();
            assert_eq!(report.added.len() + report.failed.len(), 2, "{attribute}");
            assert!(report.failed.iter().all(|(failed, _)| *failed == address(1)), "{attribute}");
            mdev_bus::parents(&tree.host()).unwrap();
            for info in bus.devices() {
                // An error or an answer, and no panic.
                drop(info.vfio_dev(&tree.host()));
            }
            // The other device is as it was.
            let other = bus.find(&address(2)).unwrap();
            assert_eq!(other.kernel_driver.as_deref(), Some("mtty"));
        }
    }
}

#[test]
fn links_that_lead_astray_cost_no_more_than_their_device() {
    let device = format!("devices/virtual/mtty/mtty/{}", uuid(1));
    let long = "x".repeat(4000);
    for target in ["..", "/", "mdev_type", "not-a-number", "../../../../../..", long.as_str()] {
        for link in ["mdev_type", "iommu_group", "driver"] {
            let tree = tree();
            tree.add_device(&card(1)).unwrap();
            tree.add_device(&card(2)).unwrap();
            tree.remove(format!("{device}/{link}")).unwrap();
            tree.link(format!("{device}/{link}"), target).unwrap();
            let bus = bus(&tree);
            let report = bus.scan().unwrap();
            assert_eq!(report.added.len() + report.failed.len(), 2, "{link} -> {target}");
            assert!(bus.devices().iter().any(|info| info.address == address(2)));
        }
    }
}

#[test]
fn devices_that_cannot_be_opened_say_what_to_do() {
    let tree = tree();
    tree.add_device(&card(1).without_type()).unwrap();
    tree.add_device(&card(2).without_driver()).unwrap();
    tree.add_device(&card(3).without_group()).unwrap();
    let bus = bus(&tree);
    bus.scan().unwrap();
    let report = bus.probe();
    let outcomes: Vec<_> = report.rows.iter().map(|row| (&row.address, &row.outcome)).collect();
    assert!(
        matches!(outcomes[0], (_, Outcome::Skipped(SkipReason::Unsettled(_)))),
        "{:?}",
        outcomes[0]
    );
    let failed: Vec<_> = report.failed().map(|(_, error)| error.to_string()).collect();
    let expected = [
        format!("{} has no kernel driver bound to it: remove and create it again", uuid(2)),
        format!(
            "{} has no IOMMU group, so it cannot be opened: remove and create it again",
            uuid(3)
        ),
    ];
    assert_eq!(failed, expected);
    for number in 1..=3 {
        let error = bus.open(&address(number)).unwrap_err().to_string();
        assert!(error.starts_with(&uuid(number)) && error.contains("create"), "{error}");
    }
}
