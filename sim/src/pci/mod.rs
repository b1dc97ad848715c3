//! PCI functions in software: configuration space for any model, and two of QEMU's functions.

mod config;
mod edu;
mod test_device;

pub use self::config::ConfigSpace;
pub use self::edu::Edu;
pub use self::test_device::TestDevice;
