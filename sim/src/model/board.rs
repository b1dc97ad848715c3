//! The memory and the interrupts behind a software device.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use vfio_common::iommu::AddressSpace;
use vfio_common::{Mapping, Protection};

use super::irqs::Irqs;
use super::layout::Places;
use crate::errno::failed;

/// The board that a model sits on: the memory of its regions, which programs may have mapped, and its
/// interrupts. What the model writes here they see, and the other way round; what it fires, they hear.
#[derive(Debug)]
pub struct Board {
    pub(crate) places: Places,
    /// Every byte of memory at the offset that it has in the device's file; the rest are holes, which
    /// take no room. `None` when no region has memory.
    memory: Option<File>,
    pub(super) irqs: Irqs,
    pub(crate) space: Option<AddressSpace>,
}

impl Board {
    pub(crate) fn new(places: Places) -> io::Result<Self> {
        let file = |length| -> io::Result<File> {
            let memory = File::from(rustix::fs::memfd_create("vfio-sim", MemfdFlags::CLOEXEC)?);
            memory.set_len(length)?;
            Ok(memory)
        };
        let memory = places.memory_length().map(file).transpose()?;
        Ok(Self { places, memory, irqs: Irqs::default(), space: None })
    }

    /// Reads bytes of a region's memory, from `offset` bytes after its start.
    ///
    /// # Errors
    /// `EINVAL` when the region has no memory or less.
    pub fn read(&self, region: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let (memory, at) = self.find(region, offset, bytes.len())?;
        memory.read_exact_at(bytes, at)
    }

    /// Writes bytes of a region's memory, from `offset` bytes after its start.
    ///
    /// # Errors
    /// `EINVAL` when the region has no memory or less.
    pub fn write(&self, region: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (memory, at) = self.find(region, offset, bytes.len())?;
        memory.write_all_at(bytes, at)
    }

    /// What the device sees of the program's memory: DMA is
    /// [`AddressSpace::read_as_device`] and [`AddressSpace::write_as_device`]. `None` when the device is
    /// in no address space, and can make none.
    #[must_use]
    pub fn address_space(&self) -> Option<&AddressSpace> {
        self.space.as_ref()
    }

    /// Makes all bytes of a region's memory 0.
    ///
    /// # Errors
    /// `EINVAL` when the region has no memory.
    pub fn clear(&self, region: u32) -> io::Result<()> {
        const ZEROES: [u8; 4096] = [0; 4096];
        let size = self.places.get(region).map_or(0, |region| region.info.size);
        let mut offset = 0;
        while offset < size {
            let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let (piece, _) = ZEROES.split_at(left.min(ZEROES.len()));
            self.write(region, offset, piece)?;
            offset = offset.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    pub(crate) fn map(
        &self,
        offset: u64,
        length: usize,
        protection: Protection,
    ) -> io::Result<Mapping> {
        let memory = self.memory.as_ref().ok_or(failed(Errno::INVAL))?;
        Mapping::new(memory, offset, length, protection)
    }

    fn find(&self, region: u32, offset: u64, length: usize) -> io::Result<(&File, u64)> {
        let found = self.places.get(region).filter(|region| region.memory).and_then(|region| {
            let end = offset.checked_add(length as u64)?;
            let at = region.info.offset.checked_add(offset)?;
            (end <= region.info.size).then_some(at)
        });
        self.memory.as_ref().zip(found).ok_or(failed(Errno::INVAL))
    }
}
