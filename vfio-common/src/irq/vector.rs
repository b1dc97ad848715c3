//! One vector: an eventfd to wait for.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::{IrqError, IrqId};

/// One vector of an interrupt that is on: an eventfd, which counts how often the vector fired.
///
/// Clones are handles to the same one, for another thread or an event loop; of several that wait, one
/// gets the count. A vector that is off, because its [`IrqSet`](super::IrqSet) was dropped or it was
/// removed from it, never fires again, and does not keep the device open.
///
/// Through [`AsFd`] it goes into `poll`, `epoll`, or what an event loop takes: it is readable when the
/// vector has fired, and [`Vector::try_read`] takes the count and makes it wait for the next.
#[derive(Debug, Clone)]
pub struct Vector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    irq: IrqId,
    number: u32,
    eventfd: OwnedFd,
}

impl Vector {
    pub(super) fn new(irq: &IrqId, number: u32) -> Result<Self, IrqError> {
        let eventfd = open().map_err(|errno| IrqError::EventFd {
            irq: irq.clone(),
            vector: number,
            source: errno.into(),
        })?;
        Ok(Self { shared: Arc::new(Shared { irq: irq.clone(), number, eventfd }) })
    }

    /// Its number, counted from 0.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.shared.number
    }

    /// The interrupt that it is a vector of.
    #[must_use]
    pub fn irq(&self) -> &IrqId {
        &self.shared.irq
    }

    /// Waits until the vector fires, at most as long as `timeout` says; `None` waits for ever. Returns
    /// how often it fired since it was read last, or `None` when the time is over. A signal that
    /// interrupts the wait does not end it.
    ///
    /// An interrupt with the flag [`AUTOMASKED`](crate::device::IrqFlags::AUTOMASKED) is masked when it
    /// has fired: serve the device, call [`IrqSet::unmask`](super::IrqSet::unmask), and look at the
    /// device once more before the next wait, for what happened in between may be lost.
    ///
    /// # Errors
    /// [`IrqError::Wait`] when the kernel refuses to wait.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<u64>, IrqError> {
        // A time too far away to be represented is for ever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let fired = self.poll(left).map_err(|errno| self.failed(errno.into()))?;
            // Another handle may have been faster.
            if fired && let Some(count) = self.try_read()? {
                return Ok(Some(count));
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
        }
    }

    /// How often the vector fired since it was read last; `None` when it did not. It does not wait.
    ///
    /// # Errors
    /// [`IrqError::Wait`] when the kernel refuses.
    pub fn try_read(&self) -> Result<Option<u64>, IrqError> {
        let mut count = [0; size_of::<u64>()];
        loop {
            match rustix::io::read(&self.shared.eventfd, &mut count) {
                Ok(_) => return Ok(Some(u64::from_ne_bytes(count))),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed(errno.into())),
            }
        }
    }

    /// Whether it is readable within the time. An interrupted wait is not.
    fn poll(&self, timeout: Option<Duration>) -> Result<bool, Errno> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut waiting = [PollFd::new(&self.shared.eventfd, PollFlags::IN)];
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn failed(&self, source: io::Error) -> IrqError {
        IrqError::Wait { irq: self.shared.irq.clone(), vector: self.shared.number, source }
    }
}

impl AsFd for Vector {
    /// The eventfd, non-blocking.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }
}

fn open() -> Result<OwnedFd, Errno> {
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    // The kernel's sample serial card takes 0 for no eventfd on Linux 6.1.
    if eventfd.as_raw_fd() == 0 { fcntl_dupfd_cloexec(&eventfd, 1) } else { Ok(eventfd) }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::device::DeviceFlags;

    fn vector() -> Vector {
        Vector::new(&IrqId::new("a device".into(), DeviceFlags::PCI, 0), 3).unwrap()
    }

    fn fire(vector: &Vector, times: u64) {
        rustix::io::write(vector.as_fd(), &times.to_ne_bytes()).unwrap();
    }

    #[test]
    fn the_count_is_taken_once() {
        let vector = vector();
        assert_eq!(vector.try_read().unwrap(), None);
        assert_eq!(vector.wait(Some(Duration::ZERO)).unwrap(), None);
        fire(&vector, 2);
        fire(&vector, 1);
        assert_eq!(vector.clone().wait(None).unwrap(), Some(3));
        assert_eq!(vector.try_read().unwrap(), None);
        fire(&vector, 1);
        assert_eq!(vector.wait(Some(Duration::ZERO)).unwrap(), Some(1));
    }

    #[test]
    fn a_wait_ends_in_another_thread_whatever_its_limit() {
        let vector = vector();
        for limit in [None, Some(Duration::MAX), Some(Duration::from_secs(3600))] {
            let waiting = vector.clone();
            let waiter = thread::spawn(move || waiting.wait(limit).unwrap());
            fire(&vector, 1);
            assert_eq!(waiter.join().unwrap(), Some(1));
        }
    }

    #[test]
    fn the_eventfd_is_close_on_exec_and_not_0() {
        let vector = vector();
        assert_ne!(vector.as_fd().as_raw_fd(), 0);
        let flags = rustix::io::fcntl_getfd(vector.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
