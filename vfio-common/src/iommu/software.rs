//! DMA by devices in software: what a device behind an address space can read and write.

use super::space::State;
use super::{AddressSpace, DeviceAccess, IovaRange, copy};
use crate::mmio::View;

/// A device in software reached for memory that is not there for it. An IOMMU in front of a real device
/// would report a fault, and the device would go on without the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no buffer {access} is mapped at {iova:#x}: the device cannot reach it")]
#[non_exhaustive]
pub struct DmaFault {
    /// The first address that it does not reach.
    pub iova: u64,
    /// What it wanted to do there.
    pub access: DeviceAccess,
}

/// For devices in software, as those of `vfio-sim`: the process is the device. Real devices need none
/// of this.
///
/// Only the memory of [`DmaBuffer`](super::DmaBuffer)s can be reached so. What was mapped by
/// [`AddressSpace::map`] is the caller's, who alone knows how to access it.
impl AddressSpace {
    /// Reads memory as a device would that reads `bytes.len()` bytes from `iova` on, through as many
    /// mappings as it takes.
    ///
    /// ```
    /// use vfio_common::iommu::{DeviceAccess, DmaBuffer};
    /// # use vfio_common::iommu::AddressSpace;
    /// # use vfio_sim::{Faults, SoftIommu};
    /// # let space = AddressSpace::new(SoftIommu::new(Faults::new().into()));
    ///
    /// let buffer = DmaBuffer::new(&space, 4096, DeviceAccess::READ)?;
    /// buffer.write(8, 7u32)?;
    /// let mut found = [0; 4];
    /// space.read_as_device(buffer.iova() + 8, &mut found)?;
    /// assert_eq!(found, [7, 0, 0, 0]);
    /// assert!(space.write_as_device(buffer.iova(), &[1]).is_err(), "it may only be read");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DmaFault`] when some of it is not mapped for devices to read; then nothing is read.
    pub fn read_as_device(&self, iova: u64, bytes: &mut [u8]) -> Result<(), DmaFault> {
        let state = self.core.state();
        let pieces = pieces(&state, iova, bytes.len(), DeviceAccess::READ)?;
        let mut rest = bytes;
        for Piece { view, offset, length } in pieces {
            let Some((piece, after)) = rest.split_at_mut_checked(length) else { break };
            let fault = DmaFault { iova, access: DeviceAccess::READ };
            copy::out_of_view(view, offset, piece).ok_or(fault)?;
            rest = after;
        }
        Ok(())
    }

    /// Writes memory as a device would that writes `bytes` from `iova` on, through as many mappings as it
    /// takes.
    ///
    /// # Errors
    /// [`DmaFault`] when some of it is not mapped for devices to write; then nothing is written.
    pub fn write_as_device(&self, iova: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        let state = self.core.state();
        let pieces = pieces(&state, iova, bytes.len(), DeviceAccess::WRITE)?;
        let mut rest = bytes;
        for Piece { view, offset, length } in pieces {
            let Some((piece, after)) = rest.split_at_checked(length) else { break };
            let fault = DmaFault { iova, access: DeviceAccess::WRITE };
            copy::into_view(view, offset, piece).ok_or(fault)?;
            rest = after;
        }
        Ok(())
    }
}

/// A part of a transfer that lies in one mapping.
struct Piece<'a> {
    view: &'a View,
    offset: usize,
    length: usize,
}

/// Where the bytes of a transfer lie: all of them, or the first address that is out of reach.
fn pieces(
    state: &State,
    iova: u64,
    length: usize,
    access: DeviceAccess,
) -> Result<Vec<Piece<'_>>, DmaFault> {
    let mut pieces = Vec::new();
    let (mut at, mut left) = (iova, length);
    while left > 0 {
        let fault = DmaFault { iova: at, access };
        let (IovaRange { first, last }, view) = state.ledger.memory(at, access).ok_or(fault)?;
        let room = usize::try_from(last.saturating_sub(at)).unwrap_or(usize::MAX);
        let length = left.min(room.saturating_add(1));
        let offset = usize::try_from(at.saturating_sub(first)).map_err(|_| fault)?;
        pieces.push(Piece { view, offset, length });
        left = left.saturating_sub(length);
        if left > 0 {
            // The last address of all has no successor: what is left would wrap.
            at = last.checked_add(1).ok_or(fault)?;
        }
    }
    Ok(pieces)
}
