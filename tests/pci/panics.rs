//! A driver that panics when its function is taken from it costs no other function.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use pci_bus::{Bus, Driver, PciId, ProbeDevice, ProbeError, UnbindReason};
use vfio_sim::Machine;
use vfio_sim::pci::TestDevice;

use crate::address;

const FIRST: &str = "0000:3b:00.0";
const LAST: &str = "0000:3b:00.2";
const FUNCTIONS: [&str; 3] = [FIRST, "0000:3b:00.1", LAST];

/// How often a driver was told that its function goes because the bus does.
static TOLD: AtomicUsize = AtomicUsize::new(0);

/// Takes any test device, and does not part from the first.
struct Fragile {
    is_first: bool,
}

impl Driver for Fragile {
    type IdInfo = ();
    const NAME: &'static str = "fragile";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::vendor(0x1b36), ())];

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Ok(Self { is_first: device.info().address == address(FIRST) })
    }

    fn unbind(&self, reason: UnbindReason) {
        TOLD.fetch_add(usize::from(reason == UnbindReason::Shutdown), Ordering::Relaxed);
        if self.is_first {
            resume_unwind(Box::new("as it likes"));
        }
    }
}

fn setup() -> (Machine, Bus) {
    let machine = Machine::new().unwrap();
    for function in FUNCTIONS {
        let function = TestDevice::function(function).vfio_driver("vfio-pci");
        machine.plug(&function, TestDevice::new()).unwrap();
    }
    let builder = Bus::builder().host(machine.host()).opener(machine.opener());
    let bus = builder.without_registered().driver::<Fragile>().build().unwrap();
    bus.scan().unwrap();
    assert_eq!(bus.probe().bound(), FUNCTIONS.len());
    (machine, bus)
}

#[test]
fn what_a_scan_did_not_come_to_the_next_one_does() {
    let (machine, bus) = setup();
    FUNCTIONS.iter().for_each(|function| machine.remove(function).unwrap());
    assert!(catch_unwind(AssertUnwindSafe(|| bus.scan())).is_err());
    bus.scan().unwrap();
    assert_eq!((bus.bound(), machine.open_devices()), (vec![], 0));
}

#[test]
fn the_end_of_a_bus_unbinds_all_and_passes_the_panic_on() {
    let (machine, bus) = setup();
    let kept = bus.driver::<Fragile>(&address(LAST)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(bus))).is_err());
    assert_eq!(TOLD.load(Ordering::Relaxed), FUNCTIONS.len());
    assert!(kept.with(|_| ()).is_none(), "the bus is gone");
    assert_eq!(machine.open_devices(), 0);
}
