//! A device that is not PCI.

use mdev_bus::{DeviceApi, Outcome};
use vfio_common::device::{DeviceFlags, ResetOutcome};
use vfio_common::region::Area;

use crate::bench::Bench;

#[test]
fn a_platform_device_opens_without_any_pci() {
    let bench = Bench::new();
    let created = bench.create("mdevtest-soc", "mdevtest-platform");
    let bus = bench.bus();
    let info = bus.find(&created.address).unwrap();
    assert_eq!(info.device_api, Some(DeviceApi::Platform));
    assert!(matches!(bus.plug(&created.address).unwrap().outcome, Outcome::NoDriver));

    let device = bus.open(&created.address).unwrap();
    assert_eq!(device.info().flags, DeviceFlags::PLATFORM | DeviceFlags::RESET);
    assert!(device.pci_config().unwrap().is_none());
    let registers = device.region(0).unwrap();
    assert_eq!(registers.mapped().collect::<Vec<_>>(), [Area { offset: 0, size: 0x1000 }]);
    registers.write16(0x10, 0xbeef).unwrap();
    assert_eq!(registers.read8(0x11).unwrap(), 0xbe);
    let small = device.region(1).unwrap();
    assert_eq!((small.size(), small.mapped().len()), (0x20, 0));
    small.write64(0x18, 7).unwrap();
    assert_eq!(small.read64(0x18).unwrap(), 7);
    assert_eq!(device.reset().unwrap(), ResetOutcome::Done);
    assert_eq!((registers.read16(0x10).unwrap(), small.read64(0x18).unwrap()), (0, 0));
}
