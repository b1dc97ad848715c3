//! PCI functions in software: configuration space for any model, and a function to begin with.

mod config;
mod test_device;

pub use self::config::ConfigSpace;
pub use self::test_device::TestDevice;
