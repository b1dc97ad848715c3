//! QEMU's `ivshmem-plain` (`docs/specs/ivshmem-spec.rst` of QEMU): a PCI function whose BAR 2 is memory
//! that virtual machines and the host share.
//!
//! ```
//! use drivers::ivshmem::Ivshmem;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! let bus = pci_bus::Bus::builder().host(machine.host()).opener(machine.opener()).build()?;
//! let address = "0000:00:05.0".parse()?;
//! bus.plug(&address)?;
//!
//! let shared = bus.driver::<Ivshmem>(&address).ok_or("not bound")?;
//! let found = shared.with(|shared| {
//!     shared.memory().try_write64(0x100, 7)?; // one store, no system call
//!     shared.memory().try_read64(0x100)
//! });
//! assert_eq!(found.ok_or("unbound")?, Ok(7));
//! # Ok(()) }
//! ```

use pci_bus::{Driver, PciId, ProbeDevice, ProbeError, SelfTest, SelfTestError, register_driver};
use vfio_common::region::{Path, Region, Window};

const MEMORY: u32 = 2;

/// Memory that is shared with others. What it holds is theirs as well: there is no order and no lock but
/// what they agree on.
#[derive(Debug)]
pub struct Ivshmem {
    region: Region,
    window: Window,
}

impl Ivshmem {
    /// The memory, mapped.
    #[must_use]
    pub fn memory(&self) -> &Window {
        &self.window
    }
}

impl Driver for Ivshmem {
    type IdInfo = ();
    const NAME: &'static str = "ivshmem";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::device(0x1af4, 0x1110), ())];

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        let region = device.device().region(MEMORY)?;
        let window = region.window(0..region.size())?;
        Ok(Self { region, window })
    }

    /// Others may use the memory, so it is only read: what is mapped and what the kernel reads must be
    /// the same memory. What others change meanwhile is read again.
    fn self_test(&self) -> Result<SelfTest, SelfTestError> {
        const TRIES: usize = 3;
        let places = [0, self.region.size() / 2, self.region.size().saturating_sub(8)];
        for place in places.map(|place| place & !7) {
            let agrees = || -> Result<bool, SelfTestError> {
                let trapped = self.region.read_via::<u64>(Path::Trapped, place)?;
                Ok(trapped == self.region.read_via::<u64>(Path::Mapped, place)?)
            };
            let mut tries = 0;
            while !agrees()? {
                tries += 1;
                if tries == TRIES {
                    return Err(format!("mapped and read, the memory at {place:#x} differs").into());
                }
            }
        }
        Ok(SelfTest::Passed(format!(
            "{} bytes of shared memory are mapped, and read the same through the kernel",
            self.region.size()
        )))
    }
}

register_driver!(Ivshmem);
