//! A scan is a difference to the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mdev_bus::{Bus, DeviceApi};
use vfio_sim::tree::{MdevDevice, MdevType, Parent, Tree};

use crate::{address, uuid};

pub(crate) fn tree() -> Tree {
    let tree = Tree::new().unwrap();
    let mtty = Parent::new("mtty")
        .with_type(MdevType::new("mtty-1", "vfio-pci").name("Single port serial").instances(24))
        .with_type(MdevType::new("mtty-2", "vfio-pci").name("Dual port serial").instances(12));
    tree.add_parent(&mtty).unwrap();
    tree
}

pub(crate) fn card(number: u64) -> MdevDevice {
    MdevDevice::new(uuid(number), "mtty", "mtty-2")
}

pub(crate) fn bus(tree: &Tree) -> Bus {
    Bus::builder().host(tree.host()).build().unwrap()
}

#[test]
fn devices_come_and_go() {
    let tree = tree();
    let bus = bus(&tree);
    assert!(bus.scan().unwrap().added.is_empty());

    tree.add_device(&card(2)).unwrap();
    tree.add_device(&card(1)).unwrap();
    let report = bus.scan().unwrap();
    assert!(report.bus_present);
    assert_eq!(report.added, [address(1), address(2)]);

    tree.remove_device(&uuid(1)).unwrap();
    tree.add_device(&card(3)).unwrap();
    let report = bus.scan().unwrap();
    assert_eq!((report.added, report.removed), (vec![address(3)], vec![address(1)]));
    assert!(report.changed.is_empty());
    let known: Vec<_> = bus.devices().iter().map(|info| info.address).collect();
    assert_eq!(known, [address(2), address(3)]);
}

#[test]
fn what_is_known_is_not_read_again() {
    let tree = tree();
    tree.add_device(&card(1)).unwrap();
    let bus = bus(&tree);
    bus.scan().unwrap();
    let before = bus.devices();
    let report = bus.scan().unwrap();
    assert!(report.added.is_empty() && report.changed.is_empty() && report.removed.is_empty());
    assert!(Arc::ptr_eq(&before[0], &bus.devices()[0]), "the identity was not made anew");
}

#[test]
fn a_device_made_again_under_the_same_uuid_is_another_device() {
    let tree = tree();
    tree.add_device(&card(1).group(7)).unwrap();
    let bus = bus(&tree);
    bus.scan().unwrap();
    tree.remove_device(&uuid(1)).unwrap();
    // Something else may get the inode number of what was just removed.
    tree.mkdir("elsewhere").unwrap();
    for place in 0..8 {
        tree.link(format!("bus/mdev/filler-{place}"), "nowhere").unwrap();
    }
    tree.add_device(&card(1).group(8)).unwrap();
    let report = bus.scan().unwrap();
    assert_eq!(report.changed, [address(1)]);
    assert_eq!(bus.devices()[0].iommu_group, Some(8));
}

#[test]
fn an_incomplete_device_is_looked_at_again_until_it_is_complete() {
    let tree = tree();
    tree.add_device(&card(1).without_type()).unwrap();
    let bus = bus(&tree);
    assert_eq!(bus.scan().unwrap().added, [address(1)]);
    assert_eq!(bus.devices()[0].mdev_type, None);
    assert!(bus.scan().unwrap().changed.is_empty(), "still incomplete");

    let device = format!("devices/virtual/mtty/mtty/{}", uuid(1));
    tree.link(format!("{device}/mdev_type"), "../mdev_supported_types/mtty-2").unwrap();
    let report = bus.scan().unwrap();
    assert_eq!((report.added, report.changed), (vec![], vec![address(1)]));
    let info = &bus.devices()[0];
    assert_eq!(info.mdev_type.as_deref(), Some("mtty-2"));
    assert_eq!(info.device_api, Some(DeviceApi::Pci));
}

#[test]
fn a_thousand_devices_are_found_each_with_its_own_identity() {
    let tree = tree();
    for number in 0..1000 {
        tree.add_device(&card(number).group(5000 + u32::try_from(number).unwrap())).unwrap();
    }
    let bus = bus(&tree);
    assert_eq!(bus.scan().unwrap().added.len(), 1000);
    for (number, info) in (0..1000).zip(bus.devices()) {
        assert_eq!(info.address, address(number));
        assert_eq!(info.iommu_group, Some(5000 + u32::try_from(number).unwrap()));
        assert_eq!(info.kernel_driver.as_deref(), Some("mtty"));
    }
    for number in (0..1000).step_by(2) {
        tree.remove_device(&uuid(number)).unwrap();
    }
    assert_eq!(bus.scan().unwrap().removed.len(), 500);
    assert_eq!(bus.devices().len(), 500);
}

#[test]
fn devices_that_vanish_while_they_are_read_harm_nobody() {
    let tree = tree();
    let stop = AtomicBool::new(false);
    let steady = 1000..1020;
    for number in steady.clone() {
        tree.add_device(&card(number)).unwrap();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for number in 0..20 {
                    tree.add_device(&card(number)).unwrap();
                }
                for number in 0..20 {
                    tree.remove_device(&uuid(number)).unwrap();
                }
            }
        });
        for _ in 0..300 {
            let bus = bus(&tree);
            let report = bus.scan().unwrap();
            assert!(report.failed.is_empty(), "{:?}", report.failed);
            let known = bus.devices();
            let steady_known: Vec<_> =
                known.iter().filter(|info| info.address >= address(1000)).collect();
            assert_eq!(steady_known.len(), 20);
            for info in steady_known {
                assert_eq!(info.device_api, Some(DeviceApi::Pci), "{info:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
