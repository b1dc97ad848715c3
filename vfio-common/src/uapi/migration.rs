//! Ioctls of the data of a migration.

use std::io;
use std::os::fd::BorrowedFd;

use super::{argsz, call};
use crate::migration::PreCopyInfo;

/// `VFIO_MIG_GET_PRECOPY_INFO`.
pub(crate) fn precopy_info(stream: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
    // flags; initial_bytes; dirty_bytes.
    let mut buffer = argsz::buffer(&[&[0; 4], &[0; 16]])?;
    call::sized(stream, call::vfio(21), &mut buffer)?;
    let word = |at: usize| buffer.get(at).copied().unwrap_or_default();
    Ok(PreCopyInfo { initial_bytes: word(1), dirty_bytes: word(2) })
}
