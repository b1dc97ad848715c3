//! An open VFIO device.

mod backend;
mod dma_log;
mod error;
mod event_write;
mod feature;
mod handle;
mod hot_reset;
mod info;
mod irq;
mod low_power;
mod vf_token;

pub use backend::{Backend, OpenGroup};
pub use dma_log::{DirtyPages, DmaLog, DmaLogError};
pub use error::DeviceError;
pub use event_write::{EventWrite, EventWriteError, EventWriteRequest};
pub use feature::{Feature, FeatureError, FeatureUse};
pub use handle::{Device, ResetOutcome};
pub use hot_reset::{Affected, HotResetError, HotResetInfo, Ownership};
pub use info::{DeviceFlags, DeviceInfo, PciAtomics};
pub use irq::{IrqAction, IrqData, IrqFlags, IrqInfo, IrqRequest};
pub use low_power::{LowPowerError, WakeUp};
pub use vf_token::VfToken;

pub(crate) use handle::Shared;
