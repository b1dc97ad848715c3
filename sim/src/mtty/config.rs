//! The card's configuration space.

/// Bytes that it reports. A read may reach one further: the kernel driver does not check, and the
/// kernel's allocator gave it one more.
pub(super) const SIZE: u64 = 0xff;

const BAR0: u64 = 0x10;
const BAR1: u64 = 0x14;
const BAR2: u64 = 0x18;
const BAR4: u64 = 0x20;
const INTERRUPT_LINE: u64 = 0x3c;
/// What sizing a BAR of 8 bytes reads back.
const BAR_MASK: u32 = !7;
/// The low bits of a BAR, which say that it is for I/O.
const BAR_KIND: u32 = 3;

/// The configuration space of a card. What it holds is fixed, but for BARs and interrupt line.
#[derive(Debug)]
pub(super) struct Config {
    bytes: [u8; 0x100],
    ports: u8,
}

impl Config {
    pub(super) fn new(ports: u8) -> Self {
        let mut config = Self { bytes: [0; 0x100], ports };
        config.set(0x00, &[0x48, 0x43, 0x53, 0x32]);
        // Command: I/O is on and stays on. Status: no capability list.
        config.set(0x04, &[0x01, 0x00, 0x00, 0x02]);
        // Revision 0x10, a 16550-compatible serial controller.
        config.set(0x08, &[0x10, 0x02, 0x00, 0x07]);
        config.set(BAR0, &[1]);
        if ports == 2 {
            config.set(BAR1, &[1]);
        }
        config.set(0x2c, &[0x48, 0x43, 0x53, 0x32]);
        config.set(0x3d, &[1]);
        config.set(0x40, &[0x23, 0, 0, 0x80, 0x23, 0, 0, 0, 0x23, 0, 0, 0, 0x23]);
        config.set(0x60, b"PCI Serial/UART");
        config
    }

    /// Reads what there is; the rest of `bytes` stays.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) {
        for (byte, found) in bytes.iter_mut().zip(self.from(offset)) {
            *byte = *found;
        }
    }

    /// Only the offset counts, whatever the width: a narrow write of a BAR is filled up with zeroes.
    /// (The kernel driver fills it up with what lies on its stack.)
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut whole = [0; 4];
        for (byte, given) in whole.iter_mut().zip(bytes) {
            *byte = *given;
        }
        let value = u32::from_le_bytes(whole);
        match offset {
            BAR1 if self.ports == 1 => self.set(BAR1, &[0; 4]),
            BAR0 | BAR1 => {
                let address = if value == u32::MAX { value & BAR_MASK } else { value };
                let mut before = [0; 4];
                self.read(offset, &mut before);
                let kind = u32::from_le_bytes(before) & BAR_KIND;
                self.set(offset, &(address | kind).to_le_bytes());
            }
            BAR2..=BAR4 if offset.is_multiple_of(4) => self.set(offset, &[0; 4]),
            INTERRUPT_LINE => self.set(INTERRUPT_LINE, bytes.get(..1).unwrap_or_default()),
            _ => {}
        }
    }

    fn set(&mut self, offset: u64, bytes: &[u8]) {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        for (byte, given) in self.bytes.iter_mut().skip(at).zip(bytes) {
            *byte = *given;
        }
    }

    fn from(&self, offset: u64) -> &[u8] {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        self.bytes.get(at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read32(config: &Config, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        config.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn it_is_a_serial_card() {
        let config = Config::new(2);
        assert_eq!(read32(&config, 0x00), 0x3253_4348);
        assert_eq!(read32(&config, 0x04), 0x0200_0001);
        assert_eq!(read32(&config, 0x08), 0x0700_0210);
        assert_eq!([read32(&config, 0x10), read32(&config, 0x14)], [1, 1]);
        assert_eq!(read32(&config, 0x2c), 0x3253_4348);
        assert_eq!(read32(&config, 0x3c), 0x0000_0100);
        assert_eq!([read32(&config, 0x40), read32(&config, 0x4c)], [0x8000_0023, 0x23]);
        assert_eq!(read32(&config, 0x60).to_le_bytes(), *b"PCI ");
        assert_eq!(read32(&Config::new(1), 0x14), 0);
    }

    #[test]
    fn bars_answer_sizing_and_keep_their_kind() {
        let mut config = Config::new(2);
        for bar in [0x10, 0x14] {
            config.write(bar, &[0xff; 4]);
            assert_eq!(read32(&config, bar), 0xffff_fff9);
            config.write(bar, &0xc150u32.to_le_bytes());
            assert_eq!(read32(&config, bar), 0xc151);
        }
        config.write(0x18, &[0xff; 4]);
        assert_eq!(read32(&config, 0x18), 0);
        let mut single = Config::new(1);
        single.write(0x14, &[0xff; 4]);
        assert_eq!(read32(&single, 0x14), 0);
    }

    #[test]
    fn nothing_else_can_be_written_but_the_interrupt_line() {
        let mut config = Config::new(2);
        let before = config.bytes;
        for offset in (0..0x100).filter(|offset| !(0x10..0x24).contains(offset)) {
            config.write(offset, &[0xa5]);
        }
        let mut expected = before;
        expected[0x3c] = 0xa5;
        assert_eq!(config.bytes, expected);
    }

    #[test]
    fn a_read_reaches_one_byte_over_the_end() {
        let mut bytes = [0xee; 8];
        Config::new(1).read(0xfc, &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 0xee, 0xee, 0xee, 0xee]);
    }
}
