//! DMA: the device copies between memory and its own buffer.

use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

use vfio_common::iommu::{AddressSpace, DeviceAccess, DmaBuffer};

use super::registers::{
    DMA_COMMAND, DMA_COUNT, DMA_DONE, DMA_INTERRUPT, DMA_RUN, DMA_SOURCE, DMA_TARGET, DMA_TO_MEMORY,
};
use super::{Edu, EduError, Engine};

/// Where the device sees its own buffer.
const INSIDE: u64 = 0x4_0000;

/// Memory of the driver's own, as large as the device's buffer.
#[derive(Debug)]
pub(super) struct Bounce(DmaBuffer);

impl Bounce {
    fn new(space: &AddressSpace) -> Result<Self, EduError> {
        let access = DeviceAccess::READ | DeviceAccess::WRITE;
        let buffer = DmaBuffer::builder(Edu::BUFFER, access).highest(Edu::HIGHEST).build(space)?;
        Ok(Self(buffer))
    }
}

impl Edu {
    /// Bytes of the device's own buffer that transfers may touch: all but the last, at which QEMU 7.2 ends
    /// the whole machine, for it takes the buffer to be one byte shorter.
    pub const BUFFER: usize = 0xfff;
    /// The highest address that it reaches: it has 28 address bits.
    pub const HIGHEST: u64 = (1 << 28) - 1;

    /// Copies `bytes` into the device's buffer from `offset`, by DMA.
    ///
    /// # Errors
    /// [`EduError::OutsideDevice`] when they do not fit, and [`EduError::Memory`],
    /// [`EduError::NoAddressSpace`], [`EduError::Busy`] or [`EduError::InterruptOff`] when there is no memory
    /// or it is not ready: then nothing is copied. [`EduError::TimedOut`], [`EduError::Access`], [`EduError::Interrupt`].
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), EduError> {
        let inside = inside(offset, bytes.len())?;
        let mut engine = self.engine();
        // A transfer that was given up may have its bytes there.
        self.check_free(&engine)?;
        let bounce = self.bounce(&mut engine)?;
        bounce.copy_in(0, bytes)?;
        let iova = bounce.iova();
        self.transfer(&engine, iova, inside, bytes.len(), DMA_RUN)
    }

    /// Fills `bytes` from the device's buffer from `offset`, by DMA.
    ///
    /// # Errors
    /// As [`Edu::write`].
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), EduError> {
        let inside = inside(offset, bytes.len())?;
        let mut engine = self.engine();
        let iova = self.bounce(&mut engine)?.iova();
        self.transfer(&engine, inside, iova, bytes.len(), DMA_RUN | DMA_TO_MEMORY)?;
        Ok(self.bounce(&mut engine)?.copy_out(0, bytes)?)
    }

    /// Lets the device copy `range` of a buffer in memory into its own from `offset`. Nothing is copied
    /// on the way.
    ///
    /// # Errors
    /// [`EduError::OutsideBuffer`] and [`EduError::OutOfReach`] besides those of [`Edu::write`].
    pub fn write_from(
        &self,
        buffer: &DmaBuffer,
        range: Range<usize>,
        offset: usize,
    ) -> Result<(), EduError> {
        let iova = place(buffer, &range)?;
        let inside = inside(offset, range.len())?;
        self.transfer(&self.engine(), iova, inside, range.len(), DMA_RUN)
    }

    /// Lets the device copy from its own buffer, from `offset`, into `range` of a buffer in memory.
    ///
    /// # Errors
    /// As [`Edu::write_from`].
    pub fn read_into(
        &self,
        buffer: &DmaBuffer,
        range: Range<usize>,
        offset: usize,
    ) -> Result<(), EduError> {
        let iova = place(buffer, &range)?;
        let inside = inside(offset, range.len())?;
        self.transfer(&self.engine(), inside, iova, range.len(), DMA_RUN | DMA_TO_MEMORY)
    }

    fn bounce<'a>(&self, engine: &'a mut Engine) -> Result<&'a DmaBuffer, EduError> {
        // The mappings of a container end with its last device; this one is open.
        let made = match engine.bounce.take() {
            Some(bounce) => bounce,
            None => Bounce::new(self.space.as_ref().ok_or(EduError::NoAddressSpace)?)?,
        };
        Ok(&engine.bounce.insert(made).0)
    }

    /// It ignores its registers while it is at work.
    fn check_free(&self, engine: &Engine) -> Result<(), EduError> {
        engine.line.irqs()?;
        if self.is_copying()? { Err(EduError::Busy) } else { Ok(()) }
    }

    fn is_copying(&self) -> Result<bool, EduError> {
        Ok(self.registers.read64(DMA_COMMAND)? & DMA_RUN != 0)
    }

    /// The caller has checked that the part inside lies in the device's buffer: QEMU ends the whole
    /// machine when it does not.
    fn transfer(
        &self,
        engine: &Engine,
        source: u64,
        target: u64,
        length: usize,
        command: u64,
    ) -> Result<(), EduError> {
        if length == 0 {
            return Ok(());
        }
        self.check_free(engine)?;
        for (register, value) in
            [(DMA_SOURCE, source), (DMA_TARGET, target), (DMA_COUNT, length as u64)]
        {
            self.registers.write64(register, value)?;
        }
        // What was written to memory comes before the device is told, and what it wrote after.
        fence(Ordering::SeqCst);
        self.registers.write64(DMA_COMMAND, command | DMA_INTERRUPT)?;
        engine.line.wait(&self.registers, DMA_DONE, || Ok(!self.is_copying()?))?;
        fence(Ordering::SeqCst);
        Ok(())
    }
}

/// Where the device sees a part of its own buffer.
fn inside(offset: usize, length: usize) -> Result<u64, EduError> {
    let fits = offset.checked_add(length).is_some_and(|end| end <= Edu::BUFFER);
    if !fits {
        return Err(EduError::OutsideDevice { offset, length });
    }
    Ok(INSIDE.saturating_add(offset as u64))
}

/// Where the device sees a part of a buffer in memory.
fn place(buffer: &DmaBuffer, range: &Range<usize>) -> Result<u64, EduError> {
    if range.start > range.end || range.end > buffer.len() {
        return Err(EduError::OutsideBuffer { range: range.clone(), size: buffer.len() });
    }
    if buffer.range().last > Edu::HIGHEST {
        return Err(EduError::OutOfReach { iova: buffer.iova() });
    }
    Ok(buffer.iova().saturating_add(range.start as u64))
}
