//! The PCI bus on mock sysfs trees and software functions. What the kernel's functions do too is in
//! `tests/devices/pci.rs`.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

mod matching;
mod odd_entries;
mod panics;
mod rescan;
mod server;
mod two_buses;
mod unready;

use pci_bus::{Address, Bus};
use vfio_sim::tree::Tree;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn bus(tree: &Tree) -> Bus {
    Bus::builder().host(tree.host()).without_registered().build().unwrap()
}
