//! Scans a bus of mediated devices in a mock sysfs tree: `scan NUMBER-OF-DEVICES`. The scan stands
//! between two look-ups of files that do not exist, so that a system call trace shows where it begins
//! and ends.

use std::path::Path;

use vfio_sim::tree::{MdevDevice, MdevType, Parent, Tree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number: u64 = std::env::args().nth(1).ok_or("usage: scan NUMBER-OF-DEVICES")?.parse()?;
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
    let bus = mdev_bus::Bus::builder().host(tree.host()).build()?;

    let before = Path::new("/scan-starts-here").exists();
    let report = bus.scan()?;
    let after = Path::new("/scan-ends-here").exists();

    println!("{} devices", report.added.len());
    assert!(!before && !after && report.added.len() as u64 == number);
    Ok(())
}
