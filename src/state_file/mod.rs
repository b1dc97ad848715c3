//! The file that a saved device is in.
//!
//! | bytes | |
//! |---|---|
//! | 8 | magic: `89 4d 44 45 56 53 54 0a` |
//! | 4 | version of this layout: 1 |
//! | 4 | length of the identity |
//! | as said | identity: what kind of device it is, as JSON |
//! | 8 | length of the data |
//! | as said | the data, as the kernel gave it |
//! | 4 | CRC-32 (IEEE) of everything before |
//!
//! Numbers are little-endian. What is wrong with a file is found before a device is touched, and a
//! file has its name only when it is complete.

mod draft;
mod error;
mod identity;
mod saved;

pub(crate) use draft::Draft;
pub(crate) use error::{Fault, StateFileError};
pub(crate) use identity::Identity;
pub(crate) use saved::Saved;

/// The first byte is no text in any encoding, and the last is lost where line ends are converted.
const MAGIC: [u8; 8] = *b"\x89MDEVST\n";
const VERSION: u32 = 1;
/// Magic, version, length of the identity.
const FIXED: usize = 16;
const CHECKSUM: u64 = 4;
/// No identity is longer.
const LONGEST_IDENTITY: u32 = 64 * 1024;

/// Everything before the data.
fn head(identity: &[u8], data: u64) -> Vec<u8> {
    let length = u32::try_from(identity.len()).unwrap_or(u32::MAX);
    let fields: [&[u8]; 5] =
        [&MAGIC, &VERSION.to_le_bytes(), &length.to_le_bytes(), identity, &data.to_le_bytes()];
    fields.concat()
}
