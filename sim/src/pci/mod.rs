//! PCI functions in software: configuration space for any model, and three of QEMU's functions.

mod config;
mod edu;
mod ivshmem;
mod test_device;

pub use self::config::ConfigSpace;
pub use self::edu::Edu;
pub use self::ivshmem::Ivshmem;
pub use self::test_device::TestDevice;
