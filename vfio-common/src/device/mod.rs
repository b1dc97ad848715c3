//! An open VFIO device: the way to all that it has.
//!
//! A [`Device`] comes from an [`Opener`](crate::route::Opener). Its methods are documented here and in the
//! modules that they lead to: [`region`](crate::region), [`irq`](crate::irq), [`iommu`](crate::iommu),
//! [`pci_config`](crate::pci_config) and [`migration`](crate::migration). What is only here:
//!
//! | for | |
//! |---|---|
//! | what it is | [`Device::info`] |
//! | reset | [`Device::reset`]; of its bus or slot, with all that is there: [`Device::hot_reset`] |
//! | features (`VFIO_DEVICE_FEATURE`) | [`Device::has_feature`] asks for any |
//! | the memory that it writes | [`Device::log_dma`] |
//! | low power | [`Device::enter_low_power`], [`Device::enter_low_power_with_wake_up`] |
//! | the secret of virtual functions | [`Device::set_vf_token`] |
//! | writes that an eventfd sets off | [`Device::write_on_event`] |
//! | DMA of a device on AMD's CDX bus | [`Device::set_bus_master`] |
//! | calls that this crate does not know | [`Device::descriptor`] |
//!
//! What stands behind it is a [`Backend`]: the kernel, or software. `vfio-sim` makes devices of the second
//! kind, on which the examples here run.
//!
//! ```
//! use vfio_common::device::{DeviceFlags, Feature, FeatureUse, ResetOutcome};
//! # use vfio_common::route::{Opener as _, Target};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
//! # let sysfs = format!("bus/mdev/devices/{name}").into();
//! # let device = machine.opener().open(&Target { name, sysfs })?;
//! assert!(device.info().flags.contains(DeviceFlags::PCI));
//! if device.reset()? == ResetOutcome::Unsupported {
//!     println!("{} has no reset of its own", device.name());
//! }
//! if let Some(info) = device.hot_reset_info()? {
//!     println!("{} devices share its bus or slot", info.devices.len());
//! }
//! if device.has_feature(Feature::LOW_POWER_ENTRY, FeatureUse::Set)? {
//!     device.enter_low_power()?;
//! }
//! # Ok(()) }
//! ```
//!
//! Source: `include/uapi/linux/vfio.h`, and for PCI devices `drivers/vfio/pci/vfio_pci_core.c`.

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
