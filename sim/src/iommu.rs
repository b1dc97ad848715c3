//! An IOMMU in software.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use vfio_common::iommu::{DeviceAccess, DmaMemory, Iommu, IommuProperties, IovaRange};

use crate::errno::failed;
use crate::fault::Faults;

/// What a container takes at most (`dma_entry_limit` of `vfio_iommu_type1`).
const MOST_MAPPINGS: u32 = 65_535;
/// Pages of 4 KiB, and every power of two above.
const PAGE_SIZES: u64 = !0xfff;

/// The IOMMU of a container that has mediated devices only, as Linux 6.12 behaves: pages from 4 KiB, the
/// whole 64-bit space, 65535 mappings, and no look at the memory. It is the one behind
/// [`Machine::address_space`](crate::Machine::address_space).
///
/// ```
/// use std::sync::Arc;
///
/// use vfio_common::iommu::{AddressSpace, DeviceAccess, DmaBuffer, DmaError};
/// use vfio_sim::{Faults, SoftIommu};
///
/// const ENOMEM: i32 = 12;
///
/// let faults = Arc::new(Faults::new());
/// let space = AddressSpace::new(SoftIommu::new(faults.clone()));
/// let first = DmaBuffer::new(&space, 4096, DeviceAccess::READ)?;
/// faults.fail_call(1, ENOMEM);
/// let error = DmaBuffer::new(&space, 4096, DeviceAccess::READ).unwrap_err();
/// assert!(matches!(error, DmaError::LockedMemory { locked: 4096, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SoftIommu {
    faults: Arc<Faults>,
    /// First address to last.
    mappings: Mutex<BTreeMap<u64, u64>>,
}

impl SoftIommu {
    /// Nothing is mapped. `faults` decides which call fails; one that does changes nothing.
    #[must_use]
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, mappings: Mutex::default() }
    }

    fn mappings(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Iommu for SoftIommu {
    fn properties(&self) -> io::Result<IommuProperties> {
        self.faults.call()?;
        let made = u32::try_from(self.mappings().len()).unwrap_or(MOST_MAPPINGS);
        Ok(IommuProperties {
            page_sizes: PAGE_SIZES,
            ranges: vec![IovaRange::ALL],
            available: Some(MOST_MAPPINGS.saturating_sub(made)),
        })
    }

    fn map(&self, memory: &DmaMemory, iova: u64, access: DeviceAccess) -> io::Result<()> {
        self.faults.call()?;
        let place = IovaRange::new(iova, memory.length()).filter(|_| !access.is_empty());
        let odd = (iova | memory.length() | memory.address()) & !PAGE_SIZES != 0;
        let place = place.filter(|_| !odd).ok_or(failed(Errno::INVAL))?;
        let mut mappings = self.mappings();
        if mappings.range(..=place.last).next_back().is_some_and(|(_, last)| *last >= place.first) {
            return Err(failed(Errno::EXIST));
        }
        if mappings.len() >= MOST_MAPPINGS as usize {
            return Err(failed(Errno::NOSPC));
        }
        mappings.insert(place.first, place.last);
        Ok(())
    }

    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64> {
        self.faults.call()?;
        let range = IovaRange::new(iova, length).ok_or(failed(Errno::INVAL))?;
        let mut mappings = self.mappings();
        let touched: Vec<_> = mappings
            .range(..=range.last)
            .map(|(first, last)| IovaRange { first: *first, last: *last })
            .filter(|mapping| mapping.last >= range.first)
            .collect();
        if (iova | length) & !PAGE_SIZES != 0 || !touched.iter().all(|one| range.contains(one)) {
            return Err(failed(Errno::INVAL));
        }
        for mapping in &touched {
            mappings.remove(&mapping.first);
        }
        Ok(touched.iter().map(IovaRange::length).sum())
    }

    fn unmap_all(&self) -> io::Result<u64> {
        self.faults.call()?;
        let all = std::mem::take(&mut *self.mappings());
        Ok(all.into_iter().map(|(first, last)| IovaRange { first, last }.length()).sum())
    }
}
