//! Migration: a device's inner state, saved and restored to another device of the same type.
//!
//! A device that migrates has a state machine (`enum vfio_device_mig_state` in
//! `include/uapi/linux/vfio.h`), which [`Migration`] walks. [`Migration::save`] and
//! [`Migration::restore`] do the usual walks from end to end:
//!
//! ```text
//! save      RUNNING -> STOP_COPY  read the data  -> RUNNING
//! restore   RUNNING -> RESUMING   write the data -> RUNNING
//! ```
//!
//! [`Migration::save_with_pre_copy`] reads what it can in `PRE_COPY`, where the device still runs.
//!
//! ```
//! # use vfio_common::route::{Opener as _, Target};
//! # use vfio_common::device::Device;
//! # let machine = vfio_sim::Machine::new()?;
//! # let open = |end: &str| -> Result<Device, Box<dyn std::error::Error>> {
//! #     let name = format!("83b8f4f2-509f-382f-3c1e-e6bfe0fa200{end}");
//! #     machine.create(&name, "mtty", "mtty-2")?;
//! #     let sysfs = format!("bus/mdev/devices/{name}").into();
//! #     Ok(machine.opener().open(&Target { name, sysfs })?)
//! # };
//! # let (source, target) = (open("1")?, open("2")?);
//! source.region(0)?.write8(7, 0x5a)?;
//!
//! let mut data = Vec::new();
//! let migration = source.migration()?.ok_or("the source cannot be migrated")?;
//! migration.save(&mut data, |_| ())?;
//!
//! let migration = target.migration()?.ok_or("the target cannot be migrated")?;
//! migration.restore(&mut data.as_slice(), |_| ())?;
//! assert_eq!(target.region(0)?.read8(7)?, 0x5a);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is moved
//!
//! What the kernel driver calls the device's state. Interrupts that were set up, mappings, and memory
//! that the device writes by DMA are the program's to carry over. The data has no length and no
//! checksum of its own; whoever stores it adds them.
//!
//! # What stays where it was
//!
//! A device keeps its migration state when it is closed, also by the end of a process. A device that
//! was left in the middle is refused, until [`Migration::recover`] has brought it back.

mod error;
mod machine;
mod pre_copy;
mod state;
mod stream;
mod transfer;

pub use error::{MigrationError, Whereabouts};
pub use machine::Migration;
pub use pre_copy::{PreCopyInfo, Saved};
pub use state::{MigrationFlags, MigrationState};
pub use stream::DataStream;
