//! Drivers and regions on devices: the software devices of `vfio-sim` here, and the same tests on a
//! real kernel in `tests/kernel`.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

// Links the drivers, which register themselves.
use drivers as _;

#[path = "../bench/mod.rs"]
mod bench;
mod dma;
mod dma_log;
mod edu;
mod interrupt_mistakes;
mod interrupts;
mod ivshmem;
mod lifecycle;
mod migration;
mod mtty;
mod pci;
mod platform;
mod sparse;
