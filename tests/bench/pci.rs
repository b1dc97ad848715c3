//! PCI functions for tests: in software, or of the machine and bound to vfio-pci.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use pci_bus::{Address, Bus};
use vfio_common::device::Device;
use vfio_common::iommu::AddressSpace;
use vfio_common::route::{Opener, Vfio};
use vfio_sim::pci::{Edu, Ivshmem};
use vfio_sim::{Machine, SimError};

use super::Bench;

/// Where the virtual machine of `tests/kernel` has QEMU's devices.
const EDU: &str = "0000:00:04.0";
const IVSHMEM: &str = "0000:00:05.0";

/// A function that VFIO offers until this is dropped; one test at a time has it.
#[derive(Debug)]
pub(crate) struct Function<'a> {
    pub(crate) address: Address,
    name: &'static str,
    bench: &'a Bench,
}

impl Bench {
    /// The educational device.
    pub(crate) fn edu(&self) -> Function<'_> {
        self.function(EDU, |machine| {
            machine.plug(&Edu::function(EDU).vfio_driver("vfio-pci"), Edu::new())
        })
    }

    /// The shared memory.
    pub(crate) fn ivshmem(&self) -> Function<'_> {
        self.function(IVSHMEM, |machine| {
            machine.plug(&Ivshmem::function(IVSHMEM).vfio_driver("vfio-pci"), Ivshmem::new())
        })
    }

    fn function<T>(
        &self,
        name: &'static str,
        plug: impl FnOnce(&Machine) -> Result<T, SimError>,
    ) -> Function<'_> {
        match self {
            Self::Software(machine) => {
                plug(machine).unwrap();
            }
            Self::Kernel(_) => {
                fs::write(attribute(name, "driver_override"), "vfio-pci").unwrap();
                fs::write("/sys/bus/pci/drivers_probe", name).unwrap();
            }
        }
        Function { address: name.parse().unwrap(), name, bench: self }
    }

    fn opener(&self) -> Arc<dyn Opener> {
        match self {
            Self::Software(machine) => machine.opener(),
            Self::Kernel(route) => Arc::new(Vfio::new(self.host()).route(*route)),
        }
    }
}

impl Function<'_> {
    pub(crate) fn bus(&self) -> Bus {
        Bus::builder().host(self.bench.host()).opener(self.bench.opener()).build().unwrap()
    }

    /// The function without a driver, in an address space of its own.
    pub(crate) fn open(&self) -> (Device, AddressSpace) {
        let device = self.bus().open(&self.address).unwrap();
        let space = device.address_space().unwrap();
        (device, space)
    }
}

impl Drop for Function<'_> {
    fn drop(&mut self) {
        match self.bench {
            Bench::Software(machine) => {
                let removed = machine.remove(self.name).map_err(|error| error.to_string());
                if !std::thread::panicking() {
                    removed.unwrap();
                }
            }
            Bench::Kernel(_) => {
                // It waits for whoever has the function open: by now nobody must.
                let _ = fs::write(attribute(self.name, "driver/unbind"), self.name);
                let _ = fs::write(attribute(self.name, "driver_override"), "\n");
            }
        }
    }
}

fn attribute(address: &str, name: &str) -> PathBuf {
    PathBuf::from("/sys/bus/pci/devices").join(address).join(name)
}
