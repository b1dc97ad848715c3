//! Entries that are not as they should be: each is one row, and the others are found.

use pci_bus::{BindError, Bus, Outcome};
use vfio_sim::tree::{PciFunction, Tree};

use crate::matching::Everything;
use crate::{address, bus};

const ODD: &str = "0000:3b:00.0";
const SOUND: &str = "0000:3b:00.1";

fn disk(address: &str) -> PciFunction {
    PciFunction::new(address, 0x144d, 0xa808).class(0x01_0802).revision(3)
}

fn two() -> Tree {
    let tree = Tree::without_mdev_bus().unwrap();
    tree.add_function(&disk(ODD).vfio_driver("vfio-pci").virtual_functions(2)).unwrap();
    tree.add_function(&disk(SOUND).vfio_driver("vfio-pci")).unwrap();
    tree
}

#[test]
fn garbage_in_any_attribute_costs_no_more_than_what_it_says() {
    let garbage: [&[u8]; 9] = [
        b"",
        b"\n",
        b"\xff\xfe\x00\x01",
        b"-1",
        b"0xzzzz",
        b"0x",
        b"+3",
        b"99999999999999999999",
        &[b'x'; 5000],
    ];
    let attributes = ["uevent", "revision", "numa_node", "driver_override", "sriov_totalvfs"];
    for attribute in attributes {
        for bytes in garbage {
            let tree = two();
            tree.write(format!("bus/pci/devices/{ODD}/{attribute}"), bytes).unwrap();
            let bus = bus(&tree);
            let report = bus.scan().unwrap();
            assert_eq!((report.added.len(), report.failed.len()), (2, 0), "{attribute}");
            let odd = bus.find(&address(ODD)).unwrap();
            match attribute {
                "uevent" => assert_eq!((odd.ids(), &odd.kernel_driver), (None, &None)),
                "revision" => assert_eq!(odd.revision, None),
                "numa_node" => assert!(odd.numa_node.is_none() || bytes == b"+3"),
                "sriov_totalvfs" => assert!(odd.sriov.is_none() || bytes == b"+3"),
                _ => {}
            }
            let sound = bus.find(&address(SOUND)).unwrap();
            assert_eq!(
                (sound.revision, sound.kernel_driver.as_deref()),
                (Some(3), Some("vfio-pci"))
            );
        }
    }
}

#[test]
fn links_that_lead_astray_cost_no_more_than_their_function() {
    for target in ["..", "/", "not-a-number", "../../../../../.."] {
        for link in ["iommu_group", "physfn", "driver"] {
            let tree = two();
            let link = format!("bus/pci/devices/{ODD}/{link}");
            tree.remove(&link).unwrap();
            tree.link(&link, target).unwrap();
            let bus = bus(&tree);
            for _ in 0..2 {
                let report = bus.scan().unwrap();
                assert!(report.failed.iter().all(|(failed, _)| *failed == address(ODD)));
                assert!(bus.devices().iter().any(|info| info.address == address(SOUND)));
            }
        }
    }
    let tree = two();
    tree.remove(format!("bus/pci/devices/{ODD}/iommu_group")).unwrap();
    tree.write(format!("bus/pci/devices/{ODD}/iommu_group"), "7").unwrap();
    assert_eq!(bus(&tree).scan().unwrap().failed.len(), 1, "no link");
}

#[test]
fn names_that_are_no_address_are_left_out_and_reported() {
    let tree = two();
    let names = ["0000:3B:00.2", "0000:3b:00.8", "3b:00.3", "pci", "00000:3b:00.0"];
    for name in names {
        tree.link(format!("bus/pci/devices/{name}"), "../../../devices").unwrap();
    }
    let report = bus(&tree).scan().unwrap();
    assert_eq!((report.added.len(), report.ignored.len()), (2, names.len()));
}

/// A bus with a driver that takes anything, so that everything is tried.
fn greedy(tree: &Tree) -> Bus {
    let builder = Bus::builder().host(tree.host()).without_registered();
    builder.driver::<Everything>().build().unwrap()
}

#[test]
fn functions_that_cannot_be_opened_say_what_to_do() {
    let tree = Tree::without_mdev_bus().unwrap();
    tree.add_function(&disk("0000:00:01.0").kernel_driver("nvme")).unwrap();
    tree.add_function(&disk("0000:00:02.0")).unwrap();
    tree.add_function(&disk("0000:00:03.0").kernel_driver("nvme").without_group()).unwrap();
    let bus = greedy(&tree);
    bus.scan().unwrap();
    let failed: Vec<_> = bus.probe().failed().map(|(_, error)| error.to_string()).collect();
    let expected = [
        "0000:00:01.0 is bound to nvme, a kernel driver of the host: bind it to vfio-pci if the host \
         can do without it",
        "0000:00:02.0 is bound to no kernel driver: bind it to vfio-pci",
        "0000:00:03.0 is in no IOMMU group: switch on the IOMMU in the firmware and on the kernel's \
         command line (intel_iommu=on), then bind it to vfio-pci",
    ];
    assert_eq!(failed, expected);
    let error = bus.open(&address("0000:00:01.0")).unwrap_err();
    assert_eq!(error.to_string(), expected[0]);
}

#[test]
fn without_vfio_dev_folders_the_group_tells_as_before_linux_6_1() {
    let tree = two();
    tree.add_function(&disk("0000:3b:00.2").kernel_driver("nvme")).unwrap();
    tree.remove("class/vfio-dev").unwrap();
    for address in [ODD, SOUND] {
        tree.remove(format!("bus/pci/devices/{address}/vfio-dev")).unwrap();
    }
    let bus = greedy(&tree);
    bus.scan().unwrap();
    let offered: Vec<_> = bus.devices().iter().map(|info| info.offered).collect();
    assert_eq!(offered, [true, true, false]);
    let vfio_dev = bus.devices()[0].vfio_dev(bus.host()).unwrap();
    assert_eq!(vfio_dev, None);
    // There is nothing behind a tree; that they do not open is the opener's word.
    let report = bus.probe();
    assert!(matches!(&report.rows[0].outcome, Outcome::Failed(BindError::Open(_))));
    assert!(matches!(&report.rows[2].outcome, Outcome::Failed(BindError::Unusable(_))));
}
