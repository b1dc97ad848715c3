//! Transfers that begin while the device runs.

use std::io::{Read as _, Write};
use std::os::fd::AsFd as _;

use super::transfer::Transfer;
use super::{DataStream, Migration, MigrationError, MigrationFlags, MigrationState};

/// What is left to read of a device that runs, in bytes: `struct vfio_precopy_info`
/// (`include/uapi/linux/vfio.h`). It is an estimate, and says nothing of what comes in `STOP_COPY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PreCopyInfo {
    /// Of what there was at first. To stop the device before this is 0 may take longer than without
    /// `PRE_COPY`.
    pub initial_bytes: u64,
    /// Of what changed since it was read.
    pub dirty_bytes: u64,
}

/// What a transfer moved, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Saved {
    /// In all.
    pub bytes: u64,
    /// Of these, while the device still ran.
    pub while_running: u64,
}

impl Migration {
    /// What is left to read of a device in `PRE_COPY` or `PRE_COPY_P2P`, of the data that
    /// [`Migration::go_to`] gave (`VFIO_MIG_GET_PRECOPY_INFO`, Linux 6.2).
    ///
    /// # Errors
    /// [`MigrationError::PreCopy`] when the kernel cannot tell, as in any other state.
    pub fn pre_copy_info(&self, data: &DataStream) -> Result<PreCopyInfo, MigrationError> {
        let info = self.device().shared().backend.precopy_info(data.as_fd());
        info.map_err(|source| {
            let (device, now) = (self.name(), self.whereabouts());
            MigrationError::PreCopy { device, now, source }
        })
    }

    /// Saves the device as [`Migration::save`], and stops it for a shorter time: what the device gives
    /// while it runs is copied first, until no more than `rest` bytes are left, or no fewer than before,
    /// because the device changes as fast as it is copied. A device without `PRE_COPY` is stopped at
    /// once.
    ///
    /// The data is the same in kind, and [`Migration::restore`] takes it.
    ///
    /// ```
    /// # use vfio_common::route::{Opener as _, Target};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let machine = vfio_sim::Machine::demo()?;
    /// # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
    /// # let sysfs = format!("bus/mdev/devices/{name}").into();
    /// # let device = machine.opener().open(&Target { name, sysfs })?;
    /// let migration = device.migration()?.ok_or("the device cannot be migrated")?;
    /// let mut data = Vec::new();
    /// let saved = migration.save_with_pre_copy(&mut data, 4096, |_| ())?;
    /// assert_eq!(saved.bytes, data.len() as u64);
    /// println!("{} bytes while the device ran", saved.while_running);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Migration::save`], and [`MigrationError::PreCopy`] when the kernel cannot tell how much is
    /// left.
    pub fn save_with_pre_copy(
        &self,
        out: &mut impl Write,
        rest: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<Saved, MigrationError> {
        if !self.flags().contains(MigrationFlags::PRE_COPY) {
            return self.save(out, progress).map(|bytes| Saved { bytes, while_running: 0 });
        }
        self.check_running()?;
        let transfer = Transfer { migration: self };
        let mut data = transfer.begin(MigrationState::PRE_COPY)?;
        let mut so_far = 0;
        let mut before = None;
        loop {
            let info = self.pre_copy_info(&data).map_err(|error| transfer.end_after(error))?;
            let left = info.initial_bytes.saturating_add(info.dirty_bytes);
            let is_small = info.initial_bytes == 0 && left <= rest;
            if is_small || before.is_some_and(|before| left >= before) {
                break;
            }
            before = Some(left);
            // No more than was announced: a busy device would never come to an end.
            let mut round = (&mut data).take(left);
            so_far = transfer.copy_on(&mut round, out, so_far, &mut progress)?;
        }
        let while_running = so_far;
        // The data that is open goes on.
        let stopped = self.go_to(MigrationState::STOP_COPY);
        stopped.map_err(|error| transfer.end_after(error))?;
        let bytes = transfer.copy_on(&mut data, out, so_far, progress)?;
        transfer.finish(out)?;
        tracing::debug!(device = %self.device().name(), bytes, while_running, "saved");
        Ok(Saved { bytes, while_running })
    }
}
