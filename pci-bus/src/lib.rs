//! PCI devices for user-space drivers on Linux VFIO.
//!
//! This crate holds the addresses of PCI functions. The bus itself (scan, match, bind) is not there
//! yet; it will stand on `vfio-common`.

#![forbid(unsafe_code)]

mod address;

pub use address::{Address, AddressError};
