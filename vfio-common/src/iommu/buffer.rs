//! Memory for devices that looks after itself.

use super::copy;
use super::dma::Lent;
use super::memory::Memory;
use super::space::Place;
use super::{AddressSpace, DeviceAccess, DmaError, IovaRange, Pages};
use crate::region::Register;

/// Memory that devices reach: rings, packets, command blocks. It is zeroed at first, mapped from the
/// start, unmapped and freed when dropped. If the kernel refuses to unmap it, the memory is not freed,
/// and an error is logged.
///
/// Devices may change it at any time, so no reference to it can be had: it is read and written by
/// value. Values of several bytes are little-endian, as most devices have them. Accesses to it are not
/// ordered by themselves: between filling in a descriptor and telling the device of it, and between
/// reading a flag and reading what it stands for, there has to be a
/// [`fence`](std::sync::atomic::fence).
///
/// It is safe from `fork`: the memory is shared (`memfd_create(2)`, `MAP_SHARED`), so process and child
/// and device see the same pages, and a child that drops it unmaps nothing of its parent's.
///
/// Its address space stays open as long as the buffer is there. See [`AddressSpace`] for when a buffer
/// outlives the devices.
///
/// ```
/// use vfio_common::iommu::{DeviceAccess, DmaBuffer, Pages};
/// # use vfio_common::route::{Opener as _, Target};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let machine = vfio_sim::Machine::demo()?;
/// # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
/// # let sysfs = format!("bus/mdev/devices/{name}").into();
/// # let _device = machine.opener().open(&Target { name, sysfs })?;
/// # let space = machine.address_space();
/// // For a device with 32 address bits.
/// let packets = DmaBuffer::builder(1_000_000, DeviceAccess::WRITE)
///     .alignment(0x1_0000)
///     .highest(u32::MAX.into())
///     .pages(Pages::HugeIfFree)
///     .build(&space)?;
/// assert!(packets.iova() % 0x1_0000 == 0 && packets.iova() < 1 << 32);
/// let mut header = [0xff; 14];
/// packets.copy_out(0x800, &mut header)?;
/// assert_eq!(header, [0; 14]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DmaBuffer {
    lent: Lent,
    access: DeviceAccess,
}

/// How a [`DmaBuffer`] is to be.
#[derive(Debug, Clone)]
pub struct DmaBufferBuilder {
    length: usize,
    access: DeviceAccess,
    at: Option<u64>,
    alignment: u64,
    highest: u64,
    pages: Pages,
}

/// An access to a buffer was refused. Offsets are in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} bytes at {offset:#x} cannot be accessed in a buffer of {length:#x} bytes{}",
    if *width > 1 { ": take an offset inside that is a multiple of the width" } else { "" }
)]
pub struct BufferError {
    offset: usize,
    width: usize,
    count: usize,
    length: usize,
}

impl DmaBufferBuilder {
    /// The device address, instead of one that is free.
    #[must_use]
    pub fn at(mut self, iova: u64) -> Self {
        self.at = Some(iova);
        self
    }

    /// The device address is to be a multiple of this power of two, in bytes. Without it, and at least,
    /// it is one of the pages that the buffer is made of.
    #[must_use]
    pub fn alignment(mut self, alignment: u64) -> Self {
        self.alignment = alignment;
        self
    }

    /// The highest device address that the last byte may have, for devices that have fewer than 64
    /// address bits.
    #[must_use]
    pub fn highest(mut self, highest: u64) -> Self {
        self.highest = highest;
        self
    }

    /// The pages that it is made of.
    #[must_use]
    pub fn pages(mut self, pages: Pages) -> Self {
        self.pages = pages;
        self
    }

    /// Gets the memory and maps it.
    ///
    /// # Errors
    /// [`DmaError`]; then nothing is mapped and no memory is kept. [`DmaError::Memory`] when there is no
    /// memory, [`DmaError::NoRoom`] when no address is free, otherwise as [`AddressSpace::map`].
    pub fn build(&self, space: &AddressSpace) -> Result<DmaBuffer, DmaError> {
        let Self { length, access, at, alignment, highest, pages } = *self;
        if length == 0 {
            return Err(DmaError::Empty { iova: at.unwrap_or_default() });
        }
        let unit = space.smallest_page()?;
        let huge = pages == Pages::Huge;
        let memory = Memory::new(length, unit, pages).map_err(|source| DmaError::Memory {
            length,
            huge,
            source,
        })?;
        let place = match at {
            Some(iova) => Place::At(iova),
            None if !alignment.is_power_of_two() => return Err(DmaError::Alignment { alignment }),
            None => Place::Free { alignment: alignment.max(memory.page), highest },
        };
        Ok(DmaBuffer { lent: Lent::new(space, memory.mapping, place, access)?, access })
    }
}

impl DmaBuffer {
    /// A buffer of at least `length` bytes, rounded up to whole pages, at an address that is free.
    ///
    /// # Errors
    /// As [`DmaBufferBuilder::build`].
    pub fn new(
        space: &AddressSpace,
        length: usize,
        access: DeviceAccess,
    ) -> Result<Self, DmaError> {
        Self::builder(length, access).build(space)
    }

    /// A buffer of at least `length` bytes, rounded up to whole pages, with more to say about it.
    #[must_use]
    pub fn builder(length: usize, access: DeviceAccess) -> DmaBufferBuilder {
        let pages = Pages::Normal;
        DmaBufferBuilder { length, access, at: None, alignment: 1, highest: u64::MAX, pages }
    }

    /// The address of its first byte as devices see it.
    #[must_use]
    pub fn iova(&self) -> u64 {
        self.lent.range().first
    }

    /// Its addresses as devices see them.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        self.lent.range()
    }

    /// Its length in bytes: whole pages, never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.lent.view().length()
    }

    /// What devices may do with it. This process may always read and write it.
    #[must_use]
    pub fn access(&self) -> DeviceAccess {
        self.access
    }

    /// Whether devices still reach it. It ends when its addresses are unmapped by
    /// [`AddressSpace::unmap`], and when the last device of its address space is closed.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.lent.is_mapped()
    }

    /// The address of its first byte in this process, for libraries with types of their own. Valid for
    /// volatile loads and stores of [`DmaBuffer::len`] bytes as long as the buffer lives.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.lent.view().start()
    }

    /// Reads the little-endian integer at `offset` bytes, a multiple of its width.
    ///
    /// # Errors
    /// [`BufferError`] when it is not in the buffer or not aligned.
    #[inline]
    pub fn read<T: Register>(&self, offset: usize) -> Result<T, BufferError> {
        let value = self.lent.view().load::<T>(offset);
        value.map(T::le_to_host).ok_or_else(|| self.refused(offset, T::WIDTH, T::WIDTH))
    }

    /// Writes the little-endian integer at `offset` bytes, a multiple of its width, by one store.
    ///
    /// # Errors
    /// [`BufferError`] when it is not in the buffer or not aligned.
    #[inline]
    pub fn write<T: Register>(&self, offset: usize, value: T) -> Result<(), BufferError> {
        let stored = self.lent.view().store(offset, value.host_to_le());
        stored.ok_or_else(|| self.refused(offset, T::WIDTH, T::WIDTH))
    }

    /// Copies `bytes` into the buffer from `offset`, in accesses of 8 bytes and less.
    ///
    /// # Errors
    /// [`BufferError`] when they do not fit; then nothing is copied.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) -> Result<(), BufferError> {
        let copied = copy::into_view(self.lent.view(), offset, bytes);
        copied.ok_or_else(|| self.refused(offset, 1, bytes.len()))
    }

    /// Copies bytes out of the buffer from `offset`, in accesses of 8 bytes and less.
    ///
    /// # Errors
    /// [`BufferError`] when there are not so many; then nothing is copied.
    pub fn copy_out(&self, offset: usize, bytes: &mut [u8]) -> Result<(), BufferError> {
        let count = bytes.len();
        let copied = copy::out_of_view(self.lent.view(), offset, bytes);
        copied.ok_or_else(|| self.refused(offset, 1, count))
    }

    #[cold]
    fn refused(&self, offset: usize, width: usize, count: usize) -> BufferError {
        BufferError { offset, width, count, length: self.len() }
    }
}
