//! User-space drivers for mediated devices and PCI functions. Each registers itself, so an application gets all of
//! them with `use drivers as _;`.
//!
//! | driver | devices |
//! |---|---|
//! | [`edu`] | QEMU's educational PCI device |
//! | [`ivshmem`] | QEMU's shared memory, a PCI function |
//! | [`mtty`] | the kernel's sample serial card, types `mtty-1` and `mtty-2` |

#![forbid(unsafe_code)]

pub mod edu;
pub mod ivshmem;
pub mod mtty;

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
