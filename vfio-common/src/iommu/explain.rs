//! Error numbers of the kernel, as what they mean.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::{DeviceAccess, DmaError, DmaMemory, IovaRange};

/// What was tried, for the explanation of why it failed.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) memory: &'a DmaMemory,
    pub(super) range: IovaRange,
    pub(super) access: DeviceAccess,
    pub(super) mappings: usize,
    pub(super) locked: u64,
    pub(super) per_user: bool,
}

impl Attempt<'_> {
    pub(super) fn failed(&self, source: io::Error) -> DmaError {
        let Self { range, access, mappings, locked, per_user, .. } = *self;
        let (address, length) = (self.memory.address(), self.memory.length());
        match errno(&source) {
            Some(Errno::NOMEM) => {
                let limit = getrlimit(Resource::Memlock).current;
                DmaError::LockedMemory { length, locked, limit, per_user, source }
            }
            Some(Errno::NOSPC) => DmaError::Full { mappings, source },
            Some(Errno::FAULT) => DmaError::Unreachable { address, length, access, source },
            Some(Errno::EXIST | Errno::ADDRINUSE) => DmaError::Taken { range, source },
            _ => DmaError::Map { range, access, source },
        }
    }
}

pub(super) fn memory_lock(locked: u64, length: u64, limit: Option<u64>, per_user: bool) -> String {
    let Some(limit) = limit else {
        return "the kernel is out of memory, for locked memory has no limit (RLIMIT_MEMLOCK)"
            .into();
    };
    let needed = locked.saturating_add(length);
    let whose = if per_user { "all processes of the user together" } else { "this process" };
    format!(
        "at least {needed} bytes are needed, and {whose} may lock {limit} (RLIMIT_MEMLOCK); raise it with \
         LimitMEMLOCK= of the systemd unit or `ulimit -l`, or run with CAP_IPC_LOCK"
    )
}

pub(super) fn memory(huge: bool, source: &io::Error) -> &'static str {
    match (huge, errno(source)) {
        (true, Some(Errno::NOMEM | Errno::NOSPC)) => {
            " in huge pages: reserve some by vm.nr_hugepages (sysctl), or ask for Pages::HugeIfFree"
        }
        (true, _) => " in huge pages: this kernel has none, ask for Pages::HugeIfFree",
        (false, Some(Errno::NOMEM | Errno::NOSPC)) => ": there is not enough, ask for less",
        (false, _) => "",
    }
}

pub(super) fn iommufd(source: &io::Error) -> &'static str {
    match errno(source) {
        Some(Errno::NOENT) => {
            ": this kernel has no iommufd (Linux 6.2 and CONFIG_IOMMUFD), or modprobe iommufd; \
             containers work without"
        }
        Some(Errno::ACCESS) => ": run as root, or let a udev rule give it to your group",
        Some(Errno::PERM) => ": the device cgroup of this container forbids it",
        Some(Errno::NODEV | Errno::NXIO) => ": modprobe iommufd",
        _ => "",
    }
}

pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}
