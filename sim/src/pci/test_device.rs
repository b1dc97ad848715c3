//! QEMU's device for tests, in software.

use std::io;

use rustix::io::Errno;
use vfio_common::device::{DeviceFlags, DeviceInfo};
use vfio_common::pci_config::{Command, PciIds, REGION_INDEX};

use super::ConfigSpace;
use crate::errno::failed;
use crate::model::{Board, Layout, Model, RegionModel};
use crate::tree::PciFunction;

const MEMORY: u32 = 0;
const PORTS: u32 = 1;
const MEMORY_SIZE: u32 = 0x1000;
const PORTS_SIZE: u32 = 0x100;
const IDS: PciIds = PciIds {
    vendor: 0x1b36,
    device: 0x0005,
    subsystem_vendor: 0x1af4,
    subsystem_device: 0x1100,
    class: 0x00_ff00,
    revision: 0,
};

/// What counts, in each of its tests.
const DATA: u8 = 0xfa;
const ANY_DATA: u8 = 0xce;
const NAME: usize = 16;

/// QEMU's `pci-testdev` (`docs/specs/pci-testdev.rst` of QEMU): a PCI function without interrupts, with
/// 4 KiB of memory in BAR 0 and 256 I/O ports in BAR 1, which answer alike. Its memory cannot be mapped
/// here. As with vfio-pci, memory fails with `EIO` and ports read all ones while they are off in the
/// command register.
///
/// | register | bits | access | |
/// |---|---|---|---|
/// | 0x00 | 8 | rw | chooses a test: 0, 1 or 2; what is chosen reads back as 3 more on the ports |
/// | 0x01 | 8 | ro | width in bytes of the writes that are counted |
/// | 0x04 | 32 | ro | where the writes go that are counted |
/// | 0x08 | 8 | ro | what they write; test 1 counts any |
/// | 0x0c | 32 | ro | how many there were |
/// | 0x10 | | ro | the test's name |
///
/// Before a test is chosen, everything reads 0.
#[derive(Debug)]
pub struct TestDevice {
    config: ConfigSpace,
    tests: [Test; 6],
    chosen: Option<usize>,
}

#[derive(Debug)]
struct Test {
    /// What reads see.
    header: Vec<u8>,
    place: u64,
    data: Option<u8>,
    count: u32,
}

impl TestDevice {
    /// A new device.
    #[must_use]
    pub fn new() -> Self {
        let config = ConfigSpace::new(IDS)
            .memory_bar(0, MEMORY_SIZE)
            .io_bar(1, PORTS_SIZE)
            .with_command(Command::MEMORY | Command::IO);
        let tests = std::array::from_fn(|index| Test::new(u8::try_from(index).unwrap_or(0)));
        Self { config, tests, chosen: None }
    }

    /// How it looks in sysfs.
    pub fn function(address: impl Into<String>) -> PciFunction {
        PciFunction::with_ids(address, IDS)
    }

    fn read_registers(&self, offset: u64, bytes: &mut [u8]) {
        let test = self.chosen.and_then(|chosen| self.tests.get(chosen));
        let Some(test) = test else { return };
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        for (byte, found) in bytes.iter_mut().zip(test.header.iter().skip(at)) {
            *byte = *found;
        }
    }

    fn write_registers(&mut self, region: u32, offset: u64, bytes: &[u8]) {
        let [value] = bytes else { return };
        if offset == 0 {
            let first = if region == PORTS { 3 } else { 0 };
            self.chosen = (*value < 3).then(|| first + usize::from(*value));
            if let Some(test) = self.chosen.and_then(|chosen| self.tests.get_mut(chosen)) {
                test.set_count(0);
            }
        } else if let Some(test) = self.chosen.and_then(|chosen| self.tests.get_mut(chosen))
            && offset == test.place
            && test.data.is_none_or(|data| data == *value)
        {
            test.set_count(test.count.wrapping_add(1));
        }
    }
}

impl Test {
    fn new(index: u8) -> Self {
        let (kind, half) = if index < 3 { ("mmio", 0x800) } else { ("portio", 0x80) };
        let (name, data) = match index % 3 {
            0 => ("no-eventfd", Some(DATA)),
            1 => ("wildcard-eventfd", None),
            _ => ("datamatch-eventfd", Some(DATA)),
        };
        let place = half + u32::from(index);
        let mut header = vec![index, 1, 0, 0];
        header.extend(place.to_le_bytes());
        header.extend([data.unwrap_or(ANY_DATA), 0, 0, 0]);
        header.extend([0; 4]);
        debug_assert_eq!(header.len(), NAME);
        header.extend(format!("{kind}-{name}\0").bytes());
        Self { header, place: place.into(), data, count: 0 }
    }

    fn set_count(&mut self, count: u32) {
        self.count = count;
        let place = self.header.iter_mut().skip(NAME - 4);
        place.zip(count.to_le_bytes()).for_each(|(byte, given)| *byte = given);
    }
}

impl Default for TestDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl Model for TestDevice {
    fn layout(&self) -> Layout {
        Layout::by_index([
            RegionModel::registers(MEMORY, MEMORY_SIZE.into()),
            RegionModel::registers(PORTS, PORTS_SIZE.into()),
            RegionModel::unused(2),
            RegionModel::unused(3),
            RegionModel::unused(4),
            RegionModel::unused(5),
            RegionModel::unused(6),
            RegionModel::registers(REGION_INDEX, ConfigSpace::SIZE),
        ])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PCI | DeviceFlags::RESET, 9, 5))
    }

    fn read(&mut self, _: &Board, region: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let command = self.config.command();
        match region {
            REGION_INDEX => self.config.read(offset, bytes),
            MEMORY if !command.contains(Command::MEMORY) => return Err(failed(Errno::IO)),
            PORTS if !command.contains(Command::IO) => bytes.fill(0xff),
            _ => self.read_registers(offset, bytes),
        }
        Ok(())
    }

    fn write(&mut self, _: &Board, region: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let command = self.config.command();
        match region {
            REGION_INDEX => self.config.write(offset, bytes),
            MEMORY if !command.contains(Command::MEMORY) => return Err(failed(Errno::IO)),
            PORTS if !command.contains(Command::IO) => {}
            _ => self.write_registers(region, offset, bytes),
        }
        Ok(())
    }

    /// Configuration space stays as it is, as a user of vfio-pci sees it.
    fn reset(&mut self, _: &Board) -> io::Result<()> {
        self.chosen = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vfio_common::device::Device;

    use super::*;
    use crate::SoftDevice;

    fn device() -> Device {
        Device::new("test device", Arc::new(SoftDevice::new(TestDevice::new()).unwrap())).unwrap()
    }

    #[test]
    fn writes_that_match_are_counted_on_memory_and_ports() {
        let device = device();
        for (bar, half, first) in [(0, 0x800, 0), (1, 0x80, 3)] {
            let registers = device.region(bar).unwrap();
            assert_eq!(registers.read32(4).unwrap(), 0, "no test is chosen");
            for (test, counted) in [(0, 2), (1, 3), (2, 2)] {
                registers.write8(0, test).unwrap();
                let number = first + u32::from(test);
                assert_eq!(registers.read32(0).unwrap(), 0x100 | number);
                assert_eq!(registers.read32(4).unwrap(), half + number);
                let place = u64::from(half + number);
                for value in [0xfa, 0x11, 0xfa] {
                    registers.write8(place, value).unwrap();
                }
                registers.write8(place + 1, 0xfa).unwrap();
                assert_eq!(registers.read32(12).unwrap(), counted, "bar {bar}, test {test}");
            }
            registers.write8(0, 7).unwrap();
            assert_eq!(registers.read32(4).unwrap(), 0);
        }
    }

    #[test]
    fn memory_and_ports_answer_when_they_are_on() {
        let device = device();
        let config = device.pci_config().unwrap().unwrap();
        let [memory, ports] = [0, 1].map(|bar| device.region(bar).unwrap());
        assert_eq!((memory.read8(0).unwrap(), ports.read8(0).unwrap()), (0, 0));
        config.set_command(Command::empty()).unwrap();
        assert!(memory.read8(0).is_err() && memory.write8(0, 1).is_err());
        ports.write8(0, 1).unwrap();
        assert_eq!(ports.read32(0).unwrap(), u32::MAX);
        config.set_command(Command::MEMORY).unwrap();
        assert_eq!(memory.read32(0).unwrap(), 0, "the write to the ports was lost");
        assert_eq!(ports.read32(0).unwrap(), u32::MAX);
        config.set_command(Command::IO).unwrap();
        assert_eq!(ports.read8(0).unwrap(), 0);
        assert!(memory.read8(0).is_err());
    }
}
