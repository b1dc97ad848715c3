//! The data of a migration.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// The data of one transfer, as a descriptor of the kernel's: read it when the device is saved, write
/// it when it is restored. It closes when dropped; the transfer itself ends when the device leaves
/// the state, and then reads and writes fail with `ENODEV`.
#[derive(Debug)]
pub struct DataStream {
    file: File,
}

impl DataStream {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }
}

impl Read for DataStream {
    /// 0 bytes are the end of the data in `STOP_COPY`. In `PRE_COPY` there may be more later; the
    /// kernel says so with 0 bytes or with `ENOMSG`, and here it is always 0 bytes.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Err(error) if error.raw_os_error() == Some(Errno::NOMSG.raw_os_error()) => Ok(0),
            result => result,
        }
    }
}

impl Write for DataStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl AsFd for DataStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<DataStream> for OwnedFd {
    fn from(stream: DataStream) -> Self {
        stream.file.into()
    }
}
