//! PCI functions that are not under vfio-pci, or not yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vfio_common::device::Device;
use vfio_common::route::{OpenError, Opener as _, Target};

use crate::machine;

/// QEMU's edu device, at its place on all machines that have one.
pub(crate) const EDU: &str = "0000:00:04.0";

fn attribute(address: &str, name: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(address).join(name)
}

/// Takes a function from whatever driver has it.
pub(crate) fn release(address: &str) {
    if attribute(address, "driver").exists() {
        fs::write(attribute(address, "driver/unbind"), address).unwrap();
    }
}

/// What the kernel answers when a function is bound to vfio-pci.
pub(crate) fn bind(address: &str) -> io::Result<()> {
    fs::write(attribute(address, "driver_override"), "vfio-pci").unwrap();
    let bound = fs::write("/sys/bus/pci/drivers/vfio-pci/bind", address);
    fs::write(attribute(address, "driver_override"), "\n").unwrap();
    bound
}

/// By the route of this run.
pub(crate) fn open(address: &str) -> Result<Device, OpenError> {
    let sysfs = Path::new("bus/pci/devices").join(address);
    machine::vfio().open(&Target { name: address.to_owned(), sysfs })
}
