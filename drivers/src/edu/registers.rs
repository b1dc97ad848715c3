//! The registers of BAR 0 (`docs/specs/edu.rst` of QEMU). Those below 0x80 take accesses of 4 bytes
//! only, the others of 4 or 8.

/// The version, and in the lowest byte a mark.
pub(super) const IDENTIFICATION: u64 = 0x00;
pub(super) const IDENTITY_MARK: u32 = 0xed;
/// Reads the inversion of what was written.
pub(super) const LIVENESS: u64 = 0x04;
pub(super) const FACTORIAL: u64 = 0x08;
pub(super) const STATUS: u64 = 0x20;
/// In the status: a factorial is being computed, and another one is ignored.
pub(super) const COMPUTING: u32 = 0x1;
/// In the status: raise an interrupt when the factorial is done.
pub(super) const INTERRUPT_WHEN_DONE: u32 = 0x80;
/// What is raised: bits stay until they are acknowledged.
pub(super) const INTERRUPT_STATUS: u64 = 0x24;
pub(super) const RAISE: u64 = 0x60;
pub(super) const ACKNOWLEDGE: u64 = 0x64;
pub(super) const DMA_SOURCE: u64 = 0x80;
pub(super) const DMA_TARGET: u64 = 0x88;
pub(super) const DMA_COUNT: u64 = 0x90;
pub(super) const DMA_COMMAND: u64 = 0x98;

/// In the interrupt status.
pub(super) const FACTORIAL_DONE: u32 = 0x1;
pub(super) const DMA_DONE: u32 = 0x100;

/// In the DMA command: start; it clears when the transfer is done.
pub(super) const DMA_RUN: u64 = 0x1;
pub(super) const DMA_TO_MEMORY: u64 = 0x2;
pub(super) const DMA_INTERRUPT: u64 = 0x4;
