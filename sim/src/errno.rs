//! Failures as the kernel reports them.

use std::io;

use rustix::io::Errno;

/// The failure of a system call.
pub(crate) fn failed(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}
