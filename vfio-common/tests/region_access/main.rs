//! Access to regions of a device in memory: which way each access takes, that both ways agree, and
//! that what must not reach the device does not.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod access;
mod backend;
mod config;
mod copies;
mod hostile;
mod mapping;
mod windows;
