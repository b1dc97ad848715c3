//! An open VFIO device.

mod backend;
mod error;
mod feature;
mod handle;
mod info;
mod irq;
mod vf_token;

pub use backend::Backend;
pub use error::DeviceError;
pub use feature::{Feature, FeatureError, FeatureUse};
pub use handle::{Device, ResetOutcome};
pub use info::{DeviceFlags, DeviceInfo};
pub use irq::{IrqAction, IrqData, IrqFlags, IrqInfo, IrqRequest};
pub use vf_token::VfToken;

pub(crate) use handle::Shared;
