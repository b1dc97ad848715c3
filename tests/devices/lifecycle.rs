//! Open, bound, closed: nothing stays behind. In the kernel, removing a device that is still open
//! would hang the test.

use drivers::mtty::Mtty;
use mdev_bus::{Outcome, PlugError};

use crate::bench::Bench;

#[test]
fn a_window_keeps_the_device_open_and_its_drop_closes_it() {
    let bench = Bench::new();
    let created = bench.create("mdevtest", "mdevtest-sparse");
    let device = bench.open(&created);
    let window = device.region(1).unwrap().window(0..0x1000).unwrap();
    drop(device);
    window.try_write32(0, 9).unwrap();
    assert_eq!(window.try_read32(0).unwrap(), 9);
    assert_eq!(window.region().read32(0).unwrap(), 9);
    drop(window);
    drop(created);
}

#[test]
fn one_device_can_be_opened_twice_in_a_process() {
    let bench = Bench::new();
    let created = bench.create("mdevtest", "mdevtest-sparse");
    let bus = bench.bus();
    let (first, second) =
        (bus.open(&created.address).unwrap(), bus.open(&created.address).unwrap());
    first.region(1).unwrap().write32(0x10, 0x77).unwrap();
    drop(first);
    assert_eq!(second.region(1).unwrap().read32(0x10).unwrap(), 0x77);
}

#[test]
fn many_devices_share_one_container_and_close_one_by_one() {
    let bench = Bench::new();
    let created: Vec<_> = (0..8).map(|_| bench.create("mdevtest", "mdevtest-sparse")).collect();
    let bus = bench.bus();
    let mut devices: Vec<_> =
        created.iter().map(|created| bus.open(&created.address).unwrap()).collect();
    for (value, device) in (0u32..).zip(&devices) {
        device.region(1).unwrap().write32(0, value).unwrap();
    }
    while let Some(device) = devices.pop() {
        let value = u32::try_from(devices.len()).unwrap();
        assert_eq!(device.region(1).unwrap().read32(0).unwrap(), value);
    }
    // All groups have left the container; it works again for the next one.
    let again = bus.open(&created[0].address).unwrap();
    assert_eq!(again.region(1).unwrap().read32(0).unwrap(), 0);
}

#[test]
fn an_unbound_driver_is_out_of_reach_and_the_device_can_be_bound_again() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let bus = bench.bus();
    bus.plug(&card.address).unwrap();
    let driver = bus.driver::<Mtty>(&card.address).unwrap();
    assert_eq!(driver.with(|card| card.ports().len()), Some(2));
    assert_eq!(bus.bound(), [card.address]);
    assert!(bus.unbind(&card.address));
    assert!(!bus.unbind(&card.address));
    assert_eq!(driver.with(|card| card.ports().len()), None);
    let again = bus.plug(&card.address).unwrap();
    assert!(matches!(again.outcome, Outcome::Bound("mtty")), "{again}");
    assert_eq!(driver.with(|_| ()), None, "the old reference is not the new driver");
}

#[test]
fn a_device_that_does_not_exist_is_named() {
    let bench = Bench::new();
    let bus = bench.bus();
    let nobody = "00000000-0000-0000-0000-000000000000".parse().unwrap();
    let error = bus.open(&nobody).unwrap_err();
    assert!(matches!(error, PlugError::NoDevice { .. }), "{error}");
    assert!(error.to_string().contains("00000000-0000-0000-0000-000000000000"), "{error}");
}
