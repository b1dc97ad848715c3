//! Drivers that register themselves, and the life of what is bound.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mdev_bus::{
    Bus, Driver, MdevId, Outcome, ProbeDevice, ProbeError, SkipReason, UnbindReason,
    register_driver,
};
use vfio_common::region::Window;
use vfio_sim::Machine;

use crate::{address, uuid};

/// Registered in this crate, beside those of the crate `drivers`.
struct Scratch {
    window: Window<0x1000>,
}

impl Driver for Scratch {
    type IdInfo = ();
    const NAME: &'static str = "scratch";
    const ID_TABLE: &'static [(MdevId, ())] = &[(MdevId::of_type("mdevtest-sparse"), ())];

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Ok(Self { window: device.device().region(1)?.fixed_window(0)? })
    }
}

register_driver!(Scratch);

/// Counts why it was unbound. Only one test uses it.
struct Listener;

static UNBOUND: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

impl Driver for Listener {
    type IdInfo = ();
    const NAME: &'static str = "listener";
    const ID_TABLE: &'static [(MdevId, ())] = &[(MdevId::of_type("mdevtest-*"), ())];

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        device.device().region(0)?;
        Ok(Self)
    }

    fn unbind(&self, reason: UnbindReason) {
        let [requested, removed, others] = &UNBOUND;
        let heard = match reason {
            UnbindReason::Requested => requested,
            UnbindReason::Removed => removed,
            _ => others,
        };
        heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// Another driver under a name that is taken.
struct Impostor;

impl Driver for Impostor {
    type IdInfo = ();
    const NAME: &'static str = "mtty";
    const ID_TABLE: &'static [(MdevId, ())] = &[(MdevId::of_type("x"), ())];

    fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Ok(Self)
    }
}

fn machine(devices: u64) -> Machine {
    let machine = Machine::new().unwrap();
    for number in 0..devices {
        machine.create(&uuid(number), "mdevtest", "mdevtest-sparse").unwrap();
    }
    machine
}

fn bus(machine: &Machine) -> Bus {
    let bus = Bus::builder().host(machine.host()).opener(machine.opener()).build().unwrap();
    bus.scan().unwrap();
    bus
}

#[test]
fn drivers_of_this_and_other_crates_are_registered_by_the_macro() {
    let bus = Bus::builder().build().unwrap();
    let names: Vec<_> = bus.registry().drivers().map(|driver| driver.name()).collect();
    assert_eq!(names, ["mtty", "scratch"]);
    let ids: Vec<_> =
        bus.registry().drivers().next().unwrap().ids().map(ToString::to_string).collect();
    assert_eq!(ids, ["type=mtty-1", "type=mtty-2"]);
}

#[test]
fn two_drivers_of_one_name_are_refused_and_one_twice_is_one() {
    let error = Bus::builder().driver::<Impostor>().build().unwrap_err();
    assert_eq!(error.to_string(), "two drivers are named mtty: rename one of them");
    let bus = Bus::builder().driver::<Scratch>().build().unwrap();
    assert_eq!(bus.registry().drivers().len(), 2);
    let bus = Bus::builder().without_registered().build().unwrap();
    assert_eq!(bus.registry().drivers().len(), 0);
}

#[test]
fn drivers_hear_why_they_are_unbound() {
    let machine = machine(3);
    let builder = Bus::builder().host(machine.host()).opener(machine.opener());
    let bus = builder.without_registered().driver::<Listener>().build().unwrap();
    bus.scan().unwrap();
    assert_eq!(bus.probe().bound(), 3);
    let heard = || UNBOUND.each_ref().map(|count| count.load(Ordering::Relaxed));
    bus.unbind(&address(0));
    assert_eq!(heard(), [1, 0, 0]);
    machine.remove(&uuid(1)).unwrap();
    assert_eq!(bus.scan().unwrap().removed, [address(1)]);
    assert_eq!(heard(), [1, 1, 0]);
    assert_eq!(bus.bound(), [address(2)]);
    drop(bus);
    assert_eq!(heard(), [1, 1, 1]);
}

#[test]
fn whatever_unbinds_a_device_closes_it() {
    let machine = machine(3);
    let bus = bus(&machine);
    assert_eq!(bus.probe().bound(), 3);
    assert_eq!(machine.open_devices(), 3);
    let kept = bus.driver::<Scratch>(&address(0)).unwrap();
    assert_eq!(kept.with(|scratch| scratch.window.read32::<0>()), Some(0));
    assert!(bus.driver::<drivers::mtty::Mtty>(&address(0)).is_none(), "it is another driver's");
    assert!(bus.unbind(&address(0)));
    assert_eq!(kept.with(|scratch| scratch.window.read32::<0>()), None);
    assert_eq!(machine.open_devices(), 2);
    machine.remove(&uuid(1)).unwrap();
    bus.scan().unwrap();
    assert_eq!(machine.open_devices(), 1);
    drop(bus);
    assert_eq!(machine.open_devices(), 0);
}

#[test]
fn a_device_made_again_is_taken_from_the_driver_of_the_old_one() {
    for again in ["scan", "find"] {
        let machine = machine(1);
        let bus = bus(&machine);
        bus.probe();
        let old = bus.driver::<Scratch>(&address(0)).unwrap();
        // As on a kernel, the old device is gone only when it is closed.
        machine.remove(&uuid(0)).unwrap();
        assert_eq!(machine.open_devices(), 1);
        if again == "scan" {
            assert_eq!(bus.scan().unwrap().removed, [address(0)]);
        } else {
            bus.find(&address(0)).unwrap_err();
        }
        assert_eq!((machine.open_devices(), bus.bound().len()), (0, 0), "{again}");
        assert_eq!(old.with(|_| ()), None);
        machine.create(&uuid(0), "mdevtest", "mdevtest-sparse").unwrap();
        assert!(matches!(bus.plug(&address(0)).unwrap().outcome, Outcome::Bound("scratch")));
    }
}

#[test]
fn a_use_within_a_use_finds_nothing_once_an_unbind_has_begun() {
    let machine = machine(1);
    let bus = bus(&machine);
    bus.probe();
    let driver = bus.driver::<Scratch>(&address(0)).unwrap();
    thread::scope(|scope| {
        let unbind = driver.with(|_| {
            let unbind = scope.spawn(|| bus.unbind(&address(0)));
            // The unbind cannot end before this use does; until it begins, the driver is there.
            while driver.with(|_| ()).is_some() {
                thread::yield_now();
            }
            assert!(!unbind.is_finished());
            unbind
        });
        assert!(unbind.unwrap().join().unwrap());
    });
    assert_eq!(machine.open_devices(), 0);
}

/// Takes its time to probe: until both have come to the gate twice.
struct Slow;

static GATE: Barrier = Barrier::new(2);

impl Driver for Slow {
    type IdInfo = ();
    const NAME: &'static str = "slow";
    const ID_TABLE: &'static [(MdevId, ())] = &[(MdevId::of_type("mdevtest-*"), ())];

    fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        GATE.wait();
        GATE.wait();
        Ok(Self)
    }
}

#[test]
fn a_device_that_is_removed_while_it_is_probed_is_not_bound() {
    let machine = machine(1);
    let builder = Bus::builder().host(machine.host()).opener(machine.opener());
    let bus = builder.without_registered().driver::<Slow>().build().unwrap();
    bus.scan().unwrap();
    thread::scope(|scope| {
        let probe = scope.spawn(|| bus.probe());
        GATE.wait();
        machine.remove(&uuid(0)).unwrap();
        assert_eq!(bus.scan().unwrap().removed, [address(0)]);
        GATE.wait();
        let report = probe.join().unwrap();
        let outcome = &report.rows[0].outcome;
        assert!(matches!(outcome, Outcome::Skipped(SkipReason::Vanished)), "{outcome:?}");
    });
    assert_eq!((machine.open_devices(), bus.bound().len()), (0, 0));
}

/// Panics when its device is taken away.
struct Panics;

impl Driver for Panics {
    type IdInfo = ();
    const NAME: &'static str = "panics";
    const ID_TABLE: &'static [(MdevId, ())] = &[(MdevId::of_type("mdevtest-*"), ())];

    fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Ok(Self)
    }

    fn unbind(&self, _: UnbindReason) {
        std::panic::resume_unwind(Box::new("as it likes"));
    }
}

#[test]
fn a_driver_that_panics_in_unbind_leaves_its_device_free_and_closed() {
    let machine = machine(1);
    let builder = Bus::builder().host(machine.host()).opener(machine.opener());
    let bus = builder.without_registered().driver::<Panics>().build().unwrap();
    bus.scan().unwrap();
    assert_eq!(bus.probe().bound(), 1);
    let unbind = std::panic::AssertUnwindSafe(|| bus.unbind(&address(0)));
    assert!(std::panic::catch_unwind(unbind).is_err());
    assert_eq!((machine.open_devices(), bus.bound().len()), (0, 0));
    assert!(matches!(bus.plug(&address(0)).unwrap().outcome, Outcome::Bound("panics")));
    // It is dropped with the bus, which must not panic in a panic.
    std::mem::forget(bus);
}

#[test]
fn an_unbind_waits_for_those_who_use_the_driver() {
    let machine = machine(1);
    let bus = bus(&machine);
    bus.probe();
    let driver = bus.driver::<Scratch>(&address(0)).unwrap();
    thread::scope(|scope| {
        let (entered, enter) = std::sync::mpsc::channel();
        let user = scope.spawn(move || {
            driver.with(|scratch| {
                entered.send(()).unwrap();
                for value in 0..10_000 {
                    scratch.window.write32::<0x10>(value);
                    assert_eq!(scratch.window.read32::<0x10>(), value);
                }
            })
        });
        enter.recv().unwrap();
        assert!(bus.unbind(&address(0)));
        assert_eq!(machine.open_devices(), 0, "unbind returns when the device is closed");
        assert_eq!(user.join().unwrap(), Some(()));
    });
}

#[test]
fn many_threads_bind_and_unbind_the_same_devices() {
    let machine = machine(4);
    let bus = bus(&machine);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..50u64 {
                    let device = address(round % 4);
                    bus.plug(&device).unwrap();
                    if let Some(driver) = bus.driver::<Scratch>(&device) {
                        driver.with(|scratch| scratch.window.write32::<0>(1));
                    }
                    bus.unbind(&device);
                }
            });
        }
    });
    for device in bus.bound() {
        bus.unbind(&device);
    }
    assert_eq!(machine.open_devices(), 0);
    assert_eq!(bus.probe().bound(), 4);
    assert!(bus.probe().rows.iter().all(|row| matches!(row.outcome, Outcome::Bound("scratch"))));
}
