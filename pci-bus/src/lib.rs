//! PCI devices for user-space drivers on Linux VFIO.
//!
//! This crate holds the addresses of PCI functions, and binds functions to kernel drivers and back
//! ([`binding`]). The bus itself (scan, match, probe) is not there yet; it will stand on `vfio-common`.

#![forbid(unsafe_code)]

mod address;

pub mod binding;

pub use address::{Address, AddressError};
