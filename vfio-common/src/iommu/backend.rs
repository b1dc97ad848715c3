//! What stands behind an address space.

use std::fmt::Debug;
use std::io;

use super::{DeviceAccess, DmaMemory, IovaRange};

/// The calls of an IOMMU, with the error numbers of the kernel: a container, an IOAS, or software. An
/// [`AddressSpace`](super::AddressSpace) makes them one at a time, with what it has checked already.
///
/// Software needs no unsafe code for it: [`DmaMemory`] says where the memory is.
pub trait Iommu: Debug + Send + Sync {
    /// What can be mapped. It may change when devices come and go.
    ///
    /// # Errors
    /// What the kernel says.
    fn properties(&self) -> io::Result<IommuProperties>;

    /// Maps `memory` at `iova`.
    ///
    /// # Errors
    /// As `VFIO_IOMMU_MAP_DMA`: `EINVAL` what is not aligned or not in a valid range, `EEXIST` an
    /// overlap, `ENOSPC` too many mappings, `ENOMEM` too much locked memory, `EFAULT` memory that is
    /// not there. Then nothing is mapped.
    fn map(&self, memory: &DmaMemory, iova: u64, access: DeviceAccess) -> io::Result<()>;

    /// As `VFIO_IOMMU_UNMAP_DMA`: unmaps all mappings that lie wholly in the `length` bytes from `iova`,
    /// and says how many bytes that were; 0 when there are none. After success no device reaches them
    /// any more.
    ///
    /// # Errors
    /// `EINVAL` when only a part of a mapping lies there.
    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64>;

    /// Unmaps everything at once, and says how many bytes that were.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where each mapping has to be unmapped by itself;
    /// the address space then does that. This is what it says unless it is overwritten.
    fn unmap_all(&self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether memory that is locked for devices is counted a user (iommufd), not a process
    /// (containers). It is named in errors.
    fn counts_per_user(&self) -> bool {
        false
    }
}

/// What can be mapped into an address space: `VFIO_IOMMU_GET_INFO`, or `IOMMU_IOAS_IOVA_RANGES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IommuProperties {
    /// The page sizes of the IOMMU in bytes, one bit each. The smallest is the unit of mappings.
    pub page_sizes: u64,
    /// Where mappings may lie: each wholly in one of these ranges.
    pub ranges: Vec<IovaRange>,
    /// How many mappings more the kernel takes; `None` where it has no limit.
    pub available: Option<u32>,
}

impl IommuProperties {
    /// The smallest page size in bytes, a power of two; the host's page size if there is none.
    #[must_use]
    pub fn smallest_page(&self) -> u64 {
        match self.page_sizes {
            0 => crate::page_size(),
            sizes => 1 << sizes.trailing_zeros(),
        }
    }
}
