//! Names of what VFIO numbers.

use bitflags::Flags;
use vfio_common::device::{DeviceFlags, DeviceInfo};

/// The set flags by name, in lower case; bits without one as a hexadecimal number.
pub(crate) fn flags<F: Flags<Bits = u32> + Copy>(flags: F) -> Vec<String> {
    let mut rest = flags.bits();
    let mut names = Vec::new();
    for flag in F::FLAGS.iter().filter(|flag| flag.is_named()) {
        let bits = flag.value().bits();
        if flags.bits() & bits == bits {
            names.push(flag.name().to_lowercase());
            rest &= !bits;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names
}

/// What a region is, by its index.
pub(crate) fn region(device: DeviceInfo, index: u32) -> String {
    match (device.flags.contains(DeviceFlags::PCI), index) {
        (true, 0..=5) => format!("bar{index}"),
        (true, 6) => "rom".into(),
        (true, 7) => "config".into(),
        (true, 8) => "vga".into(),
        _ => format!("region{index}"),
    }
}

/// What an interrupt is, by its index.
pub(crate) fn irq(device: DeviceInfo, index: u32) -> String {
    let pci = ["intx", "msi", "msix", "err", "req"];
    let ccw = ["io", "crw", "req"];
    let ap = ["req", "cfg-chg"];
    let names: &[&str] = if device.flags.contains(DeviceFlags::PCI) {
        &pci
    } else if device.flags.contains(DeviceFlags::CCW) {
        &ccw
    } else if device.flags.contains(DeviceFlags::AP) {
        &ap
    } else {
        &[]
    };
    let name = usize::try_from(index).ok().and_then(|index| names.get(index));
    name.map_or_else(|| format!("irq{index}"), |name| (*name).to_owned())
}
