//! The configuration space of a PCI function.

use vfio_common::pci_config::{Capability, Command, MsixTable, PciIds};

/// Bytes of configuration space.
const SIZE: usize = 0x100;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const BARS: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITY_POINTER: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
const FIRST_CAPABILITY: u8 = 0x40;

const STATUS_CAPABILITY_LIST: u8 = 1 << 4;
const BAR_IS_IO: u32 = 1;
/// Bits of a BAR that say what it is.
const BAR_KIND: u32 = 0xf;

/// The configuration space of a PCI function, 256 bytes, as a program sees it through VFIO. A model
/// passes accesses to its configuration region on to it.
///
/// ```
/// use vfio_common::pci_config::{Command, PciIds};
/// use vfio_sim::pci::ConfigSpace;
///
/// let ids = PciIds {
///     vendor: 0x1234,
///     device: 0x11e8,
///     subsystem_vendor: 0x1af4,
///     subsystem_device: 0x1100,
///     class: 0x00_ff00,
///     revision: 0x10,
/// };
/// let mut config = ConfigSpace::new(ids).memory_bar(0, 0x10_0000).interrupt_pin(1);
/// let mut vendor = [0; 2];
/// config.read(0, &mut vendor);
/// assert_eq!(vendor, [0x34, 0x12]);
/// config.write(4, &Command::MEMORY.bits().to_le_bytes());
/// assert_eq!(config.command(), Command::MEMORY);
/// ```
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    /// Bits that a program can write.
    writable: [u8; SIZE],
    /// The byte that points to the next capability.
    link: usize,
    /// Where the next capability goes.
    free: u8,
}

impl ConfigSpace {
    /// Bytes that it has.
    pub const SIZE: u64 = SIZE as u64;

    /// A function with these ids, without BARs, interrupts or capabilities. Nothing is switched on in its
    /// command register.
    #[must_use]
    pub fn new(ids: PciIds) -> Self {
        let mut config = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
            link: CAPABILITY_POINTER,
            free: FIRST_CAPABILITY,
        };
        let [interface, sub, base, _] = ids.class.to_le_bytes();
        put(&mut config.bytes, 0, ids.vendor.to_le_bytes());
        put(&mut config.bytes, 2, ids.device.to_le_bytes());
        put(&mut config.bytes, REVISION, [ids.revision]);
        put(&mut config.bytes, CLASS, [interface, sub, base]);
        put(&mut config.bytes, SUBSYSTEM, ids.subsystem_vendor.to_le_bytes());
        put(&mut config.bytes, SUBSYSTEM + 2, ids.subsystem_device.to_le_bytes());
        let command = Command::IO | Command::MEMORY | Command::BUS_MASTER | Command::INTX_DISABLE;
        put(&mut config.writable, COMMAND, command.bits().to_le_bytes());
        put(&mut config.writable, INTERRUPT_LINE, [0xff]);
        config
    }

    /// Gives it a 32-bit memory BAR of `size` bytes, a power of two from 16.
    #[must_use]
    pub fn memory_bar(mut self, index: usize, size: u32) -> Self {
        self.bar(index, size, 0);
        self
    }

    /// Gives it an I/O BAR of `size` bytes, a power of two from 16.
    #[must_use]
    pub fn io_bar(mut self, index: usize, size: u32) -> Self {
        self.bar(index, size, BAR_IS_IO);
        self
    }

    fn bar(&mut self, index: usize, size: u32, kind: u32) {
        let at = BARS.saturating_add(index.min(5).saturating_mul(4));
        // Address bits below the size read 0: that tells the size.
        let address = !size.saturating_sub(1) & !BAR_KIND;
        put(&mut self.bytes, at, kind.to_le_bytes());
        put(&mut self.writable, at, address.to_le_bytes());
    }

    /// What its command register holds at first. The kernel switches on memory and I/O where there are
    /// such BARs, and not bus mastering, when VFIO opens a function.
    #[must_use]
    pub fn with_command(mut self, command: Command) -> Self {
        put(&mut self.bytes, COMMAND, command.bits().to_le_bytes());
        self
    }

    /// Gives it INTx, on this pin: 1 to 4.
    #[must_use]
    pub fn interrupt_pin(mut self, pin: u8) -> Self {
        put(&mut self.bytes, INTERRUPT_PIN, [pin]);
        self
    }

    /// Appends a capability: `body` follows its id and its link. It cannot be written.
    #[must_use]
    pub fn capability(mut self, id: u8, body: &[u8]) -> Self {
        let at = usize::from(self.free);
        let length = body.len().saturating_add(2).next_multiple_of(4);
        let link = self.bytes.iter_mut().skip(self.link);
        link.take(1).for_each(|link| *link = self.free);
        put(&mut self.bytes, STATUS, [STATUS_CAPABILITY_LIST]);
        put(&mut self.bytes, at, [id, 0]);
        let place = self.bytes.iter_mut().skip(at.saturating_add(2));
        place.zip(body).for_each(|(byte, given)| *byte = *given);
        self.link = at.saturating_add(1);
        self.free = self.free.saturating_add(u8::try_from(length).unwrap_or(u8::MAX));
        self
    }

    /// Appends the MSI capability: one vector, a 32-bit address.
    #[must_use]
    pub fn msi(self) -> Self {
        self.capability(Capability::MSI, &[0; 8])
    }

    /// Appends the MSI-X capability.
    #[must_use]
    pub fn msix(self, msix: MsixTable) -> Self {
        let place = |offset: u64, bar: u32| {
            (u32::try_from(offset).unwrap_or(u32::MAX) & !7 | bar & 7).to_le_bytes()
        };
        let [low, high] = (msix.vectors.saturating_sub(1) & 0x7ff).to_le_bytes();
        let table = place(msix.offset, msix.bar);
        let pending = place(msix.pending_offset, msix.pending_bar);
        let body = [[low, high].as_slice(), &table, &pending].concat();
        self.capability(Capability::MSIX, &body)
    }

    /// Reads what there is; the rest of `bytes` stays.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) {
        let found = self.bytes.iter().skip(place(offset));
        bytes.iter_mut().zip(found).for_each(|(byte, found)| *byte = *found);
    }

    /// Writes what can be written.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let kept = self.bytes.iter_mut().zip(&self.writable).skip(place(offset));
        for ((kept, writable), given) in kept.zip(bytes) {
            *kept = (*kept & !writable) | (given & writable);
        }
    }

    /// The command register.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut bytes = [0; 2];
        self.read(COMMAND as u64, &mut bytes);
        Command::from_bits_retain(u16::from_le_bytes(bytes))
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn put<const N: usize>(bytes: &mut [u8; SIZE], at: usize, value: [u8; N]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read32(config: &ConfigSpace, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        config.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn config() -> ConfigSpace {
        let ids = PciIds {
            vendor: 0x6d64,
            device: 0x7370,
            subsystem_vendor: 0x6d64,
            subsystem_device: 1,
            class: 0x08_8000,
            revision: 3,
        };
        let msix = MsixTable {
            vectors: 8,
            bar: 1,
            offset: 0x2000,
            pending_bar: 1,
            pending_offset: 0x3000,
        };
        ConfigSpace::new(ids)
            .memory_bar(0, 0x8000)
            .io_bar(1, 0x100)
            .interrupt_pin(1)
            .capability(Capability::VENDOR_SPECIFIC, &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .msix(msix)
    }

    #[test]
    fn it_is_laid_out_as_the_specification_says() {
        let config = config();
        let expected = [
            (0x00, 0x7370_6d64),
            (0x04, 0x0010_0000),
            (0x08, 0x0880_0003),
            (0x10, 0),
            (0x14, 1),
            (0x2c, 0x0001_6d64),
            (0x34, 0x40),
            (0x3c, 0x0100),
            (0x40, 0x0010_5009),
            (0x50, 0x0007_0011),
            (0x54, 0x2001),
            (0x58, 0x3001),
        ];
        for (offset, value) in expected {
            assert_eq!(read32(&config, offset), value, "{offset:#x}");
        }
    }

    #[test]
    fn bars_answer_sizing_and_the_rest_is_kept() {
        let mut config = config();
        let before = config.clone();
        config.write(0, &[0xff; 0x200]);
        assert_eq!(read32(&config, 0x04), 0x0010_0407);
        assert_eq!([read32(&config, 0x10), read32(&config, 0x14)], [0xffff_8000, 0xffff_ff01]);
        assert_eq!(read32(&config, 0x3c), 0x01ff);
        for at in (0..0x100).step_by(4).filter(|at| ![0x04, 0x10, 0x14, 0x3c].contains(at)) {
            assert_eq!(read32(&config, at), read32(&before, at), "{at:#x}");
        }
    }
}
