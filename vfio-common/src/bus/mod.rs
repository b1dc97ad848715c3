//! The bus engine: what any bus of VFIO devices needs to find devices, match them to drivers, and
//! bind them. A bus crate brings a [`BusType`]: how its addresses look, what its sysfs entries say,
//! and how its ids match.
//!
//! A device goes one way, and a later stage never reaches back:
//!
//! ```text
//! scan      sysfs entry -> identity, no descriptor          Bus::scan, Bus::plug
//! match     identity -> candidate drivers                   no open needed
//! open      candidate -> Device                             Bus::open, Bus::probe
//! ask       PCI ids from configuration space                only if a candidate wants them
//! enable    what the bus has to do before a driver          undone after the driver
//! probe     most specific candidate first -> bound
//! unbind    Bus::unbind, a scan that misses the device, or the drop of the bus
//! ```
//!
//! Each stage can fail for one device and the others go on; the caller gets a report with one row a
//! device. The bus owns what is bound. An application reaches its driver through a [`DriverRef`],
//! which finds nothing once the device is unbound.

mod bind;
mod bound;
mod bus_type;
mod driver;
mod engine;
mod error;
mod registration;
mod registry;
mod report;
mod scan;

pub use bound::DriverRef;
pub use bus_type::{BusType, DeviceIds, EnableError, Fault, Match, Specificity};
pub use driver::{ProbeDevice, ProbeError, SelfTest, SelfTestError, UnbindReason};
pub use engine::{Builder, Bus};
pub use error::{BindError, PlugError, Unusable};
pub use registration::{Registers, Registration};
pub use registry::{Registry, RegistryError};
pub use report::{Outcome, ProbeReport, ProbeRow, SkipReason};
pub use scan::ScanReport;
