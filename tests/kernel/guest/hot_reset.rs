//! Hot resets of real PCI devices: what they reach, who must own it, and that they reset something.

use std::fs;
use std::time::{Duration, Instant};

use vfio_common::device::{Device, HotResetError, Ownership, ResetOutcome};
use vfio_common::pci_config::Command;
use vfio_common::region::Region;
use vfio_common::route::{OpenError, Opener as _};

use crate::machine;
use crate::vfio_pci::Bound;

/// On the root bus.
const EDU: &str = "0000:00:04.0";
/// Alone behind a root port.
const NVME: &str = "0000:02:00.0";
/// Two behind one bridge, in one group.
const SHARING: [&str; 2] = ["0000:01:01.0", "0000:01:02.0"];

/// Registers of the nvme.
const CONFIGURATION: u64 = 0x14;
const STATUS: u64 = 0x1c;
const QUEUE_SIZES: u64 = 0x24;
const SUBMISSIONS: u64 = 0x28;
const COMPLETIONS: u64 = 0x30;
const ENABLED: u32 = 0x0046_0001;

fn by_cdev() -> bool {
    machine::route() == "cdev"
}

fn names(device: &Device) -> Vec<String> {
    let info = device.hot_reset_info().unwrap().unwrap();
    assert_eq!(info.by_iommufd, by_cdev());
    info.devices.iter().map(ToString::to_string).collect()
}

/// Whose the devices are that a hot reset reaches.
fn owners(device: &Device) -> Vec<Ownership> {
    device
        .hot_reset_info()
        .unwrap()
        .unwrap()
        .devices
        .iter()
        .map(|affected| affected.owner)
        .collect()
}

fn group(address: &str) -> u32 {
    let link = format!("/sys/bus/pci/devices/{address}/iommu_group");
    machine::link_name(link).parse().unwrap()
}

/// Until the controller says that it is ready.
fn becomes_ready(registers: &Region) -> bool {
    let limit = Instant::now() + Duration::from_secs(20);
    while registers.read32(STATUS).unwrap() & 1 == 0 {
        if Instant::now() > limit {
            return false;
        }
    }
    true
}

#[test]
fn a_hot_reset_puts_a_device_back_that_is_alone_behind_its_port() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    assert_eq!(names(&device), [NVME]);
    match owners(&device)[..] {
        [Ownership::Iommufd(id)] => assert!(by_cdev() && id > 0),
        [Ownership::Group(number)] => assert!(!by_cdev() && number == group(NVME)),
        ref other => panic!("{other:?}"),
    }

    let config = device.pci_config().unwrap().unwrap();
    config.set_command(Command::MEMORY).unwrap();
    let registers = device.region(0).unwrap();
    registers.write32(QUEUE_SIZES, 0x0007_0007).unwrap();
    for (register, address) in [(SUBMISSIONS, 0x1000), (COMPLETIONS, 0x2000)] {
        registers.write32(register, address).unwrap();
        registers.write32(register + 4, 0).unwrap();
    }
    registers.write32(CONFIGURATION, ENABLED).unwrap();
    assert!(becomes_ready(&registers), "the controller runs");
    assert_eq!(registers.read32(CONFIGURATION).unwrap(), ENABLED);

    assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Done);
    assert_eq!(registers.read32(STATUS).unwrap() & 1, 0, "it does not run any more");
    assert_eq!(registers.read32(CONFIGURATION).unwrap(), 0);
    assert!(config.command().unwrap().contains(Command::MEMORY), "the kernel puts this back");
    // And once more, naming it twice.
    assert_eq!(device.hot_reset(&[&device, &device]).unwrap(), ResetOutcome::Done);
}

#[test]
fn a_device_on_the_root_bus_has_no_hot_reset() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    assert_eq!(device.hot_reset_info().unwrap(), None);
    assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Unsupported);
}

#[test]
fn a_mediated_device_has_no_hot_reset() {
    let card = machine::Created::new("mtty", "mtty-1");
    let bus = mdev_bus::Bus::builder().build().unwrap();
    let device = bus.open(&card.uuid.parse().unwrap()).unwrap();
    assert_eq!(device.hot_reset_info().unwrap(), None);
    assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Unsupported);
}

#[test]
fn a_hot_reset_reaches_the_neighbour_too() {
    let [edu, network] = SHARING.map(Bound::new);
    let vfio = machine::vfio();
    let device = vfio.open(&edu.target()).unwrap();
    assert_eq!(names(&device), SHARING);

    // The neighbour is not open, but its group is ours.
    let expected =
        if by_cdev() { Ownership::SameGroup } else { Ownership::Group(group(SHARING[1])) };
    assert_eq!(owners(&device)[1], expected);
    assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Done);

    let neighbour = vfio.open(&network.target()).unwrap();
    if by_cdev() {
        let owners = owners(&device);
        assert!(owners.iter().all(|owner| matches!(owner, Ownership::Iommufd(_))), "{owners:?}");
        assert_ne!(owners[0], owners[1]);
    }
    // Something of the neighbour's goes back: its control register's bit 3, which autonegotiates.
    let config = neighbour.pci_config().unwrap().unwrap();
    config.set_command(Command::MEMORY).unwrap();
    let registers = neighbour.region(0).unwrap();
    let speed = registers.read32(0x28).unwrap();
    registers.write32(0x28, !speed).unwrap();
    assert_eq!(registers.read32(0x28).unwrap(), !speed);
    assert_eq!(device.hot_reset(&[&neighbour]).unwrap(), ResetOutcome::Done);
    assert_eq!(registers.read32(0x28).unwrap(), speed);
}

#[test]
fn a_hot_reset_is_refused_when_the_neighbour_is_not_bound_to_vfio() {
    let edu = Bound::new(SHARING[0]);
    // Bound to its kernel driver, it keeps the group from us.
    let error = machine::vfio().open(&edu.target()).unwrap_err();
    assert!(matches!(error, OpenError::NotViable { .. }), "{error:?}");

    // Bound to nothing, it does not; but then nobody answers for it.
    let driver = format!("/sys/bus/pci/devices/{}/driver", SHARING[1]);
    let unbind = format!("{driver}/unbind");
    fs::write(unbind, SHARING[1]).unwrap();
    let device = edu.open();
    assert_eq!(names(&device), SHARING);
    let error = device.hot_reset(&[]).unwrap_err();
    let text = error.to_string();
    drop(device);
    fs::write("/sys/bus/pci/drivers_probe", SHARING[1]).unwrap();
    if by_cdev() {
        assert!(matches!(error, HotResetError::NotOwned { .. }), "{error:?}");
        assert!(text.contains("would also reset 0000:01:02.0,"), "{text}");
        assert!(text.contains("bind it to vfio-pci"), "{text}");
    } else {
        assert!(matches!(error, HotResetError::Failed { .. }), "{error:?}");
        assert!(text.contains("0000:01:01.0, 0000:01:02.0: one of them is not bound"), "{text}");
    }
}
