//! A scan is a difference to the one before.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use pci_bus::{Bus, Driver, PciId, ProbeDevice, ProbeError, Sriov};
use vfio_sim::Machine;
use vfio_sim::pci::TestDevice;
use vfio_sim::tree::{PciFunction, Tree};

use crate::{address, bus};

const DISK: &str = "0000:3b:00.0";

fn disk(address: &str) -> PciFunction {
    PciFunction::new(address, 0x144d, 0xa808).class(0x01_0802)
}

#[test]
fn a_machine_without_the_bus_has_no_functions() {
    let tree = Tree::without_mdev_bus().unwrap();
    let report = bus(&tree).scan().unwrap();
    assert!(!report.bus_present && report.added.is_empty());
}

#[test]
fn functions_come_and_go_and_change_their_driver() {
    let tree = Tree::without_mdev_bus().unwrap();
    let others = ["0000:00:1f.0", "0000:00:1f.3"];
    for other in others {
        tree.add_function(&disk(other).kernel_driver("ahci")).unwrap();
    }
    let bus = bus(&tree);
    assert_eq!(bus.scan().unwrap().added, others.map(address));
    let before = bus.devices();

    tree.add_function(&disk(DISK).kernel_driver("nvme")).unwrap();
    assert_eq!(bus.scan().unwrap().added, [address(DISK)]);
    tree.bind_function_to_vfio(DISK, "vfio-pci").unwrap();
    let report = bus.scan().unwrap();
    assert_eq!((report.added, report.changed), (vec![], vec![address(DISK)]));
    assert!(bus.devices()[2].offered);
    tree.bind_function_to_vfio(DISK, "nvme_vfio_pci").unwrap();
    let report = bus.scan().unwrap();
    assert!(report.changed.is_empty(), "it can be opened as before");
    assert_eq!(bus.devices()[2].kernel_driver.as_deref(), Some("nvme_vfio_pci"));
    tree.unbind_function(DISK).unwrap();
    assert_eq!(bus.scan().unwrap().changed, [address(DISK)]);
    tree.bind_function(DISK, "nvme").unwrap();
    assert!(bus.scan().unwrap().changed.is_empty(), "it cannot be opened as before");
    assert_eq!(bus.devices()[2].kernel_driver.as_deref(), Some("nvme"));

    tree.remove_function(DISK).unwrap();
    tree.add_function(&disk(DISK).group(40)).unwrap();
    assert_eq!(bus.scan().unwrap().changed, [address(DISK)], "another one in its slot");
    tree.remove_function(DISK).unwrap();
    assert_eq!(bus.scan().unwrap().removed, [address(DISK)]);
    let kept = before.iter().zip(&bus.devices()).all(|(a, b)| Arc::ptr_eq(a, b));
    assert!(kept, "what did not change was not made anew");
}

#[test]
fn a_driver_that_offers_a_function_late_is_seen() {
    let tree = Tree::without_mdev_bus().unwrap();
    tree.add_function(&disk(DISK).kernel_driver("vfio-pci")).unwrap();
    let bus = bus(&tree);
    bus.scan().unwrap();
    assert!(!bus.devices()[0].offered, "its probe is not over");
    tree.mkdir(format!("bus/pci/devices/{DISK}/vfio-dev/vfio0")).unwrap();
    assert_eq!(bus.scan().unwrap().changed, [address(DISK)]);
    assert!(bus.devices()[0].offered);
}

#[test]
fn virtual_functions_are_counted_as_they_come_and_go() {
    let tree = Tree::without_mdev_bus().unwrap();
    tree.add_function(&disk(DISK).virtual_functions(4).kernel_driver("nvme")).unwrap();
    let bus = bus(&tree);
    bus.scan().unwrap();
    let count = || bus.devices()[0].sriov;
    assert_eq!(count(), Some(Sriov::Physical { total: 4, current: 0 }));
    for part in ["0000:3b:00.1", "0000:3b:00.2"] {
        tree.add_function(&disk(part).virtual_of(DISK)).unwrap();
    }
    assert_eq!(bus.scan().unwrap().added.len(), 2);
    assert_eq!(count(), Some(Sriov::Physical { total: 4, current: 2 }));
    assert_eq!(bus.devices()[2].sriov, Some(Sriov::Virtual { physical: address(DISK) }));
    tree.remove_function("0000:3b:00.1").unwrap();
    let report = bus.scan().unwrap();
    assert_eq!((report.removed.len(), report.changed.len()), (1, 0));
    assert_eq!(count(), Some(Sriov::Physical { total: 4, current: 1 }));
}

#[test]
fn functions_that_vanish_while_they_are_read_harm_nobody() {
    let tree = Tree::without_mdev_bus().unwrap();
    let stop = AtomicBool::new(false);
    for number in 0..8 {
        tree.add_function(&disk(&format!("0000:00:01.{number}")).kernel_driver("nvme")).unwrap();
    }
    let passing = |number: u32| format!("0000:00:02.{number}");
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for number in 0..8 {
                    tree.add_function(&disk(&passing(number)).vfio_driver("vfio-pci")).unwrap();
                }
                for number in 0..8 {
                    tree.remove_function(&passing(number)).unwrap();
                }
            }
        });
        let again = bus(&tree);
        for _ in 0..300 {
            for bus in [&bus(&tree), &again] {
                let report = bus.scan().unwrap();
                assert!(report.failed.is_empty(), "{:?}", report.failed);
                let devices = bus.devices();
                let steady = devices.iter().filter(|info| info.address.device == 1);
                assert!(steady.clone().all(|info| info.kernel_driver.as_deref() == Some("nvme")));
                assert_eq!(steady.count(), 8);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Takes any test device.
struct Idle;

impl Driver for Idle {
    type IdInfo = ();
    const NAME: &'static str = "idle";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::vendor(0x1b36), ())];

    fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Ok(Self)
    }
}

#[test]
fn a_function_that_the_kernel_takes_back_is_let_go() {
    for find in [false, true] {
        let machine = Machine::new().unwrap();
        let function = TestDevice::function(DISK).vfio_driver("vfio-pci");
        machine.plug(&function, TestDevice::new()).unwrap();
        let builder = Bus::builder().host(machine.host()).opener(machine.opener());
        let bus = builder.without_registered().driver::<Idle>().build().unwrap();
        bus.scan().unwrap();
        assert_eq!(bus.probe().bound(), 1);
        machine.remove(DISK).unwrap();
        assert_eq!(machine.open_devices(), 1, "the kernel waits");
        if find {
            drop(bus.find(&address(DISK)));
        } else {
            assert_eq!(bus.scan().unwrap().changed, [address(DISK)]);
        }
        assert!(bus.bound().is_empty());
        assert_eq!(machine.open_devices(), 0);
        assert!(bus.scan().unwrap().removed.contains(&address(DISK)));
    }
}

/// What happens while [`Watched`] is being probed.
static MEANWHILE: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Takes any test device, after what happens meanwhile.
struct Watched;

impl Driver for Watched {
    type IdInfo = ();
    const NAME: &'static str = "watched";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::vendor(0x1b36), ())];

    fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        if let Some(happen) = MEANWHILE.lock().unwrap().take() {
            happen();
        }
        Ok(Self)
    }
}

#[test]
fn a_function_that_the_kernel_takes_back_while_it_is_probed_is_let_go() {
    let machine = Arc::new(Machine::new().unwrap());
    let function = TestDevice::function(DISK).vfio_driver("vfio-pci");
    machine.plug(&function, TestDevice::new()).unwrap();
    let builder = Bus::builder().host(machine.host()).opener(machine.opener());
    let bus = Arc::new(builder.without_registered().driver::<Watched>().build().unwrap());
    for scan in [true, false] {
        let (taker, other) = (machine.clone(), bus.clone());
        *MEANWHILE.lock().unwrap() = Some(Box::new(move || {
            taker.remove(DISK).unwrap();
            if scan {
                assert_eq!(other.scan().unwrap().changed, [address(DISK)]);
            }
        }));
        let row = bus.plug(&address(DISK)).unwrap();
        if !scan {
            // Nobody has looked meanwhile.
            bus.scan().unwrap();
        }
        assert!(bus.bound().is_empty(), "{row}");
        assert_eq!(machine.open_devices(), 0, "the kernel waits for it");
        machine.plug(&function, TestDevice::new()).unwrap();
    }
}

#[test]
fn a_scan_that_fails_has_changed_nothing() {
    let tree = Tree::without_mdev_bus().unwrap();
    tree.add_function(&disk(DISK).kernel_driver("nvme")).unwrap();
    let bus = bus(&tree);
    bus.scan().unwrap();
    let before = bus.devices();
    let (root, elsewhere) = (tree.sysfs().to_owned(), tree.sysfs().with_extension("away"));
    fs::rename(&root, &elsewhere).unwrap();
    let failed = bus.scan();
    fs::rename(&elsewhere, &root).unwrap();
    assert!(failed.is_err());
    assert_eq!(bus.devices(), before);
    assert!(bus.scan().unwrap().added.is_empty());
}
