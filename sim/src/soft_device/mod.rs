//! A device in software.

mod counters;
mod pieces;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use vfio_common::device::{Backend, DeviceInfo, HotResetInfo, IrqInfo, IrqRequest};
use vfio_common::iommu::{AddressSpace, IovaRange};
use vfio_common::irq::removal_request;
use vfio_common::migration::PreCopyInfo;
use vfio_common::region::{RegionFlags, RegionInfo};
use vfio_common::{Mapping, Protection, page_size};

use self::counters::Calls;
use self::pieces::pieces;
use crate::errno::failed;
use crate::model::{Board, Model};

pub use self::counters::Counters;

/// A device in software: a [`Model`] behind the calls of a VFIO device. It is a [`Backend`] of
/// [`Device`](vfio_common::device::Device); keep a handle to it to look at it from behind.
///
/// ```
/// use std::sync::Arc;
///
/// use vfio_common::device::Device;
/// use vfio_sim::SoftDevice;
/// use vfio_sim::mdevtest::Platform;
///
/// let soft = Arc::new(SoftDevice::new(Platform::new())?);
/// let device = Device::new("a platform device", soft.clone())?;
/// let registers = device.region(0)?;
/// let before = soft.counters();
/// registers.write32(0x10, 7)?;
/// assert_eq!(registers.read32(0x10)?, 7);
/// assert_eq!(soft.counters(), before, "it is mapped");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SoftDevice {
    board: Board,
    model: Mutex<Box<dyn Model>>,
    calls: Calls,
}

impl SoftDevice {
    /// A device with this behaviour, and its memory.
    ///
    /// # Errors
    /// `EEXIST` when the layout has an index twice, `EOVERFLOW` when it does not fit in a file, what
    /// [`Model::power_on`] says, or what keeps the memory from being had.
    pub fn new(mut model: impl Model) -> io::Result<Self> {
        let board = Board::new(model.layout().place()?)?;
        model.power_on(&board)?;
        Ok(Self { board, model: Mutex::new(Box::new(model)), calls: Calls::default() })
    }

    /// Puts the device into an address space, through which its model reaches memory
    /// ([`Board::address_space`]).
    #[must_use]
    pub fn in_space(mut self, space: AddressSpace) -> Self {
        self.board.space = Some(space);
        self
    }

    /// How often the device was called so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.calls.so_far()
    }

    /// Asks whoever has the device open to let go of it.
    pub(crate) fn request_removal(&self) {
        let info = self.model().device_info();
        if let Some(index) = info.ok().and_then(|info| removal_request(info.flags)) {
            self.board.fire(index, 0);
        }
    }

    /// The last close.
    pub(crate) fn closed(&self) {
        self.board.disable_all();
    }

    fn model(&self) -> MutexGuard<'_, Box<dyn Model>> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for SoftDevice {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        self.calls.ioctls.add();
        self.model().device_info()
    }

    fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        self.calls.ioctls.add();
        let region = self.board.places.get(index).ok_or(failed(Errno::INVAL))?;
        Ok(region.info.clone())
    }

    fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        self.calls.ioctls.add();
        self.model().irq_info(index)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls.reads.add();
        let length = buffer.len();
        if length == 0 {
            return Ok(0);
        }
        let places = &self.board.places;
        let (region, mut at) = places.accessed(offset, length, RegionFlags::READ)?;
        let mut rest = buffer;
        for width in pieces(at, length, places.widest) {
            let (piece, after) = rest.split_at_mut(width);
            piece.fill(0);
            self.model().read(&self.board, region.info.index, at, piece)?;
            at = at.saturating_add(width as u64);
            rest = after;
        }
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.calls.writes.add();
        if bytes.is_empty() {
            return Ok(0);
        }
        let places = &self.board.places;
        let (region, mut at) = places.accessed(offset, bytes.len(), RegionFlags::WRITE)?;
        let mut rest = bytes;
        for width in pieces(at, bytes.len(), places.widest) {
            let (piece, after) = rest.split_at(width);
            self.model().write(&self.board, region.info.index, at, piece)?;
            at = at.saturating_add(width as u64);
            rest = after;
        }
        Ok(bytes.len())
    }

    fn map(&self, offset: u64, length: usize, protection: Protection) -> io::Result<Mapping> {
        self.calls.maps.add();
        let page = page_size();
        // mmap(2) maps whole pages.
        let whole = (length as u64).checked_next_multiple_of(page).filter(|whole| *whole > 0);
        let whole = whole.filter(|_| offset.is_multiple_of(page)).ok_or(failed(Errno::INVAL))?;
        let place = self.board.places.mapped(offset, whole);
        let place = place.filter(|(region, start)| region.allows_mapping(*start, whole));
        let (region, _) = place.ok_or(failed(Errno::INVAL))?;
        if protection == Protection::ReadWrite && !region.info.flags.contains(RegionFlags::WRITE) {
            return Err(failed(Errno::PERM));
        }
        if !region.memory {
            return Err(failed(Errno::INVAL));
        }
        self.board.map(offset, length, protection)
    }

    fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        self.calls.ioctls.add();
        self.model().set_irqs(&self.board, request)
    }

    fn feature(&self, flags: u32, data: &mut [u8]) -> io::Result<()> {
        self.calls.ioctls.add();
        self.model().feature(&self.board, flags, data)
    }

    fn set_migration_state(&self, state: u32) -> io::Result<Option<OwnedFd>> {
        self.calls.ioctls.add();
        self.model().set_migration_state(&self.board, state)
    }

    fn address_space(&self) -> Option<AddressSpace> {
        self.board.space.clone()
    }

    fn precopy_info(&self, stream: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
        self.calls.ioctls.add();
        self.model().precopy_info(&self.board, stream)
    }

    fn start_dma_log(&self, page_size: u64, ranges: &[IovaRange]) -> io::Result<u64> {
        self.calls.ioctls.add();
        self.model().start_dma_log(&self.board, page_size, ranges)
    }

    fn read_dma_log(&self, page_size: u64, range: IovaRange) -> io::Result<Vec<u64>> {
        self.calls.ioctls.add();
        self.model().read_dma_log(&self.board, page_size, range)
    }

    fn enter_low_power(&self, wake_up: BorrowedFd<'_>) -> io::Result<()> {
        self.calls.ioctls.add();
        self.model().enter_low_power(&self.board, wake_up)
    }

    fn hot_reset_info(&self) -> io::Result<HotResetInfo> {
        self.calls.ioctls.add();
        self.model().hot_reset_info()
    }

    /// There are no groups.
    fn hot_reset(&self, _groups: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.calls.ioctls.add();
        self.model().hot_reset(&self.board)
    }

    fn reset(&self) -> io::Result<()> {
        self.calls.ioctls.add();
        self.model().reset(&self.board)
    }
}
