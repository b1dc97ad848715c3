//! A network card with virtual functions (QEMU's igb, an Intel 82576): the host keeps the card and gives
//! parts of it away, or gives all of it.

use std::fs;
use std::time::Duration;

use pci_bus::binding::{Binder, Force};
use pci_bus::{Address, Bus, Sriov};
use vfio_common::device::VfToken;
use vfio_common::irq::pci;
use vfio_common::pci_config::Command;
use vfio_common::route::{OpenWith, Opener as _, Route, Vfio};
use vfio_common::sysfs::Host;

use crate::machine::{self, link_name, route, vfio};
use crate::vfio_pci::{Bound, Split, directory, switch_on, target};

const CARD: &str = "0000:03:00.0";
/// Its virtual functions have every second address from here.
const PARTS: [&str; 2] = ["0000:03:10.0", "0000:03:10.2"];
const LONG: Duration = Duration::from_secs(20);

/// Registers of the card, of which a virtual function has some at the same places.
const STATUS: u64 = 0x8;
/// Registers of a virtual function (82576 datasheet, 8.26): which interrupts it lets through, and raises.
const VTEIMS: u64 = 0x1524;
const VTEICS: u64 = 0x1520;
/// Two ports: the place of a register, and what it holds.
const PORTS: u32 = 2;

fn driver(address: &str) -> String {
    link_name(directory(address).join("driver"))
}

fn group(address: &str) -> String {
    link_name(directory(address).join("iommu_group"))
}

fn change(command: &str, address: &str) -> String {
    let ran = machine::run(&["pci", command, address]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    ran.stdout.trim().to_owned()
}

/// The interface that the host's driver has made of the card.
fn interface() -> String {
    let mut names = fs::read_dir(directory(CARD).join("net")).unwrap();
    names.next().unwrap().unwrap().file_name().into_string().unwrap()
}

#[test]
fn the_host_keeps_its_card_and_gives_a_virtual_function_away() {
    let interface = interface();
    // The host's driver has the card send messages once it is up.
    machine::tool(&["ip", "link", "set", &interface, "up"]);
    let split = Split::of(CARD);
    let bus = Bus::builder().build().unwrap();
    bus.scan().unwrap();
    let parts = bus
        .devices()
        .into_iter()
        .filter(|info| info.sriov == Some(Sriov::Virtual { physical: CARD.parse().unwrap() }));
    let addresses: Vec<_> = parts.map(|info| info.address.to_string()).collect();
    assert_eq!(addresses, PARTS);
    assert_eq!([driver(CARD), driver(PARTS[0])], ["igb", "igbvf"]);
    assert!(group(CARD) != group(PARTS[0]) && group(PARTS[0]) != group(PARTS[1]));

    let [part, other] = PARTS;
    assert_eq!(change("bind", part), format!("{part}: igbvf -> vfio-pci"));
    assert_eq!([driver(CARD), driver(other)], ["igb", "igbvf"]);
    // No token: the card is not under VFIO.
    let device = vfio().open(&target(part)).unwrap();
    switch_on(&device, Command::MEMORY | Command::BUS_MASTER);
    let registers = device.region(0).unwrap();
    let irqs = device.enable_irq(pci::MSIX, ..).unwrap();
    assert_eq!(irqs.len(), 3);
    registers.write32(VTEIMS, 0b111).unwrap();
    for vector in [1, 0, 2] {
        registers.write32(VTEICS, 1 << vector).unwrap();
        let fired = irqs.vector(vector).unwrap().wait(Some(LONG)).unwrap();
        assert_eq!(fired, Some(1), "vector {vector}");
    }
    for vector in 0..3 {
        assert_eq!(irqs.vector(vector).unwrap().try_read().unwrap(), None, "each fired once");
    }

    drop((irqs, registers, device));
    assert_eq!(change("restore", part), format!("{part}: vfio-pci -> igbvf"));
    drop(split);
    machine::tool(&["ip", "link", "set", &interface, "down"]);
}

#[test]
fn a_card_that_is_given_away_lets_in_who_has_its_token() {
    let card = Bound::new(CARD);
    let token = VfToken::from(uuid::Uuid::from_u128(7));
    let _physical = vfio().open_with(&card.target(), &OpenWith::new().vf_token(token)).unwrap();
    let _split = Split::of(CARD);
    let [part, other] = PARTS;
    assert_eq!([driver(part), driver(other)], ["vfio-pci", "vfio-pci"]);
    let by_group = Vfio::new(Host::system()).route(Route::Group);
    let error = by_group.open(&target(part)).unwrap_err().to_string();
    let expected = format!("a virtual function of {CARD}, which is bound to vfio-pci");
    assert!(error.contains(&expected), "{error}");
    for address in PARTS {
        let with = OpenWith::new().vf_token(token);
        let device = vfio().open_with(&target(address), &with).unwrap();
        switch_on(&device, Command::MEMORY);
        assert_ne!(device.region(0).unwrap().read32(STATUS).unwrap(), u32::MAX);
    }
    if route() == "cdev" {
        // This kernel asks for none there.
        drop(vfio().open(&target(part)).unwrap());
    }
}

#[test]
fn a_register_reads_the_same_through_ports_and_in_memory() {
    let bound = Bound::new(CARD);
    let device = bound.open();
    switch_on(&device, Command::MEMORY | Command::IO);
    let (memory, ports) = (device.region(0).unwrap(), device.region(PORTS).unwrap());
    assert_eq!(ports.mapped().len(), 0);
    let status = memory.read32(STATUS).unwrap();
    assert!(status != 0 && status != u32::MAX, "{status:#x}");
    ports.write32(0, u32::try_from(STATUS).unwrap()).unwrap();
    assert_eq!(ports.read32(4).unwrap(), status);
}

#[test]
fn the_card_goes_to_vfio_and_back_to_its_driver() {
    let state = tempfile::tempdir().unwrap();
    let binder = Binder::new(Host::system(), state.path());
    let address: Address = CARD.parse().unwrap();
    let before = interface();
    let change = binder.bind(address, "vfio-pci", Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{CARD}: igb -> vfio-pci"));
    let device = vfio().open(&target(CARD)).unwrap();
    device.reset().unwrap();
    drop(device);
    let change = binder.restore(address, Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{CARD}: vfio-pci -> igb"));
    assert_eq!(interface(), before);
}
