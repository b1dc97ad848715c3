//! Kernel drivers that fail, by order: the parameters of mdevtest.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use vfio_common::device::ResetOutcome;
use vfio_common::route::{Opener as _, Target};

use crate::machine::{self, Created, complaint, type_dir};

/// `EIO`, `EPERM`, `EAGAIN`.
const OPEN_ERROR: &str = "5";
const MMAP_ERROR: &str = "1";
const RESET_ERROR: &str = "11";

/// A parameter that is set until it is dropped.
struct Fault {
    parameter: &'static str,
    off: &'static str,
}

impl Fault {
    fn new(parameter: &'static str, on: &str, off: &'static str) -> Self {
        let fault = Self { parameter, off };
        fault.set(on);
        fault
    }

    fn set(&self, value: &str) {
        fs::write(Path::new("/sys/module/mdevtest/parameters").join(self.parameter), value)
            .unwrap();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.set(self.off);
    }
}

#[test]
fn a_driver_that_fails_to_open_leads_to_the_kernel_log() {
    let device = Created::new("mdevtest", "mdevtest-sparse");
    let fault = Fault::new("open_error", OPEN_ERROR, "0");
    let error = complaint(&["show", &device.uuid]);
    for part in [&device.uuid, "its kernel driver failed", "dmesg", "Input/output error"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    drop(fault);
    assert_eq!(machine::run(&["show", &device.uuid]).status, 0);
}

#[test]
fn a_region_that_cannot_be_mapped_keeps_the_reason_and_is_accessed_all_the_same() {
    let created = Created::new("mdevtest", "mdevtest-sparse");
    let sysfs = Path::new("bus/mdev/devices").join(&created.uuid);
    let device = machine::vfio().open(&Target { name: created.uuid.clone(), sysfs }).unwrap();
    let fault = Fault::new("mmap_error", MMAP_ERROR, "0");
    let region = device.region(1).unwrap();
    drop(fault);
    assert_eq!(region.mapped().len(), 0);
    let [(area, reason)] = region.unmapped() else { panic!("{:?}", region.unmapped()) };
    assert_eq!((area.size, reason.raw_os_error()), (0x4000, Some(1)));
    region.write32(8, 0x1234_5678).unwrap();
    assert_eq!(region.read32(8).unwrap(), 0x1234_5678);
    let error = region.window(0..4).unwrap_err();
    assert!(error.to_string().contains("access them through the device descriptor"), "{error}");
    // Mapped anew when it is asked for anew.
    drop(region);
    assert_eq!(device.region(1).unwrap().mapped().len(), 1);
}

#[test]
fn a_device_that_is_kept_busy_is_not_reset_for_ever() {
    let created = Created::new("mdevtest", "mdevtest-sparse");
    let sysfs = Path::new("bus/mdev/devices").join(&created.uuid);
    let device = machine::vfio().open(&Target { name: created.uuid.clone(), sysfs }).unwrap();
    let fault = Fault::new("reset_error", RESET_ERROR, "0");
    let error = device.reset().unwrap_err();
    let sentence = format!(
        "cannot reset {}: another reset, or a change of its power state, keeps it busy; try again",
        created.uuid
    );
    assert_eq!(error.to_string(), sentence);
    // It ends while the library tries.
    let busy = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        drop(fault);
    });
    assert_eq!(device.reset().unwrap(), ResetOutcome::Done);
    busy.join().unwrap();
}

/// The kernel shows a device before its type. Here its driver takes its time in between.
#[test]
fn a_device_that_is_being_created_is_said_to_be_incomplete() {
    const UUID: &str = "6775e573-7400-4000-8000-00000000fa17";
    let create = type_dir("mdevtest", "mdevtest-sparse").join("create");
    let sysfs = Path::new("/sys/bus/mdev/devices").join(UUID);
    let hold = Fault::new("hold_create", "Y", "N");
    let created = thread::spawn(move || fs::write(create, UUID));
    let started = Instant::now();
    // It is registered just before it is held.
    while !sysfs.join("vfio-dev").exists() {
        assert!(started.elapsed() < Duration::from_secs(20), "the device does not appear");
        thread::sleep(Duration::from_millis(10));
    }
    let (listed, shown, diagnosed) =
        (machine::json(&["list"]), complaint(&["show", UUID]), machine::run(&["doctor", UUID]));
    drop(hold);
    created.join().unwrap().unwrap();
    let row = listed.as_array().unwrap().iter().find(|row| row["uuid"] == UUID).unwrap();
    assert_eq!(row["mdev_type"], json!(null));
    let sentence = format!(
        "{UUID} has no type: it is being created or removed, so wait a moment and try again"
    );
    assert_eq!(shown, sentence);
    assert_eq!(diagnosed.status, 1);
    for part in ["is not complete: it has no type", "wait a moment and try again"] {
        assert!(diagnosed.stdout.contains(part), "{part}: {}", diagnosed.stdout);
    }
    let complete = machine::run(&["show", UUID]);
    fs::write(sysfs.join("remove"), "1").unwrap();
    assert_eq!((complete.status, complete.stderr.as_str()), (0, ""));
}
