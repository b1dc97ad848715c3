//! Sim.
#![forbid(unsafe_code)]
mod errno;
pub mod tree;
