//! The serial card and its driver.

use std::io::{ErrorKind, Read as _, Write as _};

use drivers::mtty::{LineSettings, Mtty, Parity};
use mdev_bus::{DeviceApi, Outcome, SelfTest};
use vfio_common::device::{DeviceFlags, IrqFlags};
use vfio_common::region::RegionError;

use crate::bench::Bench;

#[test]
fn a_card_is_scanned_with_its_identity() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let bus = bench.bus();
    assert!(bus.scan().unwrap().added.contains(&card.address));
    let devices = bus.devices();
    let info = devices.iter().find(|info| info.address == card.address).unwrap();
    assert_eq!(info.parent, "mtty");
    assert_eq!(info.mdev_type.as_deref(), Some("mtty-2"));
    assert_eq!(info.device_api, Some(DeviceApi::Pci));
    assert_eq!(info.kernel_driver.as_deref(), Some("mtty"));
    assert!(info.iommu_group.is_some());
    assert!(info.vfio_dev(bus.host()).unwrap().is_some_and(|name| name.starts_with("vfio")));
    assert_eq!(bus.registry().best(info).map(|driver| driver.name()), Some("mtty"));
}

#[test]
fn each_type_has_its_ports_and_every_port_loops_back() {
    let bench = Bench::new();
    for (mdev_type, ports) in [("mtty-1", 1), ("mtty-2", 2)] {
        let card = bench.create("mtty", mdev_type);
        let bus = bench.bus();
        let row = bus.plug(&card.address).unwrap();
        assert!(matches!(row.outcome, Outcome::Bound("mtty")), "{row}");
        let driver = bus.driver::<Mtty>(&card.address).unwrap();
        let ran = driver.with(|card| {
            assert_eq!(card.ports().len(), ports);
            for (index, mut port) in card.ports().iter().enumerate() {
                let message = format!("port {index} here");
                port.write_all(message.as_bytes()).unwrap();
                assert_eq!(port.in_flight(), message.len());
                // What one port sends, the others do not hear.
                for (other, mut silent) in card.ports().iter().enumerate() {
                    if other != index {
                        let heard = silent.read(&mut [0]);
                        assert_eq!(heard.unwrap_err().kind(), ErrorKind::WouldBlock);
                    }
                }
                let mut heard = vec![0; message.len()];
                port.read_exact(&mut heard).unwrap();
                assert_eq!(heard, message.as_bytes());
                assert_eq!(port.in_flight(), 0);
            }
        });
        assert_eq!(ran, Some(()));
    }
}

#[test]
fn a_full_port_takes_no_more_and_loses_nothing() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-1");
    let bus = bench.bus();
    bus.plug(&card.address).unwrap();
    let driver = bus.driver::<Mtty>(&card.address).unwrap();
    let ran = driver.with(|card| {
        let mut port = card.port(0).unwrap();
        let bytes: Vec<u8> = (0..40).collect();
        assert_eq!(port.write(&bytes).unwrap(), 15);
        assert_eq!(port.write(&bytes[15..]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut heard = [0; 40];
        assert_eq!(port.read(&mut heard).unwrap(), 15);
        assert_eq!(heard[..15], bytes[..15]);
        assert_eq!(port.read(&mut heard).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(port.read(&mut []).unwrap(), 0);

        port.write_all(b"lost").unwrap();
        port.clear().unwrap();
        assert_eq!(port.read(&mut heard).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
    assert_eq!(ran, Some(()));
}

#[test]
fn line_settings_reach_the_registers() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-1");
    let bus = bench.bus();
    bus.plug(&card.address).unwrap();
    let line = LineSettings::at_baud(57_600).unwrap().data_bits(7).unwrap().parity(Parity::Even);
    let driver = bus.driver::<Mtty>(&card.address).unwrap();
    let found = driver.with(|card| {
        card.port(0).unwrap().set_line(line).unwrap();
        card.port(0).unwrap().line()
    });
    assert_eq!(found, Some(line));
    // Another handle of the same device: 7 bits, even parity, and the port still works.
    let device = bus.open(&card.address).unwrap();
    assert_eq!(device.region(0).unwrap().read8(3).unwrap(), 0x1a);
    let tested = bus.self_test(&card.address).unwrap().unwrap();
    assert!(matches!(tested, SelfTest::Passed(_)), "{tested:?}");
}

#[test]
fn the_self_test_says_what_it_did_and_refuses_to_mix_with_traffic() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let bus = bench.bus();
    bus.plug(&card.address).unwrap();
    let passed = bus.self_test(&card.address).unwrap().unwrap();
    let expected = "looped 15 bytes through 2 ports, scratch and line status are right";
    assert_eq!(passed, SelfTest::Passed(expected.into()));

    let driver = bus.driver::<Mtty>(&card.address).unwrap();
    driver.with(|card| card.port(1).unwrap().write(b"x").unwrap()).unwrap();
    let refused = bus.self_test(&card.address).unwrap().unwrap_err();
    assert!(refused.to_string().contains("in flight"), "{refused}");
}

#[test]
fn a_port_that_another_user_filled_says_so_until_it_is_cleared() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-1");
    let bus = bench.bus();
    bus.plug(&card.address).unwrap();
    let other_user = bus.open(&card.address).unwrap().region(0).unwrap();
    for byte in 0..20 {
        other_user.write8(0, byte).unwrap();
    }
    let driver = bus.driver::<Mtty>(&card.address).unwrap();
    let ran = driver.with(|card| {
        let mut port = card.port(0).unwrap();
        let error = port.write(b"x").unwrap_err();
        assert!(error.to_string().contains("clear the port"), "{error}");
        port.clear().unwrap();
        port.write_all(b"x").unwrap();
        let mut heard = [0];
        port.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"x");
    });
    assert_eq!(ran, Some(()));
}

#[test]
fn a_card_is_left_quiet() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-1");
    let bus = bench.bus();
    bus.plug(&card.address).unwrap();
    let driver = bus.driver::<Mtty>(&card.address).unwrap();
    driver.with(|card| card.port(0).unwrap().write(b"left behind").unwrap()).unwrap();
    bus.unbind(&card.address);
    let port = bench.open(&card).region(0).unwrap();
    assert_eq!(port.read8(5).unwrap(), 0x60, "nothing is left in the FIFO");
}

#[test]
fn the_card_describes_itself_as_its_kernel_driver_does() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let device = bench.open(&card);
    assert_eq!(device.info().flags, DeviceFlags::PCI);
    assert_eq!((device.info().num_regions, device.info().num_irqs), (9, 5));

    let ids = device.pci_config().unwrap().unwrap().ids().unwrap();
    assert_eq!((ids.vendor, ids.device), (0x4348, 0x3253));
    assert_eq!((ids.subsystem_vendor, ids.subsystem_device), (0x4348, 0x3253));
    assert_eq!((ids.class, ids.revision), (0x07_0002, 0x10));
    assert_eq!(device.pci_config().unwrap().unwrap().capabilities().unwrap(), []);

    let sizes: Vec<_> =
        (0..12).map(|index| device.region_info(index).unwrap().map(|info| info.size)).collect();
    let (port, config) = (Some(8), Some(0xff));
    assert_eq!(sizes[..8], [port, port, None, None, None, None, None, config]);
    assert_eq!(sizes[8..], [None; 4], "absent regions and indices that do not exist are alike");
    assert_eq!(device.region(0).unwrap().mapped().len(), 0);

    let intx = device.irq_info(0).unwrap().unwrap();
    let expected = IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED;
    assert_eq!((intx.flags, intx.count), (expected, 1));
    let msi = device.irq_info(1).unwrap().unwrap();
    assert_eq!((msi.flags, msi.count), (IrqFlags::EVENTFD | IrqFlags::NORESIZE, 1));
    assert_eq!(device.irq_info(2).unwrap(), None);
}

#[test]
fn accesses_past_the_end_never_reach_the_card() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-1");
    let device = bench.open(&card);
    // The kernel driver would answer these with the contents of its heap and stack.
    let config = device.region(7).unwrap();
    for offset in [0xfc, 0x100, 0x1000, u64::MAX - 3] {
        let error = config.read32(offset).unwrap_err();
        assert!(matches!(error, RegionError::OutOfRange { .. }), "{offset:#x}: {error}");
    }
    assert_eq!(config.read8(0xfe).unwrap(), 0);
    let port = device.region(0).unwrap();
    assert!(matches!(port.read8(8), Err(RegionError::OutOfRange { .. })));
    assert!(matches!(port.write64(8, 0), Err(RegionError::OutOfRange { .. })));
    assert!(matches!(device.region(1), Err(RegionError::Absent { index: 1, .. })));
}
