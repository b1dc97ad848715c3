//! A server with as many functions as any.

use std::sync::Arc;

use pci_bus::{PciInfo, Sriov};
use vfio_sim::tree::{PciFunction, Tree};

use crate::{address, bus};

const ADAPTERS: u32 = 150;
/// Of each adapter.
const PARTS: u32 = 62;
const DISKS: u32 = 400;
const ALL: usize = (ADAPTERS * (1 + 1 + PARTS) + DISKS) as usize;

fn bridge(adapter: u32) -> String {
    format!("{:04x}:{:02x}:00.0", adapter / 100, adapter % 100 * 2 + 1)
}

/// Function 0 of an adapter is the physical one.
fn function(adapter: u32, number: u32) -> String {
    let (domain, bus) = (adapter / 100, adapter % 100 * 2 + 2);
    format!("{domain:04x}:{bus:02x}:{:02x}.{}", number / 8, number % 8)
}

fn disk(number: u32) -> String {
    format!("10000:{:02x}:{:02x}.{}", number / 256, number / 8 % 32, number % 8)
}

fn server() -> Tree {
    let tree = Tree::without_mdev_bus().unwrap();
    let add = |function: PciFunction| tree.add_function(&function).unwrap();
    for adapter in 0..ADAPTERS {
        let node = i32::try_from(adapter % 2).unwrap();
        let port = PciFunction::new(bridge(adapter), 0x8086, 0x2030).class(0x06_0400);
        add(port.kernel_driver("pcieport").numa_node(node));
        let whole = PciFunction::new(function(adapter, 0), 0x15b3, 0x101d).class(0x02_0000);
        let whole = whole.subsystem(0x15b3, 0x0043).revision(0x10).numa_node(node);
        let whole = whole.behind(bridge(adapter)).virtual_functions(PARTS);
        add(whole.kernel_driver("mlx5_core"));
        for number in 1..=PARTS {
            let part = PciFunction::new(function(adapter, number), 0x15b3, 0x101e).class(0x02_0000);
            let part = part.virtual_of(function(adapter, 0)).numa_node(node);
            add(match number % 4 {
                0 => part,
                1 => part.kernel_driver("mlx5_core"),
                2 => part.vfio_driver("mlx5_vfio_pci"),
                _ => part.vfio_driver("vfio-pci"),
            });
        }
    }
    for number in 0..DISKS {
        let disk = PciFunction::new(disk(number), 0x144d, 0xa808).class(0x01_0802);
        add(if number % 2 == 0 { disk.kernel_driver("nvme") } else { disk.without_group() });
    }
    tree
}

fn count(devices: &[Arc<PciInfo>], is: impl Fn(&PciInfo) -> bool) -> usize {
    devices.iter().filter(|info| is(info)).count()
}

#[test]
fn all_functions_of_a_large_server_are_found_each_with_its_own_identity() {
    let tree = server();
    let bus = bus(&tree);
    let report = bus.scan().unwrap();
    assert_eq!((ALL, report.added.len()), (10_000, ALL));
    assert!(report.bus_present && report.failed.is_empty() && report.ignored.is_empty());
    assert!(report.added.is_sorted());

    let devices = bus.devices();
    let adapters = ADAPTERS as usize;
    let sriov = |info: &PciInfo| info.sriov;
    let whole = Sriov::Physical { total: PARTS, current: PARTS };
    assert_eq!(count(&devices, |info| sriov(info) == Some(whole)), adapters);
    let is_part = |info: &PciInfo| matches!(info.sriov, Some(Sriov::Virtual { .. }));
    assert_eq!(count(&devices, is_part), adapters * PARTS as usize);
    // Of 62 parts, 16 and 15 have an odd half each; every fourth is unbound.
    assert_eq!(count(&devices, |info| info.offered), adapters * (16 + 15));
    let variant = Some("mlx5_vfio_pci");
    assert_eq!(count(&devices, |info| info.kernel_driver.as_deref() == variant), adapters * 16);
    assert_eq!(count(&devices, |info| info.kernel_driver.is_none()), adapters * 15 + 200);
    assert_eq!(count(&devices, |info| info.iommu_group.is_none()), 200);
    assert_eq!(count(&devices, |info| info.numa_node == Some(1)), adapters / 2 * 64);

    let adapter = bus.find(&address(&function(42, 0))).unwrap();
    assert_eq!((adapter.vendor, adapter.device), (Some(0x15b3), Some(0x101d)));
    assert_eq!(adapter.subsystem_vendor, Some(0x15b3));
    assert_eq!(adapter.subsystem_device, Some(0x0043));
    assert_eq!((adapter.class, adapter.revision), (Some(0x02_0000), Some(0x10)));
    assert_eq!((adapter.numa_node, adapter.offered), (Some(0), false));
    assert_eq!(adapter.driver_override, None);
    let part = bus.find(&address(&function(42, 6))).unwrap();
    assert_eq!(part.sriov, Some(Sriov::Virtual { physical: adapter.address }));
    let disk = bus.find(&address("10000:00:00.1")).unwrap();
    assert_eq!((disk.numa_node, disk.subsystem_vendor), (None, Some(0)));

    let report = bus.scan().unwrap();
    assert!(report.added.is_empty() && report.removed.is_empty() && report.changed.is_empty());
    let again = bus.devices();
    let kept = devices.iter().zip(&again).filter(|(before, after)| Arc::ptr_eq(before, after));
    let looked_at = 2 + adapters; // those that `find` read, and adapters, whose parts may come and go
    assert!(kept.count() >= ALL - looked_at - 1, "the identities were made anew");
    drop(bus.probe());
}
