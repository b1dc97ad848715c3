//! How often a device was called.

use std::sync::atomic::{AtomicU64, Ordering};

/// The calls that a device had since it was made: with a real device, each is a system call. An
/// access to mapped memory is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Counters {
    /// `pread` on the device, whatever became of it.
    pub reads: u64,
    /// `pwrite`.
    pub writes: u64,
    /// `mmap`.
    pub maps: u64,
    /// `ioctl`: descriptions, interrupts, features and resets.
    pub ioctls: u64,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) reads: Count,
    pub(super) writes: Count,
    pub(super) maps: Count,
    pub(super) ioctls: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Calls {
    pub(super) fn so_far(&self) -> Counters {
        Counters {
            reads: self.reads.get(),
            writes: self.writes.get(),
            maps: self.maps.get(),
            ioctls: self.ioctls.get(),
        }
    }
}
