//! Scans a bus in a mock sysfs tree, and scans it again: `scan mdev|pci NUMBER-OF-DEVICES`. Each scan
//! stands between two look-ups of files that do not exist, so that a system call trace shows where it
//! begins and ends.

use std::error::Error;
use std::path::Path;

use vfio_common::bus::{Bus, BusType};
use vfio_sim::tree::{MdevDevice, MdevType, Parent, PciFunction, Tree};

fn main() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "usage: scan mdev|pci NUMBER-OF-DEVICES";
    let mut arguments = std::env::args().skip(1);
    let bus = arguments.next().ok_or(USAGE)?;
    let number = arguments.next().ok_or(USAGE)?.parse()?;
    match bus.as_str() {
        "mdev" => {
            let tree = mdevs(number)?;
            scan(&mdev_bus::Bus::builder().host(tree.host()).build()?, number)
        }
        "pci" => {
            let tree = functions(number)?;
            scan(&pci_bus::Bus::builder().host(tree.host()).build()?, number)
        }
        _ => Err(USAGE.into()),
    }
}

fn mdevs(number: u32) -> Result<Tree, Box<dyn Error>> {
    let tree = Tree::new()?;
    for parent in ["mtty", "mdpy"] {
        let mdev_type = MdevType::new(format!("{parent}-2"), "vfio-pci");
        tree.add_parent(&Parent::new(parent).with_type(mdev_type))?;
    }
    for index in 0..number {
        let parent = if index % 2 == 0 { "mtty" } else { "mdpy" };
        let uuid = format!("{index:08x}-509f-382f-3c1e-e6bfe0fa1001");
        tree.add_device(&MdevDevice::new(uuid, parent, format!("{parent}-2")))?;
    }
    Ok(tree)
}

/// Half of them the host's.
fn functions(number: u32) -> Result<Tree, Box<dyn Error>> {
    let tree = Tree::without_mdev_bus()?;
    for index in 0..number {
        let address = format!("{:04x}:{:02x}:00.{}", index / 2048, index / 8 % 256, index % 8);
        let function = PciFunction::new(address, 0x144d, 0xa808).class(0x01_0802).numa_node(1);
        tree.add_function(&match index % 2 {
            0 => function.kernel_driver("nvme"),
            _ => function.vfio_driver("vfio-pci"),
        })?;
    }
    Ok(tree)
}

fn scan<B: BusType>(bus: &Bus<B>, number: u32) -> Result<(), Box<dyn Error>> {
    let is_there = |path: &str| Path::new(path).exists();
    let before = is_there("/scan-starts-here");
    let first = bus.scan()?;
    let between = is_there("/scan-ends-here") || is_there("/rescan-starts-here");
    let second = bus.scan()?;
    let after = is_there("/rescan-ends-here");

    println!("{} devices", first.added.len());
    assert!(!before && !between && !after && second.added.is_empty());
    assert_eq!(u32::try_from(first.added.len()), Ok(number));
    Ok(())
}
