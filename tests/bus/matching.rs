//! Which driver gets a device.

use std::sync::atomic::{AtomicUsize, Ordering};

use mdev_bus::{
    Builder, Bus, DeviceApi, Driver, MdevId, Outcome, PciMatch, ProbeDevice, ProbeError, SkipReason,
};
use vfio_sim::Machine;

use crate::{address, uuid};

/// A driver that takes what its table says.
macro_rules! driver {
    ($type:ident, $name:literal, [$($id:expr),+]) => {
        driver!($type, $name, [$($id),+], |_device| Ok(Self));
    };
    ($type:ident, $name:literal, [$($id:expr),+], |$device:ident| $probe:expr) => {
        struct $type;
        impl Driver for $type {
            type IdInfo = ();
            const NAME: &'static str = $name;
            const ID_TABLE: &'static [(MdevId, ())] = &[$(($id, ())),+];
            fn probe($device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
                $probe
            }
        }
    };
}

driver!(ByApi, "by-api", [MdevId::of_api(DeviceApi::Pci)]);
driver!(ByClass, "by-class", [MdevId::of_pci(PciMatch::class(0x07_0000, 0xff_0000))]);
driver!(ByVendor, "by-vendor", [MdevId::of_pci(PciMatch::vendor(0x4348))]);
driver!(ByDevice, "by-device", [MdevId::of_pci(PciMatch::device(0x4348, 0x3253))]);
driver!(
    BySubsystem,
    "by-subsystem",
    [MdevId::of_pci(PciMatch::device(0x4348, 0x3253).and_subsystem(0x4348, 0x3253))]
);
driver!(ByParents, "by-parents", [MdevId::of_parent("mt*")]);
driver!(ByParent, "by-parent", [MdevId::of_parent("mtty")]);
driver!(ByTypes, "by-types", [MdevId::of_type("mtty-*")]);
driver!(ByType, "by-type", [MdevId::of_type("mtty-2")]);
driver!(ByTypeAndParent, "by-type-and-parent", [MdevId::of_type("mtty-2").and_parent("mtty")]);
driver!(
    ByTypeAndPci,
    "by-type-and-pci",
    [MdevId::of_type("mtty-2").and_pci(PciMatch::vendor(0x4348))]
);
driver!(OtherType, "other-type", [MdevId::of_type("mtty-1"), MdevId::of_parent("mdpy")]);
driver!(OtherVendor, "other-vendor", [MdevId::of_pci(PciMatch::vendor(0x8086))]);
driver!(Twin, "a-twin", [MdevId::of_type("mtty-2")]);
driver!(Declines, "declines", [MdevId::of_type("mtty-2")], |_device| {
    Err(ProbeError::Declined("not today".into()))
});
driver!(Fails, "fails", [MdevId::of_type("mtty-2")], |device| {
    device.device().region(99).map(|_| Self).map_err(ProbeError::from)
});

fn machine() -> Machine {
    let machine = Machine::new().unwrap();
    machine.create(&uuid(1), "mtty", "mtty-2").unwrap();
    machine
}

fn builder(machine: &Machine) -> Builder {
    Bus::builder().host(machine.host()).opener(machine.opener()).without_registered()
}

fn outcome(builder: Builder) -> Outcome {
    let bus = builder.build().unwrap();
    bus.scan().unwrap();
    bus.probe().rows.remove(0).outcome
}

#[test]
fn the_most_specific_driver_gets_the_device() {
    // Each beats all before it.
    type Add = fn(Builder) -> Builder;
    let order: [(&str, Add); 11] = [
        ("by-api", Builder::driver::<ByApi>),
        ("by-class", Builder::driver::<ByClass>),
        ("by-vendor", Builder::driver::<ByVendor>),
        ("by-device", Builder::driver::<ByDevice>),
        ("by-subsystem", Builder::driver::<BySubsystem>),
        ("by-parents", Builder::driver::<ByParents>),
        ("by-parent", Builder::driver::<ByParent>),
        ("by-types", Builder::driver::<ByTypes>),
        ("by-type", Builder::driver::<ByType>),
        ("by-type-and-pci", Builder::driver::<ByTypeAndPci>),
        ("by-type-and-parent", Builder::driver::<ByTypeAndParent>),
    ];
    for count in 1..=order.len() {
        let machine = machine();
        // Registered in the opposite order: it must not matter.
        let builder = order[..count].iter().rev().fold(builder(&machine), |b, (_, add)| add(b));
        let (expected, _) = order[count - 1];
        let outcome = outcome(builder.driver::<OtherType>().driver::<OtherVendor>());
        assert!(matches!(outcome, Outcome::Bound(name) if name == expected), "{outcome:?}");
    }
}

#[test]
fn of_equals_the_first_by_name_gets_the_device() {
    let machine = machine();
    let outcome = outcome(builder(&machine).driver::<ByType>().driver::<Twin>());
    assert!(matches!(outcome, Outcome::Bound("a-twin")), "{outcome:?}");
}

#[test]
fn a_driver_that_declines_leaves_the_device_to_the_next() {
    let machine = machine();
    let both = builder(&machine).driver::<Declines>().driver::<ByParent>();
    assert!(matches!(outcome(both), Outcome::Bound("by-parent")));
    assert!(matches!(outcome(builder(&machine).driver::<Declines>()), Outcome::NoDriver));
    assert_eq!(machine.open_devices(), 0);
}

#[test]
fn a_driver_that_fails_ends_the_matter_for_its_device_only() {
    let machine = machine();
    machine.create(&uuid(2), "mtty", "mtty-1").unwrap();
    let bus = builder(&machine).driver::<Fails>().driver::<ByParent>().build().unwrap();
    bus.scan().unwrap();
    let report = bus.probe();
    assert_eq!(report.bound(), 1);
    let failed: Vec<_> = report.failed().collect();
    assert_eq!(failed[0].0, &address(1));
    assert_eq!(failed[0].1.to_string(), format!("driver fails failed to probe {}", uuid(1)));
    let cause = std::error::Error::source(failed[0].1).unwrap().to_string();
    assert_eq!(cause, format!("{} has no region 99", uuid(1)));
    assert_eq!(machine.open_devices(), 1, "the failed device is closed again");
}

#[test]
fn longer_patterns_beat_shorter_ones() {
    driver!(Wide, "a-wide", [MdevId::of_type("mt*")]);
    let machine = machine();
    let outcome = outcome(builder(&machine).driver::<Wide>().driver::<ByTypes>());
    assert!(matches!(outcome, Outcome::Bound("by-types")), "{outcome:?}");
}

#[test]
fn a_driver_that_needs_no_pci_ids_gets_the_device_when_they_cannot_be_read() {
    let machine = machine();
    let bus = builder(&machine).driver::<ByTypes>().driver::<OtherVendor>().build().unwrap();
    // Open, device info, region info; the fourth call reads the first id.
    machine.fail_call(4, 5);
    let row = bus.plug(&address(1)).unwrap();
    assert!(matches!(row.outcome, Outcome::Bound("by-types")), "{row}");
    bus.unbind(&address(1));

    let bus = builder(&machine).driver::<OtherVendor>().build().unwrap();
    machine.fail_call(4, 5);
    let row = bus.plug(&address(1)).unwrap();
    assert!(row.to_string().contains("cannot read the PCI ids"), "{row}");
    assert_eq!(machine.open_devices(), 0);
}

#[test]
fn no_device_is_opened_that_no_driver_may_want() {
    let machine = machine();
    machine.create(&uuid(2), "mdevtest-soc", "mdevtest-platform").unwrap();
    let opened = CountingOpener::new(&machine);
    let bus = builder(&machine).opener(opened.clone()).driver::<OtherType>().build().unwrap();
    bus.scan().unwrap();
    assert!(bus.probe().rows.iter().all(|row| matches!(row.outcome, Outcome::NoDriver)));
    assert_eq!(opened.opened(), 0);

    // PCI ids are asked of the PCI device only, and the device is closed when they do not fit.
    let bus = builder(&machine).opener(opened.clone()).driver::<OtherVendor>().build().unwrap();
    bus.scan().unwrap();
    assert!(bus.probe().rows.iter().all(|row| matches!(row.outcome, Outcome::NoDriver)));
    assert_eq!((opened.opened(), machine.open_devices()), (1, 0));
}

#[test]
fn what_matches_without_opening_can_be_told_in_advance() {
    let machine = machine();
    let builder = builder(&machine).driver::<ByApi>().driver::<ByDevice>().driver::<ByParents>();
    let bus = builder.build().unwrap();
    bus.scan().unwrap();
    let best = bus.registry().best(&bus.devices()[0]).unwrap();
    assert_eq!(best.name(), "by-parents");
    let only_pci = crate::matching::builder(&machine).driver::<ByDevice>().build().unwrap();
    assert!(only_pci.registry().best(&bus.devices()[0]).is_none());
}

#[test]
fn lists_decide_what_is_left_alone() {
    let machine = machine();
    machine.create(&uuid(2), "mtty", "mtty-2").unwrap();
    machine.create(&uuid(3), "mtty", "mtty-2").unwrap();
    let bound = |builder: Builder| {
        let bus = builder.driver::<ByType>().build().unwrap();
        bus.scan().unwrap();
        let report = bus.probe();
        let skipped = report
            .rows
            .iter()
            .filter(|row| matches!(row.outcome, Outcome::Skipped(SkipReason::Blocked)));
        assert_eq!(skipped.count() + report.bound(), 3);
        bus.bound()
    };
    assert_eq!(bound(builder(&machine)), [address(1), address(2), address(3)]);
    assert_eq!(bound(builder(&machine).allow([address(2)])), [address(2)]);
    assert_eq!(bound(builder(&machine).block([address(2)])), [address(1), address(3)]);
    let both = builder(&machine).allow([address(1), address(2)]).block([address(2)]);
    assert_eq!(bound(both), [address(1)]);
}

#[derive(Debug)]
struct CountingOpener {
    inner: std::sync::Arc<dyn vfio_common::route::Opener>,
    opened: AtomicUsize,
}

impl CountingOpener {
    fn new(machine: &Machine) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { inner: machine.opener(), opened: AtomicUsize::new(0) })
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl vfio_common::route::Opener for CountingOpener {
    fn open(
        &self,
        target: &vfio_common::route::Target,
    ) -> Result<vfio_common::device::Device, vfio_common::route::OpenError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.inner.open(target)
    }
}
