//! QEMU's educational device, in software.

mod engine;
mod registers;

use std::io;

use rustix::io::Errno;
use vfio_common::device::{DeviceFlags, DeviceInfo, IrqAction, IrqFlags, IrqInfo, IrqRequest};
use vfio_common::irq::pci;
use vfio_common::pci_config::{Command, PciIds, REGION_INDEX};

use self::registers::Registers;
use crate::errno::failed;
use crate::model::{Board, Layout, Model, RegionModel};
use crate::pci::ConfigSpace;
use crate::tree::PciFunction;

const BAR0: u32 = 0;
const BAR0_SIZE: u32 = 1 << 20;
const ROM: u32 = 6;

const IDS: PciIds = PciIds {
    vendor: 0x1234,
    device: 0x11e8,
    subsystem_vendor: 0x1af4,
    subsystem_device: 0x1100,
    class: 0x00_ff_00,
    revision: 0x10,
};

/// QEMU's educational PCI device, `edu`, as vfio-pci shows it (`docs/specs/edu.rst` and
/// `hw/misc/edu.c` of QEMU): an inverter, a factorial, an interrupt to raise at will, and a DMA engine
/// with a buffer of its own. Its interrupts are INTx, which stays up until all is acknowledged, and one
/// vector of MSI. It cannot be reset.
///
/// The real one can be mapped. Mapped memory of a software device has no behaviour, so this one takes
/// every access by read and write; a driver that uses a [`Region`](vfio_common::region::Region) does not
/// notice. And it is never busy: what takes the real one 100 ms is done when it is started.
///
/// ```
/// use std::sync::Arc;
///
/// use vfio_common::device::Device;
/// use vfio_common::pci_config::Command;
/// use vfio_sim::SoftDevice;
/// use vfio_sim::pci::Edu;
///
/// let device = Device::new("edu", Arc::new(SoftDevice::new(Edu::new())?))?;
/// let registers = device.region(0)?;
/// assert!(registers.read32(0).is_err(), "it does not answer yet");
/// let config = device.pci_config()?.ok_or("no PCI function")?;
/// config.set_command(config.command()? | Command::MEMORY)?;
/// assert_eq!(registers.read32(0)?, 0x0100_00ed);
/// registers.write32(4, 0x1234_5678)?;
/// assert_eq!(registers.read32(4)?, !0x1234_5678);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Edu {
    config: ConfigSpace,
    registers: Registers,
}

impl Edu {
    /// A new device, with memory decode and bus mastering off.
    #[must_use]
    pub fn new() -> Self {
        let config = ConfigSpace::new(IDS).memory_bar(0, BAR0_SIZE).interrupt_pin(1).msi();
        Self { config, registers: Registers::default() }
    }

    /// How it looks in sysfs.
    pub fn function(address: impl Into<String>) -> PciFunction {
        PciFunction::with_ids(address, IDS)
    }

    /// Tells the program of an interrupt, by the one that is on.
    fn signal(&self, board: &Board) {
        if self.registers.raised() == 0 {
            return;
        }
        if board.is_on(pci::MSI) {
            // Messages are writes to memory, as DMA is.
            if self.config.command().contains(Command::BUS_MASTER) {
                board.fire(pci::MSI, 0);
            }
        } else if !self.config.command().contains(Command::INTX_DISABLE) {
            board.fire(pci::INTX, 0);
        }
    }

    fn check_decode(&self) -> io::Result<()> {
        let answers = self.config.command().contains(Command::MEMORY);
        if answers { Ok(()) } else { Err(failed(Errno::IO)) }
    }
}

impl Default for Edu {
    fn default() -> Self {
        Self::new()
    }
}

impl Model for Edu {
    fn layout(&self) -> Layout {
        let unused = (1..=ROM).map(RegionModel::unused);
        Layout::by_index(
            [
                RegionModel::registers(BAR0, BAR0_SIZE.into()),
                RegionModel::registers(REGION_INDEX, ConfigSpace::SIZE),
            ]
            .into_iter()
            .chain(unused),
        )
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PCI, 9, 5))
    }

    fn irq_info(&mut self, index: u32) -> io::Result<IrqInfo> {
        let (kind, count) = match index {
            pci::INTX => (IrqFlags::MASKABLE | IrqFlags::AUTOMASKED, 1),
            pci::MSI | pci::REQ => (IrqFlags::NORESIZE, 1),
            pci::MSIX => (IrqFlags::NORESIZE, 0),
            _ => return Err(failed(Errno::INVAL)),
        };
        Ok(IrqInfo { index, flags: IrqFlags::EVENTFD | kind, count })
    }

    fn set_irqs(&mut self, board: &Board, request: &IrqRequest<'_>) -> io::Result<u32> {
        let irq = self.irq_info(request.index)?;
        let granted = board.set_irqs(self.device_info()?, irq, request)?;
        // A line that is up is noticed as soon as it can be.
        let opens = matches!(request.action, IrqAction::Unmask | IrqAction::Trigger);
        if request.index == pci::INTX && opens && !board.is_on(pci::MSI) {
            self.signal(board);
        }
        Ok(granted)
    }

    fn read(&mut self, _: &Board, region: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        match region {
            REGION_INDEX => self.config.read(offset, bytes),
            _ => {
                self.check_decode()?;
                let value = self.registers.read(offset, bytes.len()).to_le_bytes();
                bytes.iter_mut().zip(value).for_each(|(byte, value)| *byte = value);
            }
        }
        Ok(())
    }

    fn write(&mut self, board: &Board, region: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match region {
            REGION_INDEX => self.config.write(offset, bytes),
            _ => {
                self.check_decode()?;
                let mut value = [0; 8];
                value.iter_mut().zip(bytes).for_each(|(value, byte)| *value = *byte);
                let masters = self.config.command().contains(Command::BUS_MASTER);
                let space = board.address_space().filter(|_| masters);
                let value = u64::from_le_bytes(value);
                if self.registers.write(offset, bytes.len(), value, space) {
                    self.signal(board);
                }
            }
        }
        Ok(())
    }

    fn reset(&mut self, _: &Board) -> io::Result<()> {
        Err(failed(Errno::INVAL))
    }
}

#[cfg(test)]
mod tests;
