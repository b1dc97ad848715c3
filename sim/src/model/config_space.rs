//! The configuration space of a PCI function in software.

use vfio_common::pci_config::{Command, PciIds};

const LENGTH: usize = 0x100;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const BARS: usize = 0x10;
const BAR_COUNT: usize = 6;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITY_POINTER: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
const FIRST_CAPABILITY: usize = 0x40;

const HAS_CAPABILITIES: u8 = 1 << 4;
const BAR_IS_IO: u32 = 1;
/// The lowest bits of an I/O BAR are no address.
const IO_ADDRESS: u32 = !3;

/// The configuration space of a PCI function: 256 bytes, and which of their bits can be written. It
/// answers the sizing of BARs, as the kernel's virtual configuration space does.
///
/// ```
/// use vfio_common::pci_config::PciIds;
/// use vfio_sim::model::ConfigSpace;
///
/// let ids = PciIds {
///     vendor: 0x1234, device: 0x5678, subsystem_vendor: 0, subsystem_device: 0,
///     class: 0x08_80_00, revision: 1,
/// };
/// // 4 KiB of registers, and an MSI-X table of 8 vectors behind them.
/// let config = ConfigSpace::new(ids).memory_bar(0, 0x2000).msix(8, (0, 0x1000), (0, 0x1800));
/// let mut vendor = [0; 2];
/// config.read(0, &mut vendor);
/// assert_eq!(vendor, [0x34, 0x12]);
/// ```
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    bytes: [u8; LENGTH],
    writable: [u8; LENGTH],
    /// Where the pointer to the next capability goes, and where that will lie.
    link: usize,
    free: usize,
}

impl ConfigSpace {
    /// Bytes that it has: the size of a region for it.
    pub const SIZE: u64 = LENGTH as u64;

    /// A function with these ids, without BARs, interrupts and capabilities. Of the command register
    /// I/O, memory, bus mastering and the bit that disables INTx can be written; all are off.
    #[must_use]
    pub fn new(ids: PciIds) -> Self {
        let (bytes, writable) = ([0; LENGTH], [0; LENGTH]);
        let mut config = Self { bytes, writable, link: CAPABILITY_POINTER, free: FIRST_CAPABILITY };
        config.put(0, ids.vendor.to_le_bytes());
        config.put(2, ids.device.to_le_bytes());
        config.put(REVISION, [ids.revision]);
        let [low, middle, high, _] = ids.class.to_le_bytes();
        config.put(CLASS, [low, middle, high]);
        config.put(SUBSYSTEM, ids.subsystem_vendor.to_le_bytes());
        config.put(SUBSYSTEM + 2, ids.subsystem_device.to_le_bytes());
        let switches = Command::IO | Command::MEMORY | Command::BUS_MASTER | Command::INTX_DISABLE;
        config.let_write(COMMAND, switches.bits().to_le_bytes());
        config.let_write(INTERRUPT_LINE, [0xff]);
        config
    }

    /// With a 32-bit memory BAR of `size` bytes, a power of two. BARs that there are not are left out.
    #[must_use]
    pub fn memory_bar(self, index: usize, size: u32) -> Self {
        self.bar(index, 0, !size.saturating_sub(1))
    }

    /// With an I/O BAR of `size` bytes, a power of two.
    #[must_use]
    pub fn io_bar(self, index: usize, size: u32) -> Self {
        self.bar(index, BAR_IS_IO, !size.saturating_sub(1) & IO_ADDRESS)
    }

    fn bar(mut self, index: usize, kind: u32, address: u32) -> Self {
        if index < BAR_COUNT {
            let at = BARS.saturating_add(index.saturating_mul(4));
            self.put(at, kind.to_le_bytes());
            self.let_write(at, address.to_le_bytes());
        }
        self
    }

    /// With an interrupt pin: INTA.
    #[must_use]
    pub fn intx(mut self) -> Self {
        self.put(INTERRUPT_PIN, [1]);
        self
    }

    /// With the command register in this state.
    #[must_use]
    pub fn command_register(mut self, command: Command) -> Self {
        self.put(COMMAND, command.bits().to_le_bytes());
        self
    }

    /// With a capability: its id, and what follows the pointer to the next. One for which there is no
    /// room is left out.
    #[must_use]
    pub fn capability(mut self, id: u8, body: &[u8]) -> Self {
        let (at, length) = (self.free, body.len().saturating_add(2));
        let end = at.saturating_add(length);
        let Some(pointer) = u8::try_from(at).ok().filter(|_| end <= LENGTH) else { return self };
        self.put(self.link, [pointer]);
        self.put(STATUS, [HAS_CAPABILITIES]);
        self.put(at, [id, 0]);
        for (place, byte) in self.bytes.iter_mut().skip(at).skip(2).zip(body) {
            *place = *byte;
        }
        self.link = at.saturating_add(1);
        self.free = end.next_multiple_of(4);
        self
    }

    /// With MSI: one vector, a 32-bit address.
    #[must_use]
    pub fn msi(self) -> Self {
        self.capability(0x05, &[0; 8])
    }

    /// With MSI-X: 1 to 2048 `vectors`; `table` and `pending` are the BAR and the offset there, a
    /// multiple of 8.
    #[must_use]
    pub fn msix(self, vectors: u16, table: (u8, u32), pending: (u8, u32)) -> Self {
        let place = |(bar, offset): (u8, u32)| (offset & !7 | u32::from(bar & 7)).to_le_bytes();
        let [low, high] = vectors.clamp(1, 2048).saturating_sub(1).to_le_bytes();
        self.capability(0x11, &[&[low, high], place(table).as_slice(), &place(pending)].concat())
    }

    /// The command register as it is now.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut bytes = [0; 2];
        self.read(COMMAND as u64, &mut bytes);
        Command::from_bits_retain(u16::from_le_bytes(bytes))
    }

    /// Fills `bytes` from `offset`; what lies behind the end stays as it is.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) {
        let found = self.bytes.iter().skip(place(offset));
        bytes.iter_mut().zip(found).for_each(|(byte, found)| *byte = *found);
    }

    /// Writes the bits from `offset` on that can be written.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let kept = self.bytes.iter_mut().zip(&self.writable).skip(place(offset));
        for ((kept, writable), given) in kept.zip(bytes) {
            *kept = (*kept & !writable) | (given & writable);
        }
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        put(&mut self.bytes, at, value);
    }

    fn let_write<const N: usize>(&mut self, at: usize, bits: [u8; N]) {
        put(&mut self.writable, at, bits);
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn put<const N: usize>(bytes: &mut [u8; LENGTH], at: usize, value: [u8; N]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: PciIds = PciIds {
        vendor: 0x1234,
        device: 0x5678,
        subsystem_vendor: 0x9abc,
        subsystem_device: 0xdef0,
        class: 0x01_02_03,
        revision: 4,
    };

    fn read32(config: &ConfigSpace, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        config.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn bars_answer_sizing_and_the_rest_is_kept() {
        let mut config = ConfigSpace::new(IDS).memory_bar(0, 0x8000).io_bar(1, 8).memory_bar(9, 8);
        let before: Vec<_> = (0..0x100).step_by(4).map(|at| read32(&config, at)).collect();
        assert_eq!(before[..3], [0x5678_1234, 0, 0x0102_0304]);
        assert_eq!(before[0x2c / 4], 0xdef0_9abc);
        config.write(0, &[0xff; 0x200]);
        let sizes: Vec<_> = (0x10..0x28).step_by(4).map(|at| read32(&config, at)).collect();
        assert_eq!(sizes, [0xffff_8000, 0xffff_fff9, 0, 0, 0, 0]);
        assert_eq!(read32(&config, 0x04), 0x0000_0407);
        assert_eq!(read32(&config, 0x3c), 0xff);
        for (at, before) in (0..0x100).step_by(4).zip(before) {
            if ![0x04, 0x3c].contains(&at) && !(0x10..0x28).contains(&at) {
                assert_eq!(read32(&config, at), before, "{at:#x}");
            }
        }
    }

    #[test]
    fn capabilities_are_linked_and_those_without_room_left_out() {
        let config = ConfigSpace::new(IDS).msi().msix(8, (1, 0x2000), (1, 0x3000));
        assert_eq!(read32(&config, 0x04) >> 16, 0x10);
        assert_eq!((read32(&config, 0x34), read32(&config, 0x40)), (0x40, 0x4c05));
        assert_eq!(read32(&config, 0x4c), 0x0007_0011);
        assert_eq!((read32(&config, 0x50), read32(&config, 0x54)), (0x2001, 0x3001));
        let full = config.capability(9, &[7; 0x100]);
        assert_eq!(read32(&full, 0x4c), 0x0007_0011, "no pointer to it");
        let last = full.capability(9, &[7; 0xa6]);
        assert_eq!((read32(&last, 0x4c), read32(&last, 0xfc)), (0x0007_5811, 0x0707_0707));
    }
}
