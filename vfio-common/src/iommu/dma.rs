//! Memory that devices reach, and why that is sound.
//!
//! Rules of this module:
//! - A [`DmaMemory`] exists only for memory of which somebody promised that devices may reach it for as
//!   long as it is mapped. No mapping is made without one.
//! - The promise is made by the caller of an unsafe function, or here, by [`Lent`], which holds the
//!   memory until it is unmapped.
#![expect(unsafe_code, reason = "devices read and write memory behind the compiler's back")]

use std::sync::Arc;

use super::ledger::Key;
use super::space::Place;
use super::{AddressSpace, DeviceAccess, DmaError, IovaRange};
use crate::mapping::{Mapping, Protection};
use crate::mmio::View;
use crate::process::Doer;

/// Memory of this process that devices may reach for as long as it is mapped into an address space.
#[derive(Debug)]
pub struct DmaMemory {
    start: *mut u8,
    length: u64,
    /// The memory itself, if it is this crate's: devices in software reach it by this.
    view: Option<View>,
}

impl DmaMemory {
    /// `length` bytes from `start`. Neither is looked at.
    ///
    /// # Safety
    /// From now until it is unmapped from every address space that it is mapped into by this value:
    /// - the bytes stay mapped in this process, and no memory that is used for anything else comes to lie
    ///   at their addresses: devices use whatever is there, also if nothing was when it was mapped;
    /// - no Rust reference to them exists while devices may write them, and no mutable one while devices
    ///   may read them. Memory of values, on the heap or the stack, is not suitable.
    #[must_use]
    pub unsafe fn new(start: *mut u8, length: u64) -> Self {
        Self { start, length, view: None }
    }

    /// Its address in this process.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start.expose_provenance() as u64
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }
}

impl AddressSpace {
    /// Maps `length` bytes of memory from `start` at the device address `iova`. All three are multiples
    /// of the IOMMU's smallest page. They stay mapped until they are unmapped, or the address space
    /// loses its mappings with its last device or handle. Prefer a [`DmaBuffer`](super::DmaBuffer).
    ///
    /// After a `fork`, memory that is private to the process (`MAP_PRIVATE`) may be copied for the
    /// process, and the device stays with the old page. Use shared memory, or
    /// `madvise(MADV_DONTFORK)`.
    ///
    /// ```
    /// # use vfio_common::iommu::{DeviceAccess, DmaError};
    /// # use vfio_common::route::{Opener as _, Target};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let machine = vfio_sim::Machine::demo()?;
    /// # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
    /// # let sysfs = format!("bus/mdev/devices/{name}").into();
    /// # let _device = machine.opener().open(&Target { name, sysfs })?;
    /// # let space = machine.address_space();
    /// # let memory = memmap2::MmapOptions::new().len(8192).map_anon()?;
    /// # let raw = memmap2::MmapRaw::from(memory);
    /// let (start, access) = (raw.as_mut_ptr(), DeviceAccess::WRITE);
    /// // SAFETY: the mapping is dropped after the memory is unmapped, and nobody has a reference to it.
    /// unsafe { space.map(0x10_0000, start, 8192, access)? };
    /// // SAFETY: as above, and it fails.
    /// let error = unsafe { space.map(0x20_0000, start.wrapping_add(1), 4096, access) }.unwrap_err();
    /// assert!(matches!(error, DmaError::Misaligned { .. }));
    /// assert_eq!(space.unmap(0x10_0000, 8192)?, 8192);
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    /// As [`DmaMemory::new`].
    ///
    /// # Errors
    /// [`DmaError`]; then nothing is mapped. Without the kernel: [`DmaError::Empty`],
    /// [`DmaError::Wraps`], [`DmaError::NoAccess`], [`DmaError::NoDevice`], [`DmaError::Misaligned`],
    /// [`DmaError::OutsideRanges`], [`DmaError::Overlap`], in this order.
    pub unsafe fn map(
        &self,
        iova: u64,
        start: *mut u8,
        length: u64,
        access: DeviceAccess,
    ) -> Result<(), DmaError> {
        // SAFETY: the caller promises for this function what that one wants.
        let memory = unsafe { DmaMemory::new(start, length) };
        self.map_memory(&memory, Place::At(iova), access).map(drop)
    }
}

/// Memory that is mapped for devices, and freed only after it is unmapped.
#[derive(Debug)]
pub(super) struct Lent {
    view: View,
    space: AddressSpace,
    range: IovaRange,
    key: Key,
    /// Who mapped it.
    doer: Doer,
}

impl Lent {
    /// Maps all of `memory`, which nobody else knows.
    pub(super) fn new(
        space: &AddressSpace,
        memory: Mapping,
        place: Place,
        access: DeviceAccess,
    ) -> Result<Self, DmaError> {
        debug_assert_eq!(memory.protection(), Protection::ReadWrite);
        let (start, length) = (memory.start(), memory.len() as u64);
        let view = View::whole(Arc::new(memory));
        // SAFETY: the mapping is owned by the view, is its own memory outside of all Rust values, and is
        // used from now on only through views, which make volatile accesses and no references. This
        // view is dropped only if mapping fails, or after `drop`, which see.
        let memory = unsafe { DmaMemory::new(start, length) };
        let memory = DmaMemory { view: Some(view.clone()), ..memory };
        let (range, key) = space.map_memory(&memory, place, access)?;
        Ok(Self { view, space: space.clone(), range, key, doer: Doer::here() })
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn range(&self) -> IovaRange {
        self.range
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.space.has(self.range, self.key)
    }
}

impl Drop for Lent {
    /// The memory goes after this, with the view, if nobody can reach it: the ledger has the mapping as
    /// long as the kernel may have it, for it is taken out only after the kernel said that it unmapped
    /// all its bytes.
    fn drop(&mut self) {
        if !self.doer.is_here() {
            // The parent's mapping stays. Freed here is the child's view of the memory only.
            return;
        }
        if let Err(error) = self.space.release(self.range, self.key) {
            tracing::error!(
                %error, iova = self.range.first, length = self.range.length(),
                "the memory of a buffer is kept for good, for a device may still reach it"
            );
            std::mem::forget(self.view.clone());
        }
    }
}

#[cfg(test)]
mod forked;
