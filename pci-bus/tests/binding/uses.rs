//! What the machine would lose.

use std::fs;
use std::path::PathBuf;

use pci_bus::binding::{BindingError, Force, Use};

use crate::machine::{CARD, DISK, IDLE, Machine, at, bound};

/// A block device in the tree, and its directory there.
fn block(machine: &Machine, place: &str, number: &str) -> PathBuf {
    machine.write(format!("{place}/dev"), &format!("{number}\n"));
    fs::create_dir_all(machine.path("sys/class/block")).unwrap();
    machine.link(format!("{place}/subsystem"), "sys/class/block");
    fs::create_dir_all(machine.path(place).join("holders")).unwrap();
    machine.path(place)
}

/// The disk's namespace, with one partition.
fn disk(machine: &Machine) -> String {
    let place = format!("sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1");
    fs::create_dir_all(machine.path("sys/class/nvme")).unwrap();
    machine.link(format!("sys/devices/pci0000:00/{DISK}/nvme/nvme0/subsystem"), "sys/class/nvme");
    block(machine, &place, "259:0");
    block(machine, &format!("{place}/nvme0n1p1"), "259:1");
    place
}

fn mount(machine: &Machine, number: &str, at: &str) {
    let line = format!("26 1 {number} / {at} rw,relatime shared:1 - ext4 /dev/x rw\n");
    machine.write("proc/self/mountinfo", &line);
}

/// What keeps a function from being bound, and that force does it all the same.
fn uses(machine: &Machine, address: &str) -> Vec<Use> {
    let before = machine.snapshot();
    let error = machine.binder().bind(at(address), "vfio-pci", Force::No).unwrap_err();
    assert_eq!(machine.snapshot(), before);
    assert!(error.to_string().contains("or force it"), "{error}");
    let BindingError::InUse { uses, .. } = error else { panic!("{error}") };
    machine.binder().bind(at(address), "vfio-pci", Force::Yes).unwrap();
    machine.binder().restore(at(address), Force::No).unwrap();
    assert_eq!(machine.snapshot(), before);
    uses.0
}

fn mounted(device: &str, at: &str) -> Use {
    Use::Mounted { device: device.to_owned(), at: at.to_owned() }
}

#[test]
fn a_disk_that_nobody_uses_is_bound() {
    let machine = Machine::new();
    disk(&machine);
    mount(&machine, "259:7", "/");
    machine.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
    machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
}

#[test]
fn a_mounted_disk_or_partition_stays() {
    let machine = Machine::new();
    disk(&machine);
    mount(&machine, "259:0", "/");
    assert_eq!(uses(&machine, DISK), [mounted("nvme0n1", "/")]);
    mount(&machine, "259:1", "/mnt/my\\040disk");
    assert_eq!(uses(&machine, DISK), [mounted("nvme0n1p1", "/mnt/my disk")]);
    assert_eq!(mounted("sda1", "/mnt").to_string(), "sda1 is mounted on /mnt (umount /mnt)");
}

#[test]
fn what_is_made_of_a_disk_keeps_it() {
    let machine = Machine::new();
    let place = disk(&machine);
    // A volume on an encrypted partition; and a loop, which no kernel makes.
    let crypt = block(&machine, "sys/devices/virtual/block/dm-0", "252:0");
    let volume = block(&machine, "sys/devices/virtual/block/dm-1", "252:1");
    machine.link(format!("{place}/nvme0n1p1/holders/dm-0"), &crypt);
    machine.link("sys/devices/virtual/block/dm-0/holders/dm-1", &volume);
    machine.link("sys/devices/virtual/block/dm-1/holders/dm-0", &crypt);
    mount(&machine, "252:1", "/home");
    assert_eq!(uses(&machine, DISK), [mounted("dm-1", "/home")]);
}

#[test]
fn swap_space_keeps_a_disk() {
    let machine = Machine::new();
    disk(&machine);
    let swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                 /dev/nvme0n1p1                          partition\t8388604\t\t0\t\t-2\n";
    machine.write("proc/swaps", swaps);
    let found = uses(&machine, DISK);
    assert_eq!(found, [Use::Swap { device: "nvme0n1p1".to_owned() }]);
    assert!(found[0].to_string().contains("swapoff /dev/nvme0n1p1"));
}

#[test]
fn a_file_system_that_spans_disks_keeps_each() {
    let machine = Machine::new();
    disk(&machine);
    let uuid = "0b9b2a9c-5ad5-4a4b-8ff1-6a2f2a8f6f10";
    machine.link(format!("sys/fs/btrfs/{uuid}/devices/nvme0n1p1"), "sys");
    let one = Use::FileSystem { device: "nvme0n1p1".to_owned(), uuid: uuid.to_owned() };
    assert_eq!(uses(&machine, DISK), [one]);
}

#[test]
fn a_disk_of_several_controllers_is_found_by_their_subsystem() {
    let machine = Machine::new();
    let place = disk(&machine);
    fs::remove_dir_all(machine.path(&place)).unwrap();
    let subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
    block(&machine, &format!("{subsystem}/nvme0n1"), "259:0");
    machine.link(format!("{subsystem}/nvme0"), format!("sys/devices/pci0000:00/{DISK}/nvme/nvme0"));
    machine.link("sys/class/nvme-subsystem/nvme-subsys0", subsystem);
    mount(&machine, "259:0", "/srv");
    assert_eq!(uses(&machine, DISK), [mounted("nvme0n1", "/srv")]);
}

#[test]
fn an_interface_that_is_up_or_carries_the_default_route_stays() {
    let machine = Machine::new();
    let net = format!("sys/devices/pci0000:00/{CARD}/net/eth0");
    fs::create_dir_all(machine.path("sys/class/net")).unwrap();
    machine.link(format!("{net}/subsystem"), "sys/class/net");
    machine.write(format!("{net}/flags"), "0x1003\n");
    let found = uses(&machine, CARD);
    assert_eq!(found, [Use::InterfaceUp { interface: "eth0".to_owned() }]);
    assert!(found[0].to_string().contains("ip link set eth0 down"));
    let route = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                 eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
    machine.write("proc/net/route", route);
    assert_eq!(uses(&machine, CARD), [Use::DefaultRoute { interface: "eth0".to_owned() }]);
    fs::remove_file(machine.path("proc/net/route")).unwrap();
    machine.write(format!("{net}/flags"), "0x1002\n");
    machine.binder().bind(at(CARD), "vfio-pci", Force::No).unwrap();
}

/// Who takes the interface down as he is told loses the machine.
#[test]
fn a_default_route_over_a_bond_and_a_bridge_is_named() {
    let machine = Machine::new();
    let nets = [
        format!("sys/devices/pci0000:00/{CARD}/net/eth0"),
        "sys/devices/virtual/net/bond0".to_owned(),
        "sys/devices/virtual/net/br0".to_owned(),
    ];
    fs::create_dir_all(machine.path("sys/class/net")).unwrap();
    for net in &nets {
        machine.link(format!("{net}/subsystem"), "sys/class/net");
        machine.write(format!("{net}/flags"), "0x1003\n");
    }
    let [card, bond, bridge] = &nets;
    machine.link(format!("{card}/upper_bond0"), bond);
    machine.link(format!("{bond}/upper_br0"), bridge);
    // Which no kernel makes.
    machine.link(format!("{bridge}/upper_eth0"), card);
    let up = Use::InterfaceUp { interface: "eth0".to_owned() };
    assert_eq!(uses(&machine, CARD), [up], "the others are not of the card");
    machine.write(
        "proc/net/ipv6_route",
        &format!("{0} 00 {0} 00 {0} 400 1 0 00450003 br0\n", "0".repeat(32)),
    );
    assert_eq!(uses(&machine, CARD), [Use::DefaultRoute { interface: "br0".to_owned() }]);
}

/// Sysfs shows the interfaces of one network namespace, and the directory that they are in.
#[test]
fn an_interface_of_another_network_namespace_stays() {
    let machine = Machine::new();
    fs::create_dir_all(machine.device(CARD).join("net")).unwrap();
    let found = uses(&machine, CARD);
    assert_eq!(found, [Use::InterfaceElsewhere]);
    assert!(found[0].to_string().contains("another network namespace"));
}

#[test]
fn the_display_of_the_console_stays() {
    let machine = Machine::new();
    machine.write(format!("sys/devices/pci0000:00/{IDLE}/boot_vga"), "1\n");
    assert_eq!(
        uses(&machine, IDLE),
        [Use::OfBus("it is the display that the machine started with".into())]
    );
    machine.write(format!("sys/devices/pci0000:00/{IDLE}/boot_vga"), "0\n");
    let connector = format!("sys/devices/pci0000:00/{IDLE}/drm/card0/card0-DP-1");
    fs::create_dir_all(machine.path("sys/class/drm")).unwrap();
    machine.link(format!("{connector}/subsystem"), "sys/class/drm");
    machine.write(format!("{connector}/enabled"), "enabled\n");
    assert_eq!(uses(&machine, IDLE), [Use::Display { connector: "card0-DP-1".to_owned() }]);
    machine.write(format!("{connector}/enabled"), "disabled\n");
    machine.binder().bind(at(IDLE), "vfio-pci", Force::No).unwrap();
}

#[test]
fn a_function_with_virtual_functions_stays_and_a_virtual_function_goes() {
    let machine = Machine::new();
    let virtual_function = "0000:00:06.1";
    machine.add_driver("nvme", &format!("{DISK}\n{virtual_function}"));
    machine.add(virtual_function, 8, "0x010802", Some("nvme"));
    machine
        .link(format!("sys/devices/pci0000:00/{DISK}/virtfn0"), machine.device(virtual_function));
    let before = machine.snapshot();
    let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
    assert!(error.to_string().contains(&format!("{virtual_function} (nvme;")), "{error}");
    // By force the kernel refuses, and all is undone.
    let error = machine.binder().bind(at(DISK), "vfio-pci", Force::Yes).unwrap_err();
    assert!(matches!(error, BindingError::Undone { .. }), "{error}");
    assert_eq!(machine.snapshot(), before);

    machine.binder().bind(at(virtual_function), "vfio-pci", Force::No).unwrap();
    assert_eq!(machine.state(virtual_function).driver.as_deref(), Some("vfio-pci"));
    machine.binder().restore(at(virtual_function), Force::No).unwrap();
    assert_eq!(machine.state(virtual_function), bound(Some("nvme"), None));
}
