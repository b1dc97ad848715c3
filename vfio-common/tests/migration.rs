//! Migration when something fails: the device is back in use, or the error says where it is.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::error::Error as _;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use vfio_common::device::Device;
use vfio_common::migration::{Migration, MigrationError, MigrationState, Whereabouts};
use vfio_sim::mdevtest::Platform;
use vfio_sim::mtty::Mtty;
use vfio_sim::{Faults, Faulty, SoftDevice};

const EIO: i32 = 5;
const BACK: Whereabouts = Whereabouts::In(MigrationState::RUNNING);

fn card() -> (Device, Migration, Arc<Faults>) {
    let faults = Arc::new(Faults::new());
    let card = Arc::new(SoftDevice::new(Mtty::dual_port()).unwrap());
    let device = Device::new("card", Arc::new(Faulty::new(card, faults.clone()))).unwrap();
    let migration = device.migration().unwrap().unwrap();
    (device, migration, faults)
}

fn scratch(device: &Device) -> u8 {
    device.region(0).unwrap().read8(7).unwrap()
}

fn state_with_scratch(value: u8) -> Vec<u8> {
    let (device, migration, _) = card();
    device.region(0).unwrap().write8(7, value).unwrap();
    let mut data = Vec::new();
    migration.save(&mut data, |_| ()).unwrap();
    data
}

/// Fails after some bytes.
struct Broken {
    left: usize,
}

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("the disk is full"));
        }
        let length = bytes.len().min(self.left);
        self.left -= length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.write(buffer)?;
        buffer.iter_mut().take(length).for_each(|byte| *byte = 0x11);
        Ok(length)
    }
}

#[test]
fn whichever_call_fails_the_source_runs_on() {
    let (device, migration, faults) = card();
    device.region(0).unwrap().write8(7, 0x5a).unwrap();
    let before = faults.calls();
    migration.save(&mut Vec::new(), |_| ()).unwrap();
    let calls = faults.calls() - before;
    assert_eq!(calls, 5, "where it is, where it is, to STOP_COPY, where it is, to RUNNING");
    for n in 1..=calls {
        faults.fail_call(n, EIO);
        let error = migration.save(&mut Vec::new(), |_| ()).unwrap_err();
        let text = error.to_string();
        assert!(n == 1 || text.contains("the device is back in RUNNING"), "{n}: {text}");
        assert!(text.contains("card"), "{n}: {text}");
        let cause = error.source().map(|cause| cause.to_string()).unwrap_or_default();
        assert!(cause.contains("Input/output error") || cause.contains("card"), "{n}: {cause}");
        assert_eq!(migration.state().unwrap(), MigrationState::RUNNING, "{n}");
        assert_eq!(scratch(&device), 0x5a);
    }
    migration.save(&mut Vec::new(), |_| ()).unwrap();
}

#[test]
fn whichever_call_fails_the_target_runs_on_with_its_old_state() {
    let data = state_with_scratch(0x5a);
    let (device, migration, faults) = card();
    device.region(0).unwrap().write8(7, 0x33).unwrap();
    for n in 1..=5 {
        faults.fail_call(n, EIO);
        let error = migration.restore(&mut data.as_slice(), |_| ()).unwrap_err();
        assert!(n == 1 || error.to_string().contains("is back in RUNNING"), "{n}: {error}");
        assert_eq!(migration.state().unwrap(), MigrationState::RUNNING, "{n}");
        assert_eq!(scratch(&device), 0x33, "{n}");
    }
    migration.restore(&mut data.as_slice(), |_| ()).unwrap();
    assert_eq!(scratch(&device), 0x5a);
}

#[test]
fn a_writer_that_fails_ends_the_save() {
    let (_device, migration, _) = card();
    for left in [0, 1, 95] {
        let error = migration.save(&mut Broken { left }, |_| ()).unwrap_err();
        assert!(matches!(error, MigrationError::Store { now: BACK, .. }), "{error:?}");
        assert_eq!(error.source().unwrap().to_string(), "the disk is full");
    }
}

#[test]
fn a_reader_that_fails_ends_the_restore_and_loads_nothing() {
    let (device, migration, _) = card();
    device.region(0).unwrap().write8(7, 0x33).unwrap();
    for left in [0, 24, 96] {
        let error = migration.restore(&mut Broken { left }, |_| ()).unwrap_err();
        assert!(matches!(error, MigrationError::Fetch { now: BACK, .. }), "{error:?}");
        assert_eq!(scratch(&device), 0x33);
    }
}

#[test]
fn a_panic_in_the_middle_leaves_no_transfer_behind() {
    let data = state_with_scratch(0x5a);
    let (device, migration, _) = card();
    let save = || migration.save(&mut Vec::new(), |_| panic!("progress failed"));
    assert!(catch_unwind(AssertUnwindSafe(save)).is_err());
    assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
    let restore = || migration.restore(&mut data.as_slice(), |_| panic!("progress failed"));
    assert!(catch_unwind(AssertUnwindSafe(restore)).is_err());
    assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
    assert_eq!(scratch(&device), 0);
}

#[test]
fn a_failure_to_ask_is_none_of_no_migration() {
    let (device, _, faults) = card();
    faults.fail_call(1, EIO);
    let error = device.migration().unwrap_err();
    assert_eq!(error.to_string(), "cannot get the feature `migration` of card");
    let platform = Arc::new(SoftDevice::new(Platform::new()).unwrap());
    assert!(Device::new("soc", platform).unwrap().migration().unwrap().is_none());
}
