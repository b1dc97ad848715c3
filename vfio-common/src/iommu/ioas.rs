//! An I/O address space (IOAS) of an iommufd.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::explain::errno;
use super::{DeviceAccess, DmaMemory, Iommu, IommuProperties};
use crate::process::Doer;
use crate::uapi::IommuFd;

/// An IOAS, destroyed when dropped.
#[derive(Debug)]
pub(super) struct Ioas {
    fd: Arc<IommuFd>,
    id: u32,
    /// Who allocated it.
    doer: Doer,
}

impl Ioas {
    pub(super) fn new(fd: Arc<IommuFd>, id: u32) -> Self {
        Self { fd, id, doer: Doer::here() }
    }
}

impl Drop for Ioas {
    fn drop(&mut self) {
        // A child of `fork` shares the iommufd: its parent's would be destroyed.
        if self.doer.is_here()
            && let Err(error) = self.fd.destroy(self.id)
        {
            // A device is still attached. It goes with the iommufd.
            tracing::debug!(ioas = self.id, %error, "the address space was not destroyed");
        }
    }
}

impl Iommu for Ioas {
    /// The kernel tells the smallest page only, which is 1 byte before a device is attached. Containers
    /// never tell less than the host's page, and say so with all bits above it.
    fn properties(&self) -> io::Result<IommuProperties> {
        let (ranges, alignment) = self.fd.iova_ranges(self.id)?;
        let smallest = alignment.checked_next_power_of_two().unwrap_or(1 << 63);
        let page_sizes = !(smallest.max(crate::page_size()).saturating_sub(1));
        Ok(IommuProperties { page_sizes, ranges, available: None })
    }

    fn map(&self, memory: &DmaMemory, iova: u64, access: DeviceAccess) -> io::Result<()> {
        self.fd.map(self.id, memory, iova, access)
    }

    /// The kernel says `ENOENT` when nothing is mapped there; a container says 0 bytes.
    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64> {
        none_is_no_error(self.fd.unmap(self.id, iova, length))
    }

    fn unmap_all(&self) -> io::Result<u64> {
        none_is_no_error(self.fd.unmap(self.id, 0, u64::MAX))
    }

    fn counts_per_user(&self) -> bool {
        true
    }
}

fn none_is_no_error(unmapped: io::Result<u64>) -> io::Result<u64> {
    match unmapped {
        Err(error) if errno(&error) == Some(Errno::NOENT) => Ok(0),
        unmapped => unmapped,
    }
}
