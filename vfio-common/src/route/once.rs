//! Things that the kernel lets be open once at a time, also by one process: shared within it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

/// What is open in this process, by device number: names and group numbers are given again as soon as
/// a device is removed.
#[derive(Debug)]
pub(super) struct OpenOnce<T> {
    open: Mutex<BTreeMap<u64, Weak<T>>>,
    /// Notified when something has closed.
    closed: Condvar,
}

impl<T> OpenOnce<T> {
    pub(super) const fn new() -> Self {
        Self { open: Mutex::new(BTreeMap::new()), closed: Condvar::new() }
    }

    /// What is open under this number, or what `open` makes. Nothing else opens or closes meanwhile.
    pub(super) fn acquire<E>(
        &self,
        number: u64,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let mut known = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(weak) = known.get(&number) {
            if let Some(shared) = weak.upgrade() {
                return Ok(shared);
            }
            // Its last user is about to close it: the kernel would say EBUSY until then.
            known = self.closed.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
        let shared = Arc::new(open()?);
        known.insert(number, Arc::downgrade(&shared));
        Ok(shared)
    }

    /// Called by the drop of what is open: `close` closes it before anybody can ask for it again.
    pub(super) fn release(&self, number: u64, close: impl FnOnce()) {
        let mut known = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        close();
        known.remove(&number);
        self.closed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::OpenOnce;

    static TABLE: OpenOnce<Exclusive> = OpenOnce::new();
    static OPEN: AtomicUsize = AtomicUsize::new(0);

    /// As the kernel: a second opening fails.
    struct Exclusive(u64);

    impl Exclusive {
        fn open(number: u64) -> Result<Self, &'static str> {
            if OPEN.fetch_add(1, Ordering::SeqCst) != 0 {
                return Err("busy");
            }
            Ok(Self(number))
        }
    }

    impl Drop for Exclusive {
        fn drop(&mut self) {
            TABLE.release(self.0, || assert_eq!(OPEN.fetch_sub(1, Ordering::SeqCst), 1));
        }
    }

    #[test]
    fn threads_that_open_and_close_share_what_is_open_and_never_find_it_busy() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let first = TABLE.acquire(7, || Exclusive::open(7)).map_err(drop);
                        let second = TABLE.acquire(7, || Exclusive::open(7)).map_err(drop);
                        assert!(std::sync::Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
                    }
                });
            }
        });
        assert_eq!(OPEN.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_failed_opening_leaves_no_trace() {
        static OTHERS: OpenOnce<u8> = OpenOnce::new();
        assert_eq!(OTHERS.acquire(1, || Err("no")), Err("no"));
        assert_eq!(OTHERS.acquire(1, || Ok::<_, ()>(5)).map(|open| *open), Ok(5));
    }
}
