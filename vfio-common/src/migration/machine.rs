//! The state machine of a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{DataStream, MigrationError, MigrationFlags, MigrationState, Whereabouts};
use crate::device::{Device, Feature, FeatureError, ResetOutcome};

/// The migration of one device: its walk through `enum vfio_device_mig_state`. Clones are handles to the
/// same one.
///
/// The kernel serialises what is asked of one device; a transfer is one program's business, and two
/// at a time disturb each other.
#[derive(Debug, Clone)]
pub struct Migration {
    device: Device,
    flags: MigrationFlags,
    /// Whether this handle, or a clone, brought the device to `RESUMING`.
    resuming: Arc<AtomicBool>,
}

impl Device {
    /// How the device migrates; `None` when it cannot (`VFIO_DEVICE_FEATURE_MIGRATION`, Linux 5.18).
    ///
    /// # Errors
    /// [`MigrationError::Feature`] when the device can and does not tell how.
    pub fn migration(&self) -> Result<Option<Migration>, MigrationError> {
        let Some(bits) = read_u64(self, Feature::MIGRATION)? else { return Ok(None) };
        let flags = MigrationFlags::from_bits_retain(bits);
        Ok(Some(Migration { device: self.clone(), flags, resuming: Arc::default() }))
    }
}

impl Migration {
    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How it migrates.
    #[must_use]
    pub fn flags(&self) -> MigrationFlags {
        self.flags
    }

    /// Where the device is: `VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE`.
    ///
    /// # Errors
    /// [`MigrationError::Feature`] when it cannot be asked.
    pub fn state(&self) -> Result<MigrationState, MigrationError> {
        // device_state, data_fd.
        let mut data = [0; 8];
        self.device.get_feature(Feature::MIG_DEVICE_STATE, &mut data)?;
        let [state, ..] = data.as_chunks::<4>().0 else { return Ok(MigrationState::ERROR) };
        Ok(MigrationState(u32::from_ne_bytes(*state)))
    }

    /// About how many bytes a transfer that starts now has in `STOP_COPY`; the truth may be more or
    /// less. `None` on kernels that cannot tell (`VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`, Linux 6.2).
    ///
    /// # Errors
    /// [`MigrationError::Feature`] when the kernel can tell and fails.
    pub fn data_size(&self) -> Result<Option<u64>, MigrationError> {
        Ok(read_u64(&self.device, Feature::MIG_DATA_SIZE)?)
    }

    /// Brings the device to a state, by the arcs that the kernel has from where it is. Where a
    /// transfer starts, its data comes back: on the way into `STOP_COPY`, `PRE_COPY`, `PRE_COPY_P2P`
    /// and `RESUMING`. From `PRE_COPY` to `STOP_COPY` the data that is already there goes on. Other
    /// states end the transfer: leaving `RESUMING` loads the data.
    ///
    /// To break off in `RESUMING`, use [`Migration::recover`]. Data that is not complete must not be
    /// loaded, and a kernel driver may load what it refused: `mtty` of Linux 6.12 does after a write
    /// that failed with `EFAULT`.
    ///
    /// # Errors
    /// [`MigrationError::Step`] when the kernel refuses; it may have gone a part of the way, and the
    /// error says where the device is. [`MigrationError::Abandoned`] when the device is in `RESUMING`
    /// and neither this handle nor a clone of it brought it there.
    pub fn go_to(&self, to: MigrationState) -> Result<Option<DataStream>, MigrationError> {
        let from = self.state()?;
        if from == MigrationState::RESUMING && !self.resuming.load(Ordering::Relaxed) {
            return Err(MigrationError::Abandoned { device: self.name() });
        }
        let stream = self.device.shared().backend.set_migration_state(to.0).map_err(|source| {
            let now = self.whereabouts();
            MigrationError::Step { device: self.name(), from, to, now, source }
        })?;
        self.resuming.store(to == MigrationState::RESUMING, Ordering::Relaxed);
        tracing::debug!(device = %self.device.name(), %from, %to, "migration state");
        Ok(stream.map(DataStream::new))
    }

    /// Brings the device back to `RUNNING` from wherever it is, and says where it was. A transfer
    /// that runs is broken off. From `RESUMING` and `ERROR` only a reset leads back, as the kernel
    /// has it: the device may lose its state.
    ///
    /// # Errors
    /// [`MigrationError::Step`] when the kernel refuses; [`MigrationError::NoReset`] and
    /// [`MigrationError::Reset`] when it needs a reset and has none, or it failed.
    pub fn recover(&self) -> Result<MigrationState, MigrationError> {
        let state = self.state()?;
        match state {
            MigrationState::RUNNING => {}
            MigrationState::RESUMING | MigrationState::ERROR => self.reset(state)?,
            _ => match self.go_to(MigrationState::RUNNING) {
                // It failed on the way.
                Err(MigrationError::Step {
                    now: Whereabouts::In(MigrationState::ERROR), ..
                }) => {
                    self.reset(MigrationState::ERROR)?;
                }
                result => drop(result?),
            },
        }
        Ok(state)
    }

    fn reset(&self, state: MigrationState) -> Result<(), MigrationError> {
        match self.device.reset()? {
            ResetOutcome::Done => {
                self.resuming.store(false, Ordering::Relaxed);
                tracing::debug!(device = %self.device.name(), from = %state, "reset");
                Ok(())
            }
            ResetOutcome::Unsupported => {
                Err(MigrationError::NoReset { device: self.name(), state })
            }
        }
    }

    /// Where the device is, for an error.
    pub(super) fn whereabouts(&self) -> Whereabouts {
        self.state().map_or(Whereabouts::Unknown, Whereabouts::In)
    }

    pub(super) fn name(&self) -> Arc<str> {
        self.device.shared().name.clone()
    }
}

/// A feature that is one number; `None` when the device does not have it.
fn read_u64(device: &Device, feature: Feature) -> Result<Option<u64>, FeatureError> {
    let mut data = [0; 8];
    match device.get_feature(feature, &mut data) {
        Ok(()) => Ok(Some(u64::from_ne_bytes(data))),
        Err(FeatureError::Unsupported { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
