//! Devices that somebody has open.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pci_bus::binding::{BindingError, Force, Remark};

use crate::machine::{DISK, Machine, at, bound};

/// Some process has the group of the disk open.
fn hold(machine: &Machine) {
    machine.write("dev/vfio/6", "");
    let process = "proc/4711";
    machine.write(format!("{process}/comm"), "qemu\n");
    fs::create_dir_all(machine.path(format!("{process}/fd"))).unwrap();
    symlink(machine.path("dev/vfio/6"), machine.path(format!("{process}/fd/7"))).unwrap();
}

/// The kernel goes on by itself.
fn wait_until_unbound(machine: &Machine, driver: &str) {
    while machine.path("sys/bus/pci/drivers").join(driver).join(DISK).is_symlink() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_device_that_is_open_is_not_taken_away() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    hold(&machine);
    let before = machine.snapshot();
    for refused in [
        binder.unbind(at(DISK), Force::No),
        binder.restore(at(DISK), Force::No),
        binder.bind(at(DISK), "other_vfio_pci", Force::No),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, BindingError::Held { .. }), "{error}");
        assert!(error.to_string().contains("process 4711 (qemu) has it open"), "{error}");
    }
    assert_eq!(machine.snapshot(), before);
    fs::remove_dir_all(machine.path("proc/4711")).unwrap();
    binder.restore(at(DISK), Force::No).unwrap();
}

#[test]
fn by_force_it_is_waited_for_only_so_long() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let binder = machine.binder().patience(Duration::from_millis(50));
    machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
    hold(&machine);
    let (close, closed) = mpsc::channel();
    machine.kernel.wait_at(2, closed);
    let error = binder.restore(at(DISK), Force::Yes).unwrap_err();
    assert!(matches!(error, BindingError::Waits { .. }), "{error}");
    assert!(error.to_string().contains("process 4711 (qemu) has it open"), "{error}");
    assert_eq!(machine.records().len(), 1, "it is not over");

    fs::remove_dir_all(machine.path("proc/4711")).unwrap();
    close.send(()).unwrap();
    wait_until_unbound(&machine, "vfio-pci");
    assert_eq!(machine.state(DISK), bound(None, None));
    machine.binder().restore(at(DISK), Force::No).unwrap();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_bind_whose_unbind_waits_is_not_undone() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let (close, closed) = mpsc::channel();
    machine.kernel.wait_at(2, closed);
    let binder = machine.binder().patience(Duration::from_millis(50));
    let error = binder.bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
    assert!(error.to_string().contains("its log (dmesg) may say why"), "{error}");
    assert_eq!(machine.records().len(), 1);
    close.send(()).unwrap();
    wait_until_unbound(&machine, "nvme");
    let restored = machine.binder().restore(at(DISK), Force::No).unwrap();
    assert_eq!(restored.remark, None::<Remark>);
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn an_unbind_that_waits_keeps_its_record() {
    let machine = Machine::new();
    machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
    fs::remove_file(machine.record(DISK)).unwrap();
    let (close, closed) = mpsc::channel();
    machine.kernel.wait_at(1, closed);
    let binder = machine.binder().patience(Duration::from_millis(50));
    let error = binder.unbind(at(DISK), Force::No).unwrap_err();
    assert!(matches!(error, BindingError::Waits { .. }), "{error}");
    assert_eq!(machine.records().len(), 1);
    close.send(()).unwrap();
    wait_until_unbound(&machine, "vfio-pci");
}
