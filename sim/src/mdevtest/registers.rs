//! The registers of the sparse device.

const IDENTITY: u64 = 0x00;
const ACCESSES: u64 = 0x04;
const SCRATCH: u64 = 0x08;
const DOORBELL: u64 = 0x0c;
const DOORBELLS: u64 = 0x10;
/// Bytes that the registers take, from the region's start.
pub(super) const SIZE: u64 = 0x14;

const IDENTITY_VALUE: u32 = 0x7370_6172;

/// 32-bit registers at the start of region 0.
#[derive(Debug, Default)]
pub(super) struct Registers {
    /// Pieces that were read or written in region 0 through the descriptor.
    pub(super) accesses: u32,
    scratch: u32,
    doorbells: u32,
}

impl Registers {
    /// Reads a part of one register.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) {
        let (register, within) = split(offset);
        let value = self.value(register).to_le_bytes();
        bytes.iter_mut().zip(value.iter().skip(within)).for_each(|(byte, value)| *byte = *value);
    }

    /// Writes a part of one register. The other bytes are written as they read. Returns what was
    /// written to the doorbell.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Option<u32> {
        let (register, within) = split(offset);
        let mut value = self.value(register).to_le_bytes();
        value.iter_mut().skip(within).zip(bytes).for_each(|(value, byte)| *value = *byte);
        let value = u32::from_le_bytes(value);
        match register {
            SCRATCH => self.scratch = value,
            DOORBELL => self.doorbells = self.doorbells.wrapping_add(1),
            _ => {}
        }
        (register == DOORBELL).then_some(value)
    }

    fn value(&self, register: u64) -> u32 {
        match register {
            IDENTITY => IDENTITY_VALUE,
            ACCESSES => self.accesses,
            SCRATCH => self.scratch,
            DOORBELLS => self.doorbells,
            _ => 0,
        }
    }
}

/// The register that an offset lies in, and the byte there.
fn split(offset: u64) -> (u64, usize) {
    let within = offset % 4;
    (offset.saturating_sub(within), usize::try_from(within).unwrap_or_default())
}
