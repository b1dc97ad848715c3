//! What a software device is made of: a [`Model`] of its behaviour, and the [`Layout`] of its
//! regions. [`SoftDevice`](crate::SoftDevice) turns them into a device that can be opened.
//!
//! Rules of this module:
//! - A model decides what an access does; where it goes, what it may reach, how it is cut into pieces
//!   and what can be mapped is decided for it, as the kernel's VFIO code does.
//! - Memory that can be mapped is in a file in memory, which mappings show and trapped accesses read
//!   and write: the two ways are as different as with a real device, and see the same bytes.

mod board;
mod irqs;
mod layout;
mod region;

use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use vfio_common::device::{DeviceInfo, IrqInfo, IrqRequest};

use crate::errno::failed;

pub use self::board::Board;
pub use self::layout::Layout;
pub use self::region::RegionModel;

pub(crate) use self::irqs::{check_range, named};

/// The behaviour of a device: what its kernel driver and its hardware do together. A value of the
/// type is the state of one device, from its creation to its removal; opening and closing the device
/// leave it as it is.
///
/// Methods are called one at a time. Errors go to the program as they are: give them as the kernel
/// does, with [`io::Error::from_raw_os_error`]. Values are little-endian, as in the device's file.
pub trait Model: Debug + Send + 'static {
    /// The device's regions. Called once, before any other method.
    fn layout(&self) -> Layout;

    /// Brings the memory into its first state; it is all 0 before. Called once.
    ///
    /// # Errors
    /// What keeps the device from being created.
    fn power_on(&mut self, board: &Board) -> io::Result<()> {
        let _ = board;
        Ok(())
    }

    /// `VFIO_DEVICE_GET_INFO`.
    ///
    /// # Errors
    /// What the program is to see.
    fn device_info(&mut self) -> io::Result<DeviceInfo>;

    /// `VFIO_DEVICE_GET_IRQ_INFO`; by default there are no interrupts.
    ///
    /// # Errors
    /// `EINVAL` for an index that the device does not have.
    fn irq_info(&mut self, index: u32) -> io::Result<IrqInfo> {
        let _ = index;
        Err(failed(Errno::INVAL))
    }

    /// `VFIO_DEVICE_SET_IRQS`; by default what [`Board::set_irqs`] does with an interrupt as
    /// [`Model::irq_info`] describes it. The model fires it by [`Board::fire`].
    ///
    /// # Errors
    /// As [`Board::set_irqs`].
    fn set_irqs(&mut self, board: &Board, request: &IrqRequest<'_>) -> io::Result<u32> {
        let irq = self.irq_info(request.index)?;
        board.set_irqs(self.device_info()?, irq, request)
    }

    /// A trapped read of one piece: 1, 2, 4 or 8 bytes at a multiple of that from the region's start,
    /// wholly inside the region. `bytes` are 0 before. By default the region's memory is read.
    ///
    /// # Errors
    /// What the program is to see.
    fn read(
        &mut self,
        board: &Board,
        region: u32,
        offset: u64,
        bytes: &mut [u8],
    ) -> io::Result<()> {
        board.read(region, offset, bytes)
    }

    /// A trapped write of one piece, as [`Model::read`]. By default the region's memory is written.
    ///
    /// # Errors
    /// What the program is to see.
    fn write(&mut self, board: &Board, region: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        board.write(region, offset, bytes)
    }

    /// `VFIO_DEVICE_FEATURE`, as [`Backend::feature`](vfio_common::device::Backend::feature); by
    /// default there are no features.
    ///
    /// # Errors
    /// `ENOTTY` for a feature that the device does not have.
    fn feature(&mut self, board: &Board, flags: u32, data: &mut [u8]) -> io::Result<()> {
        let _ = (board, flags, data);
        Err(failed(Errno::NOTTY))
    }

    /// `VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE`; by default the device does not migrate. The descriptor
    /// is any that the program can read or write: a pipe, or a file in memory.
    ///
    /// # Errors
    /// `ENOTTY` when the device cannot migrate, `EINVAL` when it cannot go to the state.
    fn set_migration_state(&mut self, board: &Board, state: u32) -> io::Result<Option<OwnedFd>> {
        let _ = (board, state);
        Err(failed(Errno::NOTTY))
    }

    /// `VFIO_DEVICE_RESET`; by default the device has none.
    ///
    /// # Errors
    /// `ENOTTY` when the device has no reset.
    fn reset(&mut self, board: &Board) -> io::Result<()> {
        let _ = board;
        Err(failed(Errno::NOTTY))
    }
}
