//! Low power of a real PCI device: what sends it there, and what wakes it up.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use vfio_common::device::{Device, Feature, FeatureError, FeatureUse, LowPowerError};

use crate::machine;
use crate::vfio_pci::Bound;

/// It has no power management capability.
const EDU: &str = "0000:00:04.0";
const NVME: &str = "0000:00:06.0";
/// Configuration space.
const CONFIG: u32 = 7;
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

/// What the kernel says of the device's power, when it has come to say so.
fn becomes(nvme: &Bound, status: &str) -> bool {
    let limit = Instant::now() + LONG;
    while machine::attribute(nvme.path("power/runtime_status")) != status {
        if Instant::now() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, LowPowerError>) -> bool {
    matches!(result, Err(LowPowerError::Feature(FeatureError::Failed { .. })))
}

fn revision(device: &Device) -> u8 {
    device.region(CONFIG).unwrap().read8(8).unwrap()
}

#[test]
fn low_power_is_probed() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    for feature in
        [Feature::LOW_POWER_ENTRY, Feature::LOW_POWER_ENTRY_WITH_WAKEUP, Feature::LOW_POWER_EXIT]
    {
        assert!(device.has_feature(feature, FeatureUse::Set).unwrap(), "{feature}");
        assert!(!device.has_feature(feature, FeatureUse::Get).unwrap(), "{feature}");
    }
}

#[test]
fn a_device_goes_to_low_power_wakes_for_a_call_and_goes_back() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    assert!(becomes(&nvme, "active"));
    device.enter_low_power().unwrap();
    assert!(becomes(&nvme, "suspended"));
    assert!(matches!(device.enter_low_power(), Err(FeatureError::Failed { .. })));
    assert!(is_refused(device.enter_low_power_with_wake_up()));
    let _ = revision(&device);
    assert!(becomes(&nvme, "suspended"), "after each call it goes back");
    device.exit_low_power().unwrap();
    assert!(becomes(&nvme, "active"));
    device.exit_low_power().unwrap();
    device.enter_low_power().unwrap();
    drop(device);
    assert!(becomes(&nvme, "suspended"), "as vfio-pci leaves a device that nobody has open");
}

#[test]
fn the_host_wakes_a_device_up_and_it_stays_awake() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    let wake_up = device.enter_low_power_with_wake_up().unwrap();
    assert!(becomes(&nvme, "suspended"));
    assert!(!wake_up.try_read().unwrap());
    // The host needs it.
    fs::write(nvme.path("power/control"), "on").unwrap();
    assert!(wake_up.wait(Some(LONG)).unwrap());
    assert!(!wake_up.try_read().unwrap(), "it is told once");
    fs::write(nvme.path("power/control"), "auto").unwrap();
    assert!(becomes(&nvme, "active"), "it does not go back by itself");
    let again = device.enter_low_power_with_wake_up().unwrap();
    assert!(becomes(&nvme, "suspended"));
    device.exit_low_power().unwrap();
    assert!(again.wait(Some(LONG)).unwrap(), "to end it is to wake it up");
    assert!(!wake_up.try_read().unwrap());
}

#[test]
fn a_call_of_the_program_wakes_it_up_too() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    let wake_up = device.enter_low_power_with_wake_up().unwrap();
    assert!(becomes(&nvme, "suspended"));
    device.irq_info(0).unwrap();
    assert!(wake_up.wait(Some(LONG)).unwrap());
    assert!(becomes(&nvme, "active"));
    drop(device);
    assert!(!wake_up.wait(Some(SHORT)).unwrap(), "it does not keep the device open");
}

#[test]
fn the_host_reads_configuration_space_without_waking_the_device_up() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    let wake_up = device.enter_low_power_with_wake_up().unwrap();
    assert!(becomes(&nvme, "suspended"));
    // It has a power management capability: it is in D3hot, where this can be read. Only D3cold is left
    // for it (`pci_config_pm_runtime_get`), which needs firmware that switches the power off.
    assert_eq!(machine::attribute(nvme.path("power_state")), "D3hot");
    assert_eq!(fs::read(nvme.path("config")).unwrap()[..2], [0x36, 0x1b]);
    assert!(!wake_up.wait(Some(SHORT)).unwrap());
    assert!(becomes(&nvme, "suspended"));
    device.exit_low_power().unwrap();
    assert!(wake_up.wait(Some(LONG)).unwrap());
}

#[test]
fn a_device_without_power_management_goes_to_low_power_in_name() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    let wake_up = device.enter_low_power_with_wake_up().unwrap();
    assert!(becomes(&edu, "suspended"));
    assert_eq!(machine::attribute(edu.path("power_state")), "D0");
    device.irq_info(0).unwrap();
    assert!(wake_up.wait(Some(LONG)).unwrap());
    assert!(becomes(&edu, "active"));
}
