//! What is recorded, and when that is worth nothing any more.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pci_bus::binding::{Attributes as _, BindingError, Force, JournalError, Remark};
use rustix::fs::Mode;

use crate::machine::{CARD, DISK, IDLE, Machine, at, bound};

#[test]
fn what_somebody_else_bound_is_neither_recorded_nor_restored() {
    let machine = Machine::new();
    machine.set_override(DISK, "vfio-pci");
    for (path, text) in [("bus/pci/drivers/nvme/unbind", DISK), ("bus/pci/drivers_probe", DISK)] {
        machine.kernel.write(path.as_ref(), text).unwrap();
    }
    let before = machine.snapshot();
    let change = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
    assert_eq!(change.to_string(), format!("{DISK}: vfio-pci (bound to it already)"));
    assert_eq!(machine.records(), Vec::<String>::new());
    let restored = machine.binder().restore(at(DISK), Force::No).unwrap();
    assert_eq!(restored.remark, Some(Remark::NotRecorded));
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn what_somebody_else_changed_since_is_left() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(CARD), "vfio-pci", Force::No).unwrap();
    for (path, text) in [
        (format!("bus/pci/devices/{CARD}/driver_override"), "nvme"),
        ("bus/pci/drivers/vfio-pci/unbind".to_owned(), CARD),
        ("bus/pci/drivers/nvme/bind".to_owned(), CARD),
    ] {
        machine.kernel.write(path.as_ref(), text).unwrap();
    }
    let change = binder.restore(at(CARD), Force::No).unwrap();
    assert_eq!(change.remark, Some(Remark::TakenOver { driver: "nvme".to_owned() }));
    assert_eq!(machine.state(CARD), bound(Some("nvme"), Some("nvme")));
    assert_eq!(machine.records(), Vec::<String>::new());
}

/// Where it came from is then what somebody else wanted.
#[test]
fn what_somebody_else_changed_since_is_restored_after_the_next_change() {
    for unbound in [false, true] {
        let machine = Machine::new();
        machine.add_driver("mlx5_vfio_pci", "");
        let binder = machine.binder();
        binder.bind(at(CARD), "vfio-pci", Force::No).unwrap();
        for (path, text) in [
            (format!("bus/pci/devices/{CARD}/driver_override"), "mlx5_vfio_pci"),
            ("bus/pci/drivers/vfio-pci/unbind".to_owned(), CARD),
            ("bus/pci/drivers/mlx5_vfio_pci/bind".to_owned(), CARD),
        ] {
            machine.kernel.write(path.as_ref(), text).unwrap();
        }
        let before = machine.snapshot();
        match unbound {
            true => binder.unbind(at(CARD), Force::No).unwrap(),
            false => binder.bind(at(CARD), "vfio-pci", Force::No).unwrap(),
        };
        binder.restore(at(CARD), Force::No).unwrap();
        assert_eq!((machine.snapshot(), machine.records()), (before, vec![]), "{unbound}");
    }
}

#[test]
fn what_somebody_else_restored_is_as_it_was() {
    let machine = Machine::new();
    let before = machine.snapshot();
    machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap();
    for (path, text) in [
        ("bus/pci/drivers/vfio-pci/unbind".to_owned(), DISK),
        (format!("bus/pci/devices/{DISK}/driver_override"), "\n"),
        ("bus/pci/drivers_probe".to_owned(), DISK),
    ] {
        machine.kernel.write(path.as_ref(), text).unwrap();
    }
    let change = machine.binder().restore(at(DISK), Force::No).unwrap();
    assert_eq!(change.remark, Some(Remark::RestoredAlready));
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_record_of_another_device_is_dropped() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    machine.write(format!("sys/devices/pci0000:00/{DISK}/device"), "0x0011\n");
    let before = machine.snapshot();
    let change = binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(change.remark, Some(Remark::OtherDevice));
    assert_eq!((machine.snapshot(), machine.records()), (before, vec![]));

    // The same kind of device, which nobody has bound.
    binder.bind(at(CARD), "vfio-pci", Force::No).unwrap();
    machine.plug_again(CARD);
    let before = machine.snapshot();
    let change = binder.restore(at(CARD), Force::No).unwrap();
    assert_eq!(change.remark, Some(Remark::OtherDevice));
    assert_eq!((machine.snapshot(), machine.records()), (before, vec![]));
}

#[test]
fn a_record_of_a_device_that_is_gone_is_dropped() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    fs::remove_file(machine.path(format!("sys/bus/pci/devices/{DISK}"))).unwrap();
    let change = binder.restore(at(DISK), Force::No).unwrap();
    assert!(change.to_string().contains("it is gone"), "{change}");
    assert_eq!(machine.records(), Vec::<String>::new());
    let error = binder.restore(at(DISK), Force::No).unwrap_err();
    assert!(matches!(error, BindingError::NoDevice { .. }), "{error}");
}

/// As in a container, or where sysfs is not mounted yet.
#[test]
fn a_sysfs_without_the_bus_drops_no_record() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    let (there, away) = (machine.path("sys"), machine.path("away"));
    fs::rename(&there, &away).unwrap();
    fs::create_dir(&there).unwrap();
    let error = binder.restore(at(DISK), Force::No).unwrap_err();
    assert!(matches!(error, BindingError::NoBus { .. }), "{error}");
    assert_eq!(machine.records().len(), 1);
    fs::remove_dir(&there).unwrap();
    fs::rename(away, there).unwrap();
    binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(machine.state(DISK), bound(Some("nvme"), None));
}

#[test]
fn a_record_from_before_the_machine_started_is_dropped_or_replaced() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    binder.bind(at(CARD), "vfio-pci", Force::No).unwrap();
    machine.start();
    let before = machine.snapshot();
    let change = binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(change.remark, Some(Remark::OtherBoot));
    assert_eq!(machine.snapshot(), before);

    // What is recorded now is where it came from after the start.
    binder.bind(at(CARD), "other_vfio_pci", Force::No).unwrap();
    binder.restore(at(CARD), Force::No).unwrap();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_driver_that_is_not_loaded_any_more_is_to_be_loaded() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    fs::remove_dir_all(machine.path("sys/bus/pci/drivers/nvme")).unwrap();
    let error = binder.restore(at(DISK), Force::No).unwrap_err();
    assert!(matches!(error, BindingError::OriginGone { .. }), "{error}");
    assert!(error.to_string().contains("modprobe nvme"), "{error}");
    assert_eq!(machine.state(DISK), bound(None, None), "nvme takes it when it is loaded");

    machine.add_driver("nvme", DISK);
    binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(machine.state(DISK), bound(Some("nvme"), None));

    // Another driver may take it, too.
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    fs::remove_dir_all(machine.path("sys/bus/pci/drivers/nvme")).unwrap();
    machine.add_driver("other", DISK);
    let change = binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(change.remark, Some(Remark::NewDriver { origin: "nvme".to_owned() }));
    assert_eq!(machine.state(DISK), bound(Some("other"), None));
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_keeps_no_other() {
    let machine = Machine::new();
    let binder = machine.binder();
    for address in [DISK, CARD, IDLE] {
        binder.bind(at(address), "vfio-pci", Force::No).unwrap();
    }
    let (disk, idle) = (machine.record(DISK), machine.record(IDLE));
    let text = fs::read_to_string(&disk).unwrap();
    fs::write(&disk, &text[..text.len() / 2]).unwrap();
    let newer = fs::read_to_string(&idle).unwrap().replace("\"version\": 1", "\"version\": 2");
    fs::write(&idle, newer).unwrap();

    assert_eq!(binder.recorded().unwrap(), [at(IDLE), at(DISK), at(CARD)]);
    let error = binder.restore(at(DISK), Force::No).unwrap_err().to_string();
    assert!(error.contains(disk.to_str().unwrap()) && error.contains("is damaged"), "{error}");
    assert!(error.contains("remove the file"), "{error}");
    let error = binder.restore(at(IDLE), Force::No).unwrap_err().to_string();
    assert!(error.contains(idle.to_str().unwrap()) && error.contains("version 2"), "{error}");
    binder.restore(at(CARD), Force::No).unwrap();
    assert_eq!(machine.state(CARD), bound(Some("e1000e"), None));
    // Nor is it overwritten.
    let before = fs::read(&disk).unwrap();
    binder.bind(at(DISK), "other_vfio_pci", Force::No).unwrap_err();
    assert_eq!(fs::read(&disk).unwrap(), before);
    assert_eq!(machine.state(DISK), bound(Some("vfio-pci"), Some("vfio-pci")));
}

#[test]
fn a_record_that_lies_moves_no_file() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    let text = fs::read_to_string(machine.record(DISK)).unwrap();
    let before = machine.snapshot();
    for lie in [
        text.replace("\"nvme\"", "\"../../../../etc\""),
        text.replace("\"nvme\"", "\"\""),
        text.replace("\"driver_override\": null", "\"driver_override\": \"a\\nb\""),
        text.replace("\"driver_override\": null", "\"driver_override\": \"\""),
        text.replace(DISK, CARD),
        text.replace("\"drivers\"", "\"others\""),
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
        "{\"version\": -1}".to_owned(),
        "\u{0}".repeat(300),
    ] {
        assert_ne!(lie, text);
        fs::write(machine.record(DISK), &lie).unwrap();
        let error = binder.restore(at(DISK), Force::Yes).unwrap_err();
        let is_damaged = matches!(&error, BindingError::Journal(JournalError::Damaged { file, .. }) if *file == machine.record(DISK));
        assert!(is_damaged, "{lie}: {error}");
        assert_eq!(machine.snapshot(), before);
    }
}

/// In a state directory that others write to.
#[test]
fn a_link_or_a_pipe_in_the_state_directory_is_neither_followed_nor_waited_for() {
    let machine = Machine::new();
    let (lock, record) = (machine.state_dir().join("lock"), machine.record(DISK));
    let elsewhere = machine.path("elsewhere");
    fs::create_dir_all(machine.state_dir()).unwrap();
    let bind = || machine.binder().bind(at(DISK), "vfio-pci", Force::No);
    for path in [lock, record] {
        symlink(&elsewhere, &path).unwrap();
        assert!(matches!(bind().unwrap_err(), BindingError::Journal(_)));
        assert!(!elsewhere.exists());
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap();
        assert!(matches!(bind().unwrap_err(), BindingError::Journal(_)));
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(machine.state(DISK), bound(Some("nvme"), None));
    bind().unwrap();
}

#[test]
fn what_was_being_written_when_it_was_killed_is_removed() {
    let machine = Machine::new();
    let binder = machine.binder();
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
    fs::write(machine.state_dir().join(".pci-ab12cd.partial"), "{\"ver").unwrap();
    fs::write(machine.state_dir().join("pci-notes.json"), "somebody else's").unwrap();
    binder.restore(at(DISK), Force::No).unwrap();
    assert_eq!(machine.records(), ["pci-notes.json"]);
    assert_eq!(binder.recorded().unwrap(), []);
}

#[test]
fn nothing_is_recorded_where_nothing_was() {
    let machine = Machine::new();
    assert_eq!(machine.binder().recorded().unwrap(), []);
    assert!(!machine.state_dir().exists());
    fs::create_dir_all(machine.path("run")).unwrap();
    fs::write(machine.state_dir(), "a file").unwrap();
    let error = machine.binder().bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
    assert!(error.to_string().contains("name another directory"), "{error}");
    assert_eq!(machine.state(DISK), bound(Some("nvme"), None));
}

#[test]
fn two_at_once_take_turns() {
    let machine = Arc::new(Machine::new());
    let before = machine.snapshot();
    thread::scope(|scope| {
        for driver in ["vfio-pci", "other_vfio_pci", "vfio-pci"] {
            let machine = &machine;
            scope.spawn(move || {
                for _ in 0..5 {
                    machine.binder().bind(at(DISK), driver, Force::No).unwrap();
                    machine.binder().restore(at(DISK), Force::No).unwrap();
                }
            });
        }
    });
    assert_eq!((machine.snapshot(), machine.records()), (before, vec![]));
}

#[test]
fn a_device_that_takes_a_place_while_the_lock_is_waited_for_is_the_one_that_is_recorded() {
    let machine = Machine::new();
    fs::create_dir_all(machine.state_dir()).unwrap();
    let lock = fs::File::create(machine.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    thread::scope(|scope| {
        let bound = scope.spawn(|| machine.binder().bind(at(DISK), "vfio-pci", Force::No));
        // It cannot be seen that it waits; if it does not yet, this shows nothing.
        thread::sleep(Duration::from_millis(100));
        machine.plug_again(DISK);
        drop(lock);
        bound.join().unwrap().unwrap();
    });
    let change = machine.binder().restore(at(DISK), Force::No).unwrap();
    assert_eq!(change.remark, None, "{change}");
    assert_eq!(machine.state(DISK), bound(Some("nvme"), None));
}

#[test]
fn who_has_the_lock_is_waited_for_only_so_long() {
    let machine = Machine::new();
    fs::create_dir_all(machine.state_dir()).unwrap();
    let lock = fs::File::create(machine.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    let binder = machine.binder().patience(Duration::from_millis(60));
    let error = binder.bind(at(DISK), "vfio-pci", Force::No).unwrap_err();
    assert!(error.to_string().contains("fuser"), "{error}");
    assert_eq!(machine.state(DISK), bound(Some("nvme"), None));
    drop(lock);
    binder.bind(at(DISK), "vfio-pci", Force::No).unwrap();
}
