//! The configuration space of the sparse device.

/// Bytes that it has.
pub(super) const SIZE: u64 = 0x100;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BARS: usize = 0x10;
const BARS_END: usize = 0x28;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITY_POINTER: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const VENDOR_CAPABILITY: u8 = 0x40;
const MSIX_CAPABILITY: u8 = 0x50;

const VENDOR: u16 = 0x6d64;
const DEVICE: u16 = 0x7370;
const STATUS_CAPABILITY_LIST: u8 = 1 << 4;
const REVISION: u8 = 1;
const CLASS: [u8; 3] = [0x00, 0x80, 0x08];
/// The BAR that holds the MSI-X table and its pending bits.
const MSIX_BAR: u32 = 1;
const MSIX_TABLE: u32 = 0x2000;
const MSIX_PENDING: u32 = 0x3000;

/// The configuration space, and which of its bits can be written.
#[derive(Debug)]
pub(super) struct Config {
    bytes: [u8; 0x100],
    writable: [u8; 0x100],
}

impl Config {
    /// A function with BARs of these sizes, in bytes, each a power of two or 0, and with MSI-X.
    pub(super) fn new(bars: [u32; 6], msix_vectors: u8) -> Self {
        let mut bytes = [0; 0x100];
        put(&mut bytes, 0, VENDOR.to_le_bytes());
        put(&mut bytes, 2, DEVICE.to_le_bytes());
        put(&mut bytes, STATUS, [STATUS_CAPABILITY_LIST]);
        put(&mut bytes, 8, [REVISION]);
        put(&mut bytes, 9, CLASS);
        put(&mut bytes, SUBSYSTEM, VENDOR.to_le_bytes());
        put(&mut bytes, SUBSYSTEM + 2, [1, 0]);
        put(&mut bytes, CAPABILITY_POINTER, [VENDOR_CAPABILITY]);
        let vendor_length = MSIX_CAPABILITY - VENDOR_CAPABILITY;
        put(&mut bytes, VENDOR_CAPABILITY.into(), [0x09, MSIX_CAPABILITY, vendor_length]);
        let msix = usize::from(MSIX_CAPABILITY);
        put(&mut bytes, msix, [0x11, 0, msix_vectors.saturating_sub(1), 0]);
        put(&mut bytes, msix + 4, (MSIX_TABLE | MSIX_BAR).to_le_bytes());
        put(&mut bytes, msix + 8, (MSIX_PENDING | MSIX_BAR).to_le_bytes());

        let mut writable = [0; 0x100];
        // I/O, memory and bus mastering; INTx disable.
        put(&mut writable, COMMAND, [0x07, 0x04]);
        put(&mut writable, INTERRUPT_LINE, [0xff]);
        for (at, size) in (BARS..BARS_END).step_by(4).zip(bars) {
            // Address bits below the size read 0: that tells the size.
            let address = if size == 0 { 0 } else { !size.saturating_sub(1) };
            put(&mut writable, at, address.to_le_bytes());
        }
        Self { bytes, writable }
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) {
        let found = self.bytes.iter().skip(place(offset));
        bytes.iter_mut().zip(found).for_each(|(byte, found)| *byte = *found);
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let kept = self.bytes.iter_mut().zip(&self.writable).skip(place(offset));
        for ((kept, writable), given) in kept.zip(bytes) {
            *kept = (*kept & !writable) | (given & writable);
        }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn put<const N: usize>(bytes: &mut [u8; 0x100], at: usize, value: [u8; N]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = value);
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn read32(config: &Config, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        config.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn bars_answer_sizing_and_the_rest_is_kept() {
        let mut config = Config::new([0x8000, 0x4000, 0x1000, 0x2000, 0x100, 0], 8);
        let before: Vec<_> = (0..0x100).step_by(4).map(|at| read32(&config, at)).collect();
        config.write(0, &[0xff; 0x100]);
        let sizes: Vec<_> = (0x10..0x28).step_by(4).map(|at| read32(&config, at)).collect();
        let expected = [0xffff_8000, 0xffff_c000, 0xffff_f000, 0xffff_e000, 0xffff_ff00, 0];
        assert_eq!(sizes, expected);
        assert_eq!(read32(&config, 0x04), 0x0010_0407);
        assert_eq!(read32(&config, 0x3c), 0xff);
        for (at, before) in (0..0x100).step_by(4).zip(before) {
            if ![0x04, 0x3c].contains(&at) && !(0x10..0x28).contains(&at) {
                assert_eq!(read32(&config, at), before, "{at:#x}");
            }
        }
    }
}
