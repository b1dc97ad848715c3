//! Whole transfers: a device to bytes, and bytes to a device.

use std::io::{self, Read, Write};

use super::{DataStream, Migration, MigrationError, MigrationState, Whereabouts};

/// Bytes moved at a time. The kernel drivers copy them, so larger pieces gain little.
const PIECE: usize = 64 * 1024;

impl Migration {
    /// Saves the device: stops it, writes its data to `out`, and lets it run again, as it was before.
    /// `progress` is called with the bytes so far, after each piece. Returns the bytes in all.
    ///
    /// The device is back in `RUNNING` afterwards, also after an error or a panic of `out` or
    /// `progress`; if the kernel does not bring it back, the error says where it is. A device that
    /// fails on the way and goes to `ERROR` is reset, for nothing else leads out.
    ///
    /// # Errors
    /// [`MigrationError::NotRunning`] when the device is not in `RUNNING`, and then nothing was done;
    /// [`MigrationError::Step`], [`MigrationError::NoData`], [`MigrationError::ReadDevice`] and
    /// [`MigrationError::BrokenOff`] when the kernel fails; [`MigrationError::Store`] when `out` fails.
    pub fn save(
        &self,
        out: &mut impl Write,
        progress: impl FnMut(u64),
    ) -> Result<u64, MigrationError> {
        self.check_running()?;
        let transfer = Transfer { migration: self };
        let mut data = transfer.begin(MigrationState::STOP_COPY)?;
        let copied = transfer.copy_on(&mut data, out, 0, progress)?;
        transfer.finish(out)?;
        Ok(copied)
    }

    /// Restores the device: stops it, gives it all data of `from`, and lets it run with the state
    /// that it had when it was saved. `progress` is called with the bytes so far, after each piece.
    /// Returns the bytes in all.
    ///
    /// If it fails, the data is given up, which the kernel does by a reset of the device, and the
    /// device is back in `RUNNING`. A kernel driver loads the data at its end, so until then the
    /// device has its old state, as far as the reset keeps it. Check what is checkable (length,
    /// checksum, type of device) before.
    ///
    /// # Errors
    /// [`MigrationError::NotRunning`] when the device is not in `RUNNING`, and then nothing was done;
    /// [`MigrationError::Fetch`] when `from` fails; [`MigrationError::Refused`] when the device does
    /// not take the data; [`MigrationError::Step`], [`MigrationError::NoData`] and
    /// [`MigrationError::BrokenOff`] when the kernel fails.
    pub fn restore(
        &self,
        from: &mut impl Read,
        progress: impl FnMut(u64),
    ) -> Result<u64, MigrationError> {
        self.check_running()?;
        let transfer = Transfer { migration: self };
        let mut data = transfer.begin(MigrationState::RESUMING)?;
        let copied = copy(from, &mut data, progress).map_err(|failed| {
            let now = transfer.end();
            let device = self.name();
            match failed {
                Failed::Read(source) => MigrationError::Fetch { device, now, source },
                Failed::Write(source) => MigrationError::Refused { device, now, source },
            }
        })?;
        transfer.leave()?;
        Ok(copied)
    }

    pub(super) fn check_running(&self) -> Result<(), MigrationError> {
        match self.state()? {
            MigrationState::RUNNING => Ok(()),
            state => Err(MigrationError::NotRunning { device: self.name(), state }),
        }
    }
}

/// A transfer that runs. However it ends, the device does not stay in it.
pub(super) struct Transfer<'a> {
    pub(super) migration: &'a Migration,
}

impl Transfer<'_> {
    pub(super) fn begin(&self, state: MigrationState) -> Result<DataStream, MigrationError> {
        let began = self.migration.go_to(state);
        let stream = began.map_err(|error| self.end_after(error))?;
        stream.ok_or_else(|| {
            let now = self.end();
            MigrationError::NoData { device: self.migration.name(), state, now }
        })
    }

    /// Copies what the device gives, after `so_far` bytes. Returns the bytes so far.
    pub(super) fn copy_on(
        &self,
        data: &mut impl Read,
        out: &mut impl Write,
        so_far: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, MigrationError> {
        let copied = copy(data, out, |copied| progress(so_far.saturating_add(copied)));
        let copied = copied.map_err(|failed| self.save_failed(failed))?;
        Ok(so_far.saturating_add(copied))
    }

    /// Ends a save as it should, when all of it is stored.
    pub(super) fn finish(&self, out: &mut impl Write) -> Result<(), MigrationError> {
        out.flush().map_err(|error| self.save_failed(Failed::Write(error)))?;
        self.leave()
    }

    fn save_failed(&self, failed: Failed) -> MigrationError {
        let now = self.end();
        let device = self.migration.name();
        match failed {
            Failed::Read(source) => MigrationError::ReadDevice { device, now, source },
            Failed::Write(source) => MigrationError::Store { device, now, source },
        }
    }

    /// Ends the transfer as it should; the data of a restored device is loaded here.
    fn leave(&self) -> Result<(), MigrationError> {
        let Err(error) = self.migration.go_to(MigrationState::RUNNING) else { return Ok(()) };
        let loads = matches!(
            error,
            MigrationError::Step { from: MigrationState::RESUMING, now, .. }
                if now != Whereabouts::In(MigrationState::STOP)
        );
        Err(match self.end_after(error) {
            MigrationError::Step { device, now, source, .. } if loads => {
                MigrationError::Refused { device, now, source }
            }
            error => error,
        })
    }

    /// Breaks the transfer off, if it still runs.
    fn end(&self) -> Whereabouts {
        // A failure shows in where the device is.
        let recovered = self.migration.recover();
        if let Err(error) = recovered {
            tracing::warn!(device = %self.migration.device().name(), %error, "not brought back");
        }
        self.migration.whereabouts()
    }

    /// Breaks the transfer off, and puts into the error where the device is after that.
    pub(super) fn end_after(&self, error: MigrationError) -> MigrationError {
        let now = self.end();
        match error {
            MigrationError::Step { device, from, to, source, .. } => {
                MigrationError::Step { device, from, to, now, source }
            }
            MigrationError::PreCopy { device, source, .. } => {
                MigrationError::PreCopy { device, now, source }
            }
            MigrationError::Feature(source) => {
                MigrationError::BrokenOff { device: self.migration.name(), now, source }
            }
            other => other,
        }
    }
}

impl Drop for Transfer<'_> {
    /// For a panic of the caller's code; otherwise the transfer has ended.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end();
        }
    }
}

/// Which side of a copy failed.
enum Failed {
    Read(io::Error),
    Write(io::Error),
}

fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    mut progress: impl FnMut(u64),
) -> Result<u64, Failed> {
    let mut buffer = vec![0; PIECE];
    let mut copied: u64 = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failed::Read(error)),
        };
        to.write_all(buffer.get(..length).unwrap_or_default()).map_err(Failed::Write)?;
        copied = copied.saturating_add(length as u64);
        progress(copied);
    }
}
