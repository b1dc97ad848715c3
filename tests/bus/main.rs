//! The mediated device bus on mock sysfs trees and software devices.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

// Links the drivers, which register themselves.
use drivers as _;

mod faults;
mod matching;
mod odd_entries;
mod registry;
mod rescan;
mod types;

use mdev_bus::Address;

/// A UUID that ends with a number.
fn uuid(number: u64) -> String {
    format!("83b8f4f2-509f-382f-3c1e-{number:012x}")
}

fn address(number: u64) -> Address {
    uuid(number).parse().unwrap()
}
