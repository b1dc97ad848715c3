//! Regions of PCI functions that cannot be mapped: expansion ROM and I/O ports.

use vfio_common::pci_config::Command;
use vfio_common::region::RegionFlags;

use crate::vfio_pci::{Bound, switch_on};

/// QEMU's test device: memory in BAR 0, ports in BAR 1, and a ROM that `tests/kernel/lib` gives it.
const TEST_DEVICE: &str = "0000:00:09.0";
const PORTS: u32 = 1;
const ROM: u32 = 6;

#[test]
fn an_expansion_rom_is_read_and_neither_mapped_nor_written() {
    let bound = Bound::new(TEST_DEVICE);
    let device = bound.open();
    let rom = device.region(ROM).unwrap();
    assert_eq!(rom.info().flags, RegionFlags::READ, "{:?}", rom.info());
    assert_eq!(rom.mapped().len(), 0);
    assert_eq!(rom.read16(0).unwrap(), 0xaa55);
    let place = rom.read16(0x18).unwrap();
    let mut structure = [0; 8];
    rom.read_bytes(place.into(), &mut structure).unwrap();
    assert_eq!(&structure, b"PCIR\x36\x1b\x05\0");
    let error = rom.write8(0, 1).unwrap_err();
    assert!(error.to_string().contains("cannot be written"), "{error}");
    let past = rom.read8(rom.size()).unwrap_err();
    assert!(past.to_string().contains("pass the end of region 6"), "{past}");
}

#[test]
fn ports_are_read_and_written_through_the_descriptor() {
    let bound = Bound::new(TEST_DEVICE);
    let device = bound.open();
    switch_on(&device, Command::IO);
    let ports = device.region(PORTS).unwrap();
    assert_eq!(ports.mapped().len(), 0);
    // Chooses a test; its name begins at 0x10.
    ports.write8(0, 0).unwrap();
    let mut name = [0; 6];
    ports.read_bytes(0x10, &mut name).unwrap();
    assert_eq!(&name, b"portio");
}
