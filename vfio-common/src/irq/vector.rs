//! One vector: an eventfd to wait for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::{IrqError, IrqId};
use crate::eventfd::EventFd;

/// One vector of an interrupt that is on: an `eventfd(2)`, which counts how often the vector fired.
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
    eventfd: EventFd,
}

impl Vector {
    pub(super) fn new(irq: &IrqId, number: u32) -> Result<Self, IrqError> {
        let failed = |source| IrqError::EventFd { irq: irq.clone(), vector: number, source };
        let eventfd = EventFd::new().map_err(failed)?;
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
        self.shared.eventfd.wait(timeout).map_err(|source| self.failed(source))
    }

    /// How often the vector fired since it was read last; `None` when it did not. It does not wait.
    ///
    /// # Errors
    /// [`IrqError::Wait`] when the kernel refuses.
    pub fn try_read(&self) -> Result<Option<u64>, IrqError> {
        self.shared.eventfd.try_read().map_err(|source| self.failed(source))
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
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
