//! Migration when something fails: the device is back in use, or the error says where it is.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use vfio_common::device::{Device, DeviceFlags, DeviceInfo, Feature};
use vfio_common::migration::{
    Migration, MigrationError, MigrationFlags, MigrationState, PreCopyInfo, Whereabouts,
};
use vfio_sim::mdevtest::Platform;
use vfio_sim::model::{Board, Layout, Model, RegionModel};
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

#[test]
fn whichever_call_fails_with_pre_copy_the_source_runs_on() {
    let (device, migration, faults) = card();
    device.region(0).unwrap().write8(7, 0x5a).unwrap();
    let before = faults.calls();
    let mut good = Vec::new();
    let saved = migration.save_with_pre_copy(&mut good, 0, |_| ()).unwrap();
    assert_eq!((saved.bytes, saved.while_running), (96, 24));
    let calls = faults.calls() - before;
    assert_eq!(calls, 9, "as without; and to PRE_COPY: where it is, the step; twice what is left");
    for n in 1..=calls {
        faults.fail_call(n, EIO);
        let error = migration.save_with_pre_copy(&mut Vec::new(), 0, |_| ()).unwrap_err();
        let text = error.to_string();
        assert!(n == 1 || text.contains("the device is back in RUNNING"), "{n}: {text}");
        assert!(text.contains("card"), "{n}: {text}");
        let about_what_is_left = matches!(error, MigrationError::PreCopy { now: BACK, .. });
        assert_eq!(about_what_is_left, n == 4 || n == 5, "{n}: {text}");
        assert_eq!(migration.state().unwrap(), MigrationState::RUNNING, "{n}");
        assert_eq!(scratch(&device), 0x5a);
    }
    let mut again = Vec::new();
    migration.save_with_pre_copy(&mut again, 0, |_| ()).unwrap();
    assert_eq!(again, good);
}

#[test]
fn a_writer_that_fails_or_a_panic_ends_a_save_with_pre_copy() {
    let (_device, migration, _) = card();
    for left in [0, 1, 24, 95] {
        let error = migration.save_with_pre_copy(&mut Broken { left }, 0, |_| ()).unwrap_err();
        assert!(matches!(error, MigrationError::Store { now: BACK, .. }), "{left}: {error:?}");
    }
    for at in [24, 96] {
        let progress = |bytes| assert_ne!(bytes, at, "progress failed");
        let save = || migration.save_with_pre_copy(&mut Vec::new(), 0, progress);
        assert!(catch_unwind(AssertUnwindSafe(save)).is_err());
        assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
    }
}

/// A device that changes while it is copied: at each question it has so much more.
#[derive(Debug)]
struct Busy {
    flags: MigrationFlags,
    state: u32,
    /// What it answers, the next one last, and whether it gives as much.
    answers: Vec<[u64; 2]>,
    gives: bool,
    data: File,
}

impl Busy {
    fn device(flags: MigrationFlags, answers: &[[u64; 2]], gives: bool) -> Device {
        let data = File::from(memfd_create("busy", MemfdFlags::CLOEXEC).unwrap());
        let answers = answers.iter().rev().copied().collect();
        let busy = Self { flags, state: MigrationState::RUNNING.0, answers, gives, data };
        Device::new("busy", Arc::new(SoftDevice::new(busy).unwrap())).unwrap()
    }

    fn append(&self, bytes: u64) -> io::Result<()> {
        self.data.set_len(self.data.metadata()?.len() + bytes)
    }
}

impl Model for Busy {
    fn layout(&self) -> Layout {
        Layout::packed([RegionModel::registers(0, 8)])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PLATFORM, 1, 0))
    }

    fn feature(&mut self, _: &Board, flags: u32, data: &mut [u8]) -> io::Result<()> {
        let answer = match Feature(u16::try_from(flags & 0xffff).unwrap()) {
            Feature::MIGRATION => self.flags.bits(),
            Feature::MIG_DEVICE_STATE => self.state.into(),
            _ => return Err(Errno::NOTTY.into()),
        };
        data.copy_from_slice(&answer.to_ne_bytes());
        Ok(())
    }

    fn set_migration_state(&mut self, _: &Board, state: u32) -> io::Result<Option<OwnedFd>> {
        let before = MigrationState(std::mem::replace(&mut self.state, state));
        match MigrationState(state) {
            MigrationState::PRE_COPY => Ok(Some(self.data.try_clone()?.into())),
            MigrationState::STOP_COPY => {
                self.append(7)?;
                // The data that was given in `PRE_COPY` goes on.
                let is_new = before == MigrationState::RUNNING;
                is_new.then(|| Ok(self.data.try_clone()?.into())).transpose()
            }
            _ => Ok(None),
        }
    }

    fn precopy_info(&mut self, _: &Board, _: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
        let last = [0, 100];
        let [initial_bytes, dirty_bytes] = self.answers.pop().unwrap_or(last);
        if self.gives {
            self.append(initial_bytes + dirty_bytes)?;
        }
        Ok(PreCopyInfo { initial_bytes, dirty_bytes })
    }
}

#[test]
fn a_device_is_stopped_when_little_is_left_or_when_it_changes_as_fast_as_it_is_copied() {
    let all = MigrationFlags::STOP_COPY | MigrationFlags::PRE_COPY;
    let stop_only = MigrationFlags::STOP_COPY;
    for (flags, answers, gives, rest, while_running, bytes) in [
        // It becomes less, until little enough is left. What was announced last comes afterwards.
        (all, &[[200_000, 0], [100, 50], [0, 20]][..], true, 25, 200_150, 200_177),
        // Of what it had at first, nothing may be left.
        (all, &[[60, 0], [10, 0], [0, 0]], true, 1000, 70, 77),
        // As much as before.
        (all, &[[0, 100], [0, 100]], true, 0, 100, 207),
        (all, &[[0, 100], [0, 101]], true, 0, 100, 208),
        // It announces what it does not give.
        (all, &[[u64::MAX, u64::MAX], [u64::MAX, 1]], false, 0, 0, 7),
        (all, &[[0, 0]], true, 0, 0, 7),
        (stop_only, &[], true, 0, 0, 7),
    ] {
        let device = Busy::device(flags, answers, gives);
        let migration = device.migration().unwrap().unwrap();
        let mut data = Vec::new();
        let saved = migration.save_with_pre_copy(&mut data, rest, |_| ()).unwrap();
        assert_eq!((saved.while_running, saved.bytes), (while_running, bytes), "{answers:?}");
        assert_eq!(data.len() as u64, bytes);
        assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
    }
}

#[test]
fn a_device_that_fails_while_it_is_brought_back_is_reset() {
    let refused = |migration: &Migration| {
        let error = migration.save(&mut Broken { left: 0 }, |_| ()).unwrap_err();
        assert!(matches!(error, MigrationError::Store { now: BACK, .. }), "{error}");
        assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
    };
    let device =
        Device::new("frail", Arc::new(SoftDevice::new(Frail::default()).unwrap())).unwrap();
    let migration = device.migration().unwrap().unwrap();
    refused(&migration);
    // A program that was stopped left it in the middle.
    migration.go_to(MigrationState::STOP_COPY).unwrap();
    assert_eq!(migration.recover().unwrap(), MigrationState::STOP_COPY);
    assert_eq!(migration.state().unwrap(), MigrationState::RUNNING);
}

/// A device that no arc brings back: it fails, and only a reset helps.
#[derive(Debug)]
struct Frail {
    state: MigrationState,
}

impl Default for Frail {
    fn default() -> Self {
        Self { state: MigrationState::RUNNING }
    }
}

impl Model for Frail {
    fn layout(&self) -> Layout {
        Layout::packed([RegionModel::registers(0, 8)])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PLATFORM, 1, 0))
    }

    fn feature(&mut self, _: &Board, flags: u32, data: &mut [u8]) -> io::Result<()> {
        let answer = match Feature(u16::try_from(flags & 0xffff).unwrap()) {
            Feature::MIGRATION => MigrationFlags::STOP_COPY.bits(),
            Feature::MIG_DEVICE_STATE => self.state.0.into(),
            _ => return Err(Errno::NOTTY.into()),
        };
        data.copy_from_slice(&answer.to_ne_bytes());
        Ok(())
    }

    fn set_migration_state(&mut self, _: &Board, state: u32) -> io::Result<Option<OwnedFd>> {
        if MigrationState(state) == MigrationState::RUNNING {
            self.state = MigrationState::ERROR;
            return Err(Errno::IO.into());
        }
        self.state = MigrationState(state);
        let data = File::from(memfd_create("frail", MemfdFlags::CLOEXEC)?);
        data.set_len(1)?;
        Ok(Some(data.into()))
    }

    fn reset(&mut self, _: &Board) -> io::Result<()> {
        self.state = MigrationState::RUNNING;
        Ok(())
    }
}
