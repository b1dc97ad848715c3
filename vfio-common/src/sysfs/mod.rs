//! Reading and writing sysfs below a root that can be moved.
//!
//! Rules of this module:
//! - Every read is relative to a directory descriptor, so a mock tree and the real `/sys` take the
//!   same code path, and an entry that vanishes fails as one entry.
//! - "It is not there" is an answer (`None`), not an error: entries come and go while they are read.
//! - A write is for its effect: where it finds nothing to write to, that is an error.
//! - Nothing is cached here and nothing is read twice.

mod dir;
mod error;
mod host;

pub use dir::{Dir, Entries, Entry};
pub use error::SysfsError;
pub use host::{Host, base_name};
