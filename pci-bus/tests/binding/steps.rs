//! Every step: done, failed at, killed at.

use std::fs;

use pci_bus::binding::{BindingError, Force, Remark};
use rustix::io::Errno;

use crate::machine::{CARD, DISK, IDLE, Machine, at, bound, copy};

#[test]
fn a_function_is_bound_unbound_and_restored() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let binder = machine.binder();
    let change = binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{DISK}: nvme -> vfio-pci"));
    assert_eq!((change.before, change.after), (bound(Some("nvme"), None), machine.state(DISK)));
    assert_eq!(machine.state(DISK), bound(Some("vfio-pci"), Some("vfio-pci")));

    let change = binder.unbind(at(DISK), Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{DISK}: vfio-pci -> no driver"));
    assert_eq!(machine.state(DISK), bound(None, Some("vfio-pci")));
    let again = binder.unbind(at(DISK), Force::No).unwrap();
    assert_eq!(again.remark, Some(Remark::UnboundAlready));

    let change = binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{DISK}: no driver -> nvme"));
    assert_eq!(machine.snapshot(), before);
    assert_eq!(machine.records(), Vec::<String>::new());
    let again = binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(again.remark, Some(Remark::NotRecorded));
}

#[test]
fn a_function_without_driver_is_left_without_one() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let binder = machine.binder();
    let change = binder.bind(at(IDLE), "vfio-pci", Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{IDLE}: no driver -> vfio-pci"));
    binder.restore(at(IDLE), Force::No).unwrap();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn killed_before_any_write_the_machine_is_as_before_once_restored() {
    for address in [DISK, IDLE] {
        for own in [None, Some("nvme"), Some("vfio-pci"), Some("e1000e")] {
            let machine = Machine::new();
            own.inspect(|name| machine.set_override(address, name));
            let before = machine.snapshot();
            let mut deaths = 0;
            loop {
                let copied = machine.path("run/copy");
                machine.kernel.die_at(deaths + 1, &machine.state_dir(), &copied);
                let result = machine.binder().bind(at(address), "vfio-pci", Force::No);
                let has_died = machine.kernel.has_died();
                machine.kernel.heal();
                if has_died {
                    copy(&copied, &machine.state_dir());
                    assert_eq!(machine.records().len(), 1, "recorded before the first write");
                    deaths += 1;
                } else {
                    result.unwrap();
                }
                let restored = machine.binder().restore(at(address), Force::No).unwrap();
                assert_eq!(machine.snapshot(), before, "write {deaths}: {restored}");
                assert_eq!(machine.records(), Vec::<String>::new());
                if !has_died {
                    break;
                }
            }
            let is_set = own == Some("vfio-pci");
            assert_eq!(deaths, if address == DISK { 3 } else { 2 } - usize::from(is_set));
        }
    }
}

/// The kernel lets only the driver of the override take a function, also back.
#[test]
fn an_override_that_its_driver_does_not_have_is_restored_after_the_driver() {
    for own in ["vfio-pci", "e1000e"] {
        let machine = Machine::new();
        machine.set_override(DISK, own);
        let before = machine.snapshot();
        let binder = machine.binder();
        binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
        binder.restore(at(DISK), Force::No).unwrap();
        assert_eq!(machine.snapshot(), before, "{own}");
        for write in 1..=2 {
            machine.kernel.fail_at(write, Errno::IO);
            let error = binder.bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
            machine.kernel.heal();
            assert!(matches!(error, BindingError::Undone { .. }), "{error}");
            assert_eq!(machine.snapshot(), before, "{own}: write {write}");
        }
    }
}

#[test]
fn killed_in_a_restore_another_one_ends_it() {
    for own in [None, Some("vfio-pci"), Some("e1000e")] {
        killed_in_a_restore(own);
    }
}

fn killed_in_a_restore(own: Option<&str>) {
    let machine = Machine::new();
    own.inspect(|name| machine.set_override(DISK, name));
    let before = machine.snapshot();
    let mut deaths = 0;
    loop {
        machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
        let copied = machine.path("run/copy");
        machine.kernel.die_at(deaths + 1, &machine.state_dir(), &copied);
        let result = machine.binder().restore(at(DISK), Force::No);
        let has_died = machine.kernel.has_died();
        machine.kernel.heal();
        if !has_died {
            result.unwrap();
            break;
        }
        copy(&copied, &machine.state_dir());
        deaths += 1;
        machine.binder().restore(at(DISK), Force::No).unwrap();
        assert_eq!(machine.snapshot(), before, "write {deaths}");
    }
    assert_eq!((deaths, machine.snapshot()), (if own.is_none() { 3 } else { 4 }, before));
}

#[test]
fn killed_between_two_binds_the_first_origin_is_restored() {
    let machine = Machine::new();
    let before = machine.snapshot();
    for write in 1..=3 {
        machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
        let copied = machine.path("run/copy");
        machine.kernel.die_at(write, &machine.state_dir(), &copied);
        machine.binder().bind(at(DISK), "other_vfio_pci", Force::No).unwrap_err();
        machine.kernel.heal();
        copy(&copied, &machine.state_dir());
        machine.binder().restore(at(DISK), Force::No).unwrap();
        assert_eq!(machine.snapshot(), before, "write {write}");
    }
}

#[test]
fn an_error_at_any_write_is_undone_at_once() {
    let machine = Machine::new();
    let before = machine.snapshot();
    for write in 1..=3 {
        machine.kernel.fail_at(write, Errno::IO);
        let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
        machine.kernel.heal();
        assert!(matches!(error, BindingError::Undone { .. }), "{error}");
        assert!(error.to_string().contains("not bound to vfio-pci, and is as it was"), "{error}");
        assert_eq!(machine.snapshot(), before, "write {write}");
        assert_eq!(machine.records(), Vec::<String>::new());
    }
}

#[test]
fn an_error_in_a_second_bind_goes_back_to_the_first() {
    let machine = Machine::new();
    let before = machine.snapshot();
    machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
    let between = machine.snapshot();
    let record = fs::read(machine.record(DISK)).unwrap();
    for write in 1..=3 {
        machine.kernel.fail_at(write, Errno::IO);
        machine.binder().bind(at(DISK), "other_vfio_pci", Force::No).unwrap_err();
        machine.kernel.heal();
        assert_eq!(machine.snapshot(), between, "write {write}");
        assert_eq!(fs::read(machine.record(DISK)).unwrap(), record);
    }
    machine.binder().restore(at(DISK), Force::No).unwrap();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn errors_that_cannot_be_undone_leave_the_record() {
    let machine = Machine::new();
    let before = machine.snapshot();
    for write in 1..=3 {
        machine.kernel.fail_from(write, Errno::IO);
        let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
        machine.kernel.heal();
        // Nothing had happened before the first.
        let is_halfway = matches!(error, BindingError::Halfway { .. });
        assert_eq!(is_halfway, write > 1, "{error}");
        assert_eq!(machine.records().len(), usize::from(is_halfway));
        machine.binder().restore(at(DISK), Force::No).unwrap();
        assert_eq!(machine.snapshot(), before, "write {write}");
    }
}

#[test]
fn errors_in_a_restore_leave_the_record() {
    let machine = Machine::new();
    let before = machine.snapshot();
    for write in 1..=3 {
        machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
        machine.kernel.fail_at(write, Errno::IO);
        let error = machine.binder().restore(at(DISK), Force::No).unwrap_err();
        machine.kernel.heal();
        assert!(matches!(error, BindingError::Write { .. }), "{error}");
        machine.binder().restore(at(DISK), Force::No).unwrap();
        assert_eq!(machine.snapshot(), before, "write {write}");
    }
}

#[test]
fn an_error_in_an_unbind_changes_nothing() {
    let machine = Machine::new();
    machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
    // As if somebody else had bound it.
    fs::remove_file(machine.record(DISK)).unwrap();
    let before = machine.snapshot();
    machine.kernel.fail_at(1, Errno::ACCESS);
    let error = machine.binder().unbind(at(DISK), Force::No).unwrap_err();
    assert!(error.to_string().contains("run as root"), "{error}");
    assert_eq!((machine.kernel.heal(), machine.records().len()), (1, 0));
    assert_eq!(machine.snapshot(), before);
    machine.binder().unbind(at(DISK), Force::No).unwrap();
    machine.binder().restore(at(DISK), Force::No).unwrap();
    assert_eq!(machine.snapshot(), before, "it came from vfio-pci");
}

#[test]
fn a_second_bind_keeps_the_first_origin() {
    let machine = Machine::new();
    machine.set_override(CARD, "e1000e");
    let before = machine.snapshot();
    let binder = machine.binder();
    binder.bind(at(CARD), "vfio-pci", Force::No).unwrap();
    let again = binder.bind(at(CARD), "vfio-pci", Force::No).unwrap();
    assert_eq!(again.remark, Some(Remark::BoundAlready));
    let change = binder.bind(at(CARD), "other_vfio_pci", Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{CARD}: vfio-pci -> other_vfio_pci"));
    binder.restore(at(CARD), Force::No).unwrap();
    assert_eq!(machine.snapshot(), before);
}
