//! Hot resets and low power on software devices: who must own what, and what fails on the way.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::error::Error as _;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use vfio_common::device::{
    Affected, Device, DeviceFlags, DeviceInfo, FeatureError, HotResetError, HotResetInfo,
    LowPowerError, Ownership, ResetOutcome,
};
use vfio_sim::model::{Board, Layout, Model, RegionModel};
use vfio_sim::mtty::Mtty;
use vfio_sim::{Faults, Faulty, SoftDevice};

const EIO: i32 = 5;

#[derive(Debug, Default)]
struct State {
    owners: Vec<Ownership>,
    /// What resets fail with, the next one last.
    failures: Vec<Errno>,
    resets: u32,
    wake_up: Option<OwnedFd>,
}

/// A PCI device that shares its bus with others.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Model for Shared {
    fn layout(&self) -> Layout {
        Layout::by_index([RegionModel::registers(0, 8)])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PCI, 9, 5))
    }

    fn hot_reset_info(&mut self) -> io::Result<HotResetInfo> {
        let affected = |(device, owner): (u8, &Ownership)| Affected {
            segment: 0,
            bus: 1,
            device,
            function: 0,
            owner: *owner,
        };
        let state = self.0.lock().unwrap();
        let devices = (1..).zip(&state.owners).map(affected).collect();
        Ok(HotResetInfo { devices, by_iommufd: true })
    }

    fn hot_reset(&mut self, _: &Board) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        match state.failures.pop() {
            Some(errno) => Err(errno.into()),
            None => {
                state.resets += 1;
                Ok(())
            }
        }
    }

    fn enter_low_power(&mut self, _: &Board, wake_up: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.wake_up.is_some() {
            return Err(Errno::INVAL.into());
        }
        state.wake_up = Some(wake_up.try_clone_to_owned()?);
        Ok(())
    }
}

fn device(owners: &[Ownership]) -> (Device, Shared, Arc<Faults>) {
    let (shared, faults) = (Shared::default(), Arc::new(Faults::new()));
    shared.0.lock().unwrap().owners = owners.to_vec();
    let soft = Arc::new(SoftDevice::new(shared.clone()).unwrap());
    let device = Device::new("shared", Arc::new(Faulty::new(soft, faults.clone()))).unwrap();
    (device, shared, faults)
}

#[test]
fn devices_that_are_not_owned_are_named_and_nothing_is_reset() {
    let owners =
        [Ownership::Iommufd(1), Ownership::NotOwned, Ownership::SameGroup, Ownership::Group(7)];
    let (device, shared, _) = device(&owners);
    let error = device.hot_reset(&[&device]).unwrap_err();
    let HotResetError::NotOwned { missing, .. } = &error else { panic!("{error:?}") };
    assert_eq!(missing.len(), 2);
    assert_eq!(
        error.to_string(),
        "a hot reset of shared would also reset 0000:01:02.0, 0000:01:04.0, not owned by this program: \
         bind them to vfio-pci, open them through the same `Vfio`, and pass them to the reset"
    );
    assert_eq!(shared.0.lock().unwrap().resets, 0);
    shared.0.lock().unwrap().owners.truncate(1);
    assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Done);
    assert_eq!(shared.0.lock().unwrap().resets, 1);
}

#[test]
fn a_reset_waits_for_a_device_that_is_locked_but_not_for_ever() {
    let (device, shared, _) = device(&[Ownership::Iommufd(1)]);
    shared.0.lock().unwrap().failures = vec![Errno::AGAIN, Errno::BUSY];
    assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Done);
    shared.0.lock().unwrap().failures = vec![Errno::BUSY; 100];
    let error = device.hot_reset(&[]).unwrap_err();
    assert!(error.to_string().contains("is in use at this moment"), "{error}");
    shared.0.lock().unwrap().failures = vec![Errno::INVAL];
    let error = device.hot_reset(&[]).unwrap_err();
    assert!(error.to_string().contains("0000:01:01.0: one of them is not bound"), "{error}");
}

#[test]
fn whichever_call_of_a_hot_reset_fails_the_error_names_the_step() {
    let (device, shared, faults) = device(&[Ownership::Iommufd(1)]);
    for (n, says) in [
        (1, "cannot read which devices a hot reset of shared would reset"),
        (2, "cannot hot reset shared with 0000:01:01.0"),
    ] {
        faults.fail_call(n, EIO);
        let error = device.hot_reset(&[]).unwrap_err();
        assert_eq!(error.to_string(), says);
        assert!(error.source().unwrap().to_string().contains("Input/output error"));
        assert_eq!(shared.0.lock().unwrap().resets, 0);
    }
    faults.fail_call(3, EIO);
    assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Done);
    for errno in [Errno::NODEV, Errno::NOTTY] {
        faults.fail_call(1, errno.raw_os_error());
        assert_eq!(device.hot_reset(&[]).unwrap(), ResetOutcome::Unsupported);
    }
}

#[test]
fn a_wake_up_is_told_once() {
    let (device, shared, faults) = device(&[]);
    faults.fail_call(1, EIO);
    let error = device.enter_low_power_with_wake_up().unwrap_err();
    assert_eq!(error.to_string(), "cannot set the feature `low power with wake-up` of shared");
    assert!(shared.0.lock().unwrap().wake_up.is_none());

    let wake_up = device.enter_low_power_with_wake_up().unwrap();
    let refused = device.enter_low_power_with_wake_up().unwrap_err();
    assert!(matches!(refused, LowPowerError::Feature(FeatureError::Failed { .. })), "{refused}");
    assert!(!wake_up.wait(Some(Duration::ZERO)).unwrap());
    let eventfd = shared.0.lock().unwrap().wake_up.take().unwrap();
    rustix::io::write(eventfd, &1u64.to_ne_bytes()).unwrap();
    drop(device);
    assert!(wake_up.wait(None).unwrap());
    assert!(!wake_up.try_read().unwrap());

    let card = Arc::new(SoftDevice::new(Mtty::single_port()).unwrap());
    let error = Device::new("card", card).unwrap().enter_low_power_with_wake_up().unwrap_err();
    assert!(matches!(error, LowPowerError::Feature(FeatureError::Unsupported { .. })), "{error}");
}
