//! Which driver a function goes to.

use pci_bus::{Address, Bus, Driver, Outcome, PciId, ProbeDevice, ProbeError};
use vfio_sim::Machine;
use vfio_sim::pci::TestDevice;
use vfio_sim::tree::PciFunction;

const FUNCTION: &str = "0000:00:09.0";

/// Takes or declines what it is offered.
macro_rules! driver {
    ($name:ident, $ids:expr, $taken:expr) => {
        pub(crate) struct $name;

        impl Driver for $name {
            type IdInfo = ();
            const NAME: &'static str = stringify!($name);
            const ID_TABLE: &'static [(PciId, ())] = &$ids;

            fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
                let ids = device.pci_ids().ok_or(ProbeError::Faulty("no ids".to_owned()))?;
                assert_eq!(Some(ids), device.info().ids());
                if $taken { Ok(Self) } else { Err(ProbeError::Declined("not today".to_owned())) }
            }
        }
    };
}

driver!(Everything, [(PciId::class(0, 0), ())], true);
driver!(Vendor, [(PciId::vendor(0x8086), ()), (PciId::vendor(0x1b36), ())], true);
driver!(Class, [(PciId::class(0x00_ff00, 0xff_ffff), ())], true);
driver!(Exact, [(PciId::device(0x1b36, 0x0005), ())], true);
driver!(Choosy, [(PciId::device(0x1b36, 0x0005).and_subsystem(0x1af4, 0x1100), ())], false);
driver!(Other, [(PciId::device(0x1b36, 0x0006), ())], true);

fn machine() -> Machine {
    let machine = Machine::new().unwrap();
    let function = TestDevice::function(FUNCTION).vfio_driver("vfio-pci");
    machine.plug(&function, TestDevice::new()).unwrap();
    machine
}

fn builder(machine: &Machine) -> pci_bus::Builder {
    Bus::builder().host(machine.host()).opener(machine.opener()).without_registered()
}

fn bound_to(bus: &Bus) -> Option<&'static str> {
    bus.scan().unwrap();
    bus.probe().rows.iter().find_map(|row| match row.outcome {
        Outcome::Bound(driver) => Some(driver),
        _ => None,
    })
}

#[test]
fn the_driver_whose_line_says_the_most_is_asked_first() {
    let machine = machine();
    let bus = builder(&machine).driver::<Everything>().driver::<Class>().build().unwrap();
    assert_eq!(bound_to(&bus), Some("Class"));
    drop(bus);
    let bus = builder(&machine).driver::<Class>().driver::<Vendor>().build().unwrap();
    assert_eq!(bound_to(&bus), Some("Vendor"));
    drop(bus);
    let all = builder(&machine).driver::<Vendor>().driver::<Other>().driver::<Choosy>();
    let bus = all.driver::<Exact>().build().unwrap();
    assert_eq!(bus.registry().drivers().len(), 4);
    assert_eq!(bound_to(&bus), Some("Exact"), "after the one that declined");
}

#[test]
fn no_function_is_opened_to_be_matched() {
    let machine = machine();
    let bus = builder(&machine).driver::<Other>().build().unwrap();
    assert_eq!(bound_to(&bus), None);
    assert_eq!(machine.calls(), 0);
}

#[test]
fn what_no_driver_matches_is_no_failure_whoever_has_it() {
    let machine = machine();
    let disk = |place: &str| PciFunction::new(format!("0000:00:{place}"), 0x144d, 0xa808);
    for function in [
        disk("01.0").kernel_driver("nvme"),
        disk("02.0").without_group(),
        disk("03.0").vfio_driver("vfio-pci"),
    ] {
        machine.tree().add_function(&function).unwrap();
    }
    let bus = builder(&machine).driver::<Exact>().build().unwrap();
    bus.scan().unwrap();
    let report = bus.probe();
    assert_eq!((report.rows.len(), report.bound(), report.failed().count()), (4, 1, 0));
    let left = report.rows.iter().filter(|row| matches!(row.outcome, Outcome::NoDriver));
    assert_eq!(left.count(), 3);

    let matched = TestDevice::function("0000:00:0a.0").kernel_driver("pci-stub");
    machine.tree().add_function(&matched).unwrap();
    bus.scan().unwrap();
    let failed: Vec<Address> = bus.probe().failed().map(|(address, _)| *address).collect();
    assert_eq!(failed, ["0000:00:0a.0".parse().unwrap()], "a driver wants it");
}

#[test]
fn ids_say_what_they_match() {
    let subsystem = PciId::device(0x15b3, 0x101d).and_subsystem(0x15b3, 0x43);
    assert_eq!(subsystem.to_string(), "pci=15b3:101d subsystem=15b3:0043");
    let disk = PciId::class(0x01_0802, 0xff_ffff);
    assert_eq!(disk.to_string(), "pci=*:* class=010802/ffffff");
}
