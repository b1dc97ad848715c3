//! User-space drivers for mediated devices. Each registers itself, so an application gets all of
//! them with `use drivers as _;`.
//!
//! | driver | devices |
//! |---|---|
//! | [`mtty`] | the kernel's sample serial card, types `mtty-1` and `mtty-2` |

#![forbid(unsafe_code)]

pub mod mtty;

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
