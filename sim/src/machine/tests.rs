use std::fs;
use std::thread;

use vfio_common::device::Device;
use vfio_common::route::{OpenError, OpenStep, Target};

use super::*;
use crate::tree::{MdevType, Parent};

const UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

fn uuid(number: usize) -> String {
    format!("83b8f4f2-509f-382f-3c1e-{number:012x}")
}

fn target(name: &str) -> Target {
    Target { name: name.to_owned(), sysfs: format!("bus/mdev/devices/{name}").into() }
}

fn open(machine: &Machine, name: &str) -> Result<Device, OpenError> {
    machine.opener().open(&target(name))
}

fn available(machine: &Machine, parent: &str, mdev_type: &str) -> u32 {
    let path =
        format!("class/mdev_bus/{parent}/mdev_supported_types/{mdev_type}/available_instances");
    let text = fs::read_to_string(machine.tree().sysfs().join(path)).unwrap();
    text.strip_suffix('\n').unwrap().parse().unwrap()
}

fn errno<T: std::fmt::Debug>(result: Result<T, SimError>) -> Errno {
    Errno::from_raw_os_error(result.unwrap_err().errno().unwrap())
}

#[test]
fn the_demo_has_a_device_of_each_type() {
    let machine = Machine::demo().unwrap();
    let devices = machine.host().sysfs_dir("bus/mdev/devices").unwrap().unwrap();
    let types: Vec<_> = (1..=4)
        .map(|n| format!("83b8f4f2-509f-382f-3c1e-e6bfe0fa100{n}/mdev_type"))
        .map(|link| devices.link_name(link).unwrap().unwrap())
        .collect();
    assert_eq!(types, ["mtty-2", "mtty-1", "mdevtest-sparse", "mdevtest-platform"]);
    for n in 1..=4 {
        open(&machine, &format!("83b8f4f2-509f-382f-3c1e-e6bfe0fa100{n}")).unwrap();
    }
    assert_eq!(machine.open_devices(), 0);
}

#[test]
fn types_share_their_pool() {
    let machine = Machine::new().unwrap();
    for number in 0..11 {
        machine.create(&uuid(number), "mtty", "mtty-2").unwrap();
    }
    machine.create(&uuid(11), "mtty", "mtty-1").unwrap();
    assert_eq!(available(&machine, "mtty", "mtty-1"), 1);
    assert_eq!(available(&machine, "mtty", "mtty-2"), 0);
    assert_eq!(errno(machine.create(&uuid(12), "mtty", "mtty-2")), Errno::NOSPC);
    machine.create(&uuid(12), "mtty", "mtty-1").unwrap();
    machine.remove(&uuid(0)).unwrap();
    assert_eq!(available(&machine, "mtty", "mtty-1"), 2);
    assert_eq!(available(&machine, "mtty", "mtty-2"), 1);

    for number in 20..27 {
        machine.create(&uuid(number), "mdevtest", "mdevtest-sparse").unwrap();
    }
    machine.create(&uuid(27), "mdevtest-soc", "mdevtest-platform").unwrap();
    assert_eq!(available(&machine, "mdevtest", "mdevtest-sparse"), 0);
    assert_eq!(available(&machine, "mdevtest-soc", "mdevtest-platform"), 0);
    let full = machine.create(&uuid(28), "mdevtest-soc", "mdevtest-platform");
    assert!(full.as_ref().unwrap_err().to_string().ends_with("remove a device first"));
    assert_eq!(errno(full), Errno::NOSPC);
    let soc = machine.tree().sysfs().join("devices/virtual/mdevtest/mdevtest-soc");
    let driver = fs::read_link(soc.join(uuid(27)).join("driver")).unwrap();
    assert!(driver.ends_with("bus/mdev/drivers/mdevtest_platform"));
}

#[test]
fn what_cannot_be_created_says_why_and_takes_nothing() {
    let machine = Machine::new().unwrap();
    machine.create(&UUID.to_uppercase(), "mtty", "mtty-2").unwrap();
    assert_eq!(errno(machine.create(UUID, "mdevtest", "mdevtest-sparse")), Errno::EXIST);
    for text in ["", "83b8f4f2509f382f3c1ee6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa100g"] {
        assert_eq!(errno(machine.create(text, "mtty", "mtty-2")), Errno::INVAL, "{text}");
    }
    for (parent, mdev_type) in [("mtty", "mtty-3"), ("mdpy", "mdpy-vga"), ("mdevtest", "mtty-1")] {
        assert_eq!(errno(machine.create(&uuid(1), parent, mdev_type)), Errno::NOENT);
    }
    // A device without anything behind it, in the way.
    machine.tree().add_device(&MdevDevice::new(uuid(2), "mtty", "mtty-2")).unwrap();
    assert_eq!(errno(machine.create(&uuid(2), "mtty", "mtty-2")), Errno::EXIST);
    assert_eq!(available(&machine, "mtty", "mtty-2"), 11);
    assert_eq!(errno(machine.remove(&uuid(9))), Errno::NOENT);
}

#[test]
fn a_device_that_is_removed_while_open_works_until_it_is_closed() {
    let machine = Machine::new().unwrap();
    let soft = machine.create(UUID, "mdevtest", "mdevtest-sparse").unwrap();
    let device = open(&machine, UUID).unwrap();
    let window = device.region(1).unwrap().window(0..0x1000).unwrap();
    let resolved = machine.tree().sysfs().join("devices/virtual/mdevtest/mdevtest").join(UUID);

    machine.remove(UUID).unwrap();
    window.try_write32(0, 7).unwrap();
    assert_eq!(device.region(0).unwrap().read32(0).unwrap(), 0x7370_6172);
    assert!(matches!(open(&machine, UUID), Err(OpenError::NoDevice { .. })));
    let sysfs = "devices/virtual/mdevtest/mdevtest".to_owned() + "/" + UUID;
    let late = machine.opener().open(&Target { name: UUID.to_owned(), sysfs: sysfs.into() });
    let Err(OpenError::Step { step: OpenStep::GetDevice { group: 0, .. }, source }) = late else {
        panic!("{late:?}");
    };
    assert_eq!(source.raw_os_error(), Some(Errno::NODEV.raw_os_error()));
    assert_eq!(errno(machine.remove(UUID)), Errno::NOENT);
    assert_eq!(errno(machine.create(UUID, "mdevtest", "mdevtest-sparse")), Errno::EXIST);
    assert_eq!(available(&machine, "mdevtest", "mdevtest-sparse"), 7);
    assert!(resolved.join("iommu_group").exists());

    drop(device);
    assert_eq!(machine.open_devices(), 1, "the window keeps it open");
    drop(window);
    assert_eq!(machine.open_devices(), 0);
    assert!(!resolved.exists());
    assert_eq!(available(&machine, "mdevtest", "mdevtest-sparse"), 8);
    machine.create(UUID, "mdevtest", "mdevtest-sparse").unwrap();
    let again = open(&machine, UUID).unwrap();
    assert_eq!(again.region(1).unwrap().read32(0).unwrap(), 0, "it is another device");
    assert_eq!(soft.counters().reads, 1);
}

#[test]
fn what_has_no_group_or_no_device_does_not_open() {
    let machine = Machine::new().unwrap();
    let parent = Parent::new("acme").with_type(MdevType::new("acme-1", "vfio-platform"));
    machine.tree().add_parent(&parent).unwrap();
    let model = crate::mdevtest::Platform::new;
    let device = |number| MdevDevice::new(uuid(number), "acme", "acme-1");
    machine.create_with(&device(1).without_driver(), model()).unwrap();
    machine.create_with(&device(2), model()).unwrap();
    machine.tree().add_device(&device(3)).unwrap();
    let odd = machine.tree();
    odd.add_device(&device(4)).unwrap();
    odd.remove(format!("devices/virtual/acme/acme/{}/iommu_group", uuid(4))).unwrap();
    odd.write(format!("devices/virtual/acme/acme/{}/iommu_group", uuid(4)), "7").unwrap();

    // Its groups are all of the kind that needs no IOMMU.
    assert!(matches!(open(&machine, &uuid(1)), Err(OpenError::IommuOff { .. })));
    assert!(open(&machine, &uuid(2)).is_ok());
    assert!(matches!(open(&machine, &uuid(3)), Err(OpenError::NoDevice { .. })));
    assert!(matches!(open(&machine, &uuid(4)), Err(OpenError::Sysfs { .. })));
    assert!(matches!(open(&machine, &uuid(5)), Err(OpenError::NoDevice { .. })));
    assert_eq!(machine.open_devices(), 0);
    assert_eq!(errno(machine.create_with(&device(2), model())), Errno::EXIST);
    assert_eq!(
        errno(machine.create_with(&MdevDevice::new("a", "no", "no"), model())),
        Errno::NOENT
    );
}

#[test]
fn any_call_can_fail_and_nothing_stays_open() {
    let machine = Machine::new().unwrap();
    machine.create(UUID, "mdevtest", "mdevtest-sparse").unwrap();
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let device = open(&machine, UUID)?;
        let region = device.region(2)?;
        region.write32(0, 1)?;
        region.read32(0)?;
        device.irq_info(2)?;
        device.reset()?;
        Ok(())
    };
    run().unwrap();
    let calls = machine.calls();
    assert_eq!(calls, 7, "open, device, region, write, read, interrupt, reset");
    for n in 1..=calls {
        machine.fail_call(n, Errno::IO.raw_os_error());
        assert!(run().is_err(), "call {n}");
        assert_eq!(machine.open_devices(), 0, "call {n}");
    }
    machine.fail_call(1, Errno::IO.raw_os_error());
    machine.fail_call(0, 0);
    run().unwrap();
}

#[test]
fn a_mapping_that_fails_is_no_error() {
    let machine = Machine::new().unwrap();
    machine.create(UUID, "mdevtest", "mdevtest-sparse").unwrap();
    let device = open(&machine, UUID).unwrap();
    // The description is the first call, the only mapping the second.
    machine.fail_call(2, Errno::NOMEM.raw_os_error());
    let region = device.region(1).unwrap();
    assert_eq!((region.mapped().len(), region.unmapped().len()), (0, 1));
    region.write32(0, 1).unwrap();
    assert_eq!(region.read32(0).unwrap(), 1);
}

#[test]
fn the_opener_outlives_the_machine_and_sees_what_comes_and_goes() {
    let machine = Machine::new().unwrap();
    let opener = machine.opener();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..50 {
                machine.create(UUID, "mtty", "mtty-1").unwrap();
                machine.remove(UUID).unwrap();
                while machine.device(UUID).is_some() {
                    thread::yield_now();
                }
            }
        });
        for _ in 0..200 {
            if let Ok(device) = opener.open(&target(UUID)) {
                assert_eq!(device.region(0).unwrap().read8(5).unwrap(), 0x60);
            }
        }
    });
    machine.create(UUID, "mtty", "mtty-1").unwrap();
    drop(machine);
    opener.open(&target(UUID)).unwrap();
}

fn function(address: &str) -> Target {
    let sysfs = format!("bus/pci/devices/{address}").into();
    Target { name: address.to_owned(), sysfs }
}

#[test]
fn a_function_opens_while_a_driver_offers_it_through_vfio() {
    let machine = Machine::new().unwrap();
    let bdf = "0000:3b:00.0";
    machine.plug(&TestDevice::function(bdf), TestDevice::new()).unwrap();
    assert!(machine.device(bdf).is_some());
    let open = || machine.opener().open(&function(bdf));
    let is_hidden = |opened: Result<Device, OpenError>| match opened {
        Err(OpenError::Step { step: OpenStep::GetDevice { .. }, source }) => {
            source.raw_os_error() == Some(Errno::NODEV.raw_os_error())
        }
        _ => false,
    };
    assert!(is_hidden(open()));
    machine.tree().bind_function(bdf, "nvme").unwrap();
    assert!(is_hidden(open()));
    machine.tree().bind_function_to_vfio(bdf, "vfio-pci").unwrap();
    assert!(open().is_ok());
    let twice = machine.plug(&TestDevice::function(bdf), TestDevice::new());
    assert_eq!(errno(twice), Errno::EXIST);
    let nowhere = TestDevice::function("0000:3c:00.0").behind("0000:00:01.0");
    assert_eq!(errno(machine.plug(&nowhere, TestDevice::new())), Errno::NOENT);
}

#[test]
fn a_function_that_is_removed_while_open_stays_on_the_bus_until_it_is_closed() {
    let machine = Machine::new().unwrap();
    let bdf = "0000:3b:00.0";
    let test_device = TestDevice::function(bdf).vfio_driver("vfio-pci");
    machine.plug(&test_device, TestDevice::new()).unwrap();
    let device = machine.opener().open(&function(bdf)).unwrap();
    machine.remove(bdf).unwrap();
    let entry = machine.tree().sysfs().join("bus/pci/devices").join(bdf);
    assert!(entry.exists() && !entry.join("driver").exists() && !entry.join("vfio-dev").exists());
    assert!(device.region(7).unwrap().read16(0).is_ok(), "it works until it is closed");
    assert!(machine.opener().open(&function(bdf)).is_err());
    assert_eq!(errno(machine.remove(bdf)), Errno::NOENT);
    drop(device);
    assert!(!entry.exists() && machine.device(bdf).is_none());
    machine.plug(&test_device, TestDevice::new()).unwrap();
}
