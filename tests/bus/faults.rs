//! Every call to the device fails once: whatever fails, nothing stays open and the error says where.

use std::error::Error as _;

use mdev_bus::{Bus, Outcome};
use vfio_sim::Machine;

use crate::{address, uuid};

const EIO: i32 = 5;

#[test]
fn whichever_call_of_a_probe_fails_the_device_is_closed_and_the_error_names_it() {
    let machine = Machine::new().unwrap();
    machine.create(&uuid(1), "mtty", "mtty-2").unwrap();
    let bus = Bus::builder().host(machine.host()).opener(machine.opener()).build().unwrap();
    let mut failures = 0;
    loop {
        machine.fail_call(failures + 1, EIO);
        let row = bus.plug(&address(1)).unwrap();
        match row.outcome {
            Outcome::Bound(driver) => {
                assert_eq!(driver, "mtty");
                break;
            }
            Outcome::Failed(error) => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(source) = cause {
                    text = format!("{text}: {source}");
                    cause = source.source();
                }
                assert!(text.contains(&uuid(1)) && text.contains("os error 5"), "{text}");
            }
            other => panic!("call {failures}: {other:?}"),
        }
        assert_eq!(machine.open_devices(), 0, "call {failures}");
        assert!(bus.bound().is_empty());
        failures += 1;
    }
    // Opening, describing and setting up two ports takes more calls than this.
    assert!(failures > 20, "{failures}");
    machine.fail_call(0, EIO);
    assert_eq!(machine.open_devices(), 1);
}

#[test]
fn whichever_call_of_a_self_test_fails_the_next_one_passes() {
    let machine = Machine::new().unwrap();
    machine.create(&uuid(1), "mtty", "mtty-2").unwrap();
    let bus = Bus::builder().host(machine.host()).opener(machine.opener()).build().unwrap();
    bus.plug(&address(1)).unwrap();
    let before = machine.calls();
    bus.self_test(&address(1)).unwrap().unwrap();
    let calls = machine.calls() - before;
    let mut failed = 0;
    for n in 1..=calls {
        machine.fail_call(n, EIO);
        failed += u32::from(bus.self_test(&address(1)).unwrap().is_err());
        let next = bus.self_test(&address(1)).unwrap();
        assert!(next.is_ok(), "after call {n}: {next:?}");
    }
    assert_eq!(u64::from(failed), calls, "a test that misses a byte has failed");
}
