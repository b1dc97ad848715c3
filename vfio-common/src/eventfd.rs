//! Eventfds of this process, which the kernel signals.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// An eventfd, non-blocking and close-on-exec. Of several threads that wait, one gets the count.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // The kernel's sample serial card takes 0 for no eventfd on Linux 6.1.
        let is_taken_for_none = eventfd.as_raw_fd() == 0;
        Ok(Self(if is_taken_for_none { fcntl_dupfd_cloexec(&eventfd, 1)? } else { eventfd }))
    }

    /// Waits until it is signalled, at most as long as `timeout` says; `None` waits for ever. Returns
    /// how often it was since it was read last, or `None` when the time is over. A signal that
    /// interrupts the wait does not end it.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<u64>> {
        // A time too far away to be represented is for ever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // Another handle may have been faster.
            if self.poll(left)?
                && let Some(count) = self.try_read()?
            {
                return Ok(Some(count));
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
        }
    }

    /// How often it was signalled since it was read last; `None` when it was not.
    pub(crate) fn try_read(&self) -> io::Result<Option<u64>> {
        let mut count = [0; size_of::<u64>()];
        loop {
            match rustix::io::read(&self.0, &mut count) {
                Ok(_) => return Ok(Some(u64::from_ne_bytes(count))),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether it is readable within the time. An interrupted wait is not.
    fn poll(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut waiting = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
