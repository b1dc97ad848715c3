//! The kernel's sample serial card, `samples/vfio-mdev/mtty.c`, as it behaves on Linux 6.12.

mod config;
mod irqs;
mod migration;
mod port;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use vfio_common::device::{DeviceFlags, DeviceInfo, IrqFlags, IrqInfo, IrqRequest};
use vfio_common::iommu::IovaRange;
use vfio_common::migration::PreCopyInfo;

use self::config::Config;
use self::migration::Migration;
use self::port::Port;
use crate::errno::failed;
use crate::model::{Board, Layout, Model, RegionModel};

const CONFIG: u32 = 7;
const REGIONS: u32 = 9;
const IRQS: u32 = 5;
const INTX: u32 = 0;
const MSI: u32 = 1;

/// A PCI card with one or two 16550-like ports, each of which receives what it sends.
///
/// It has the kernel driver's quirks: a full FIFO looks empty, overrun stays until the next byte is
/// accepted, writes to the divisor add up, interrupt identification is a sum, the reset does nothing
/// and is not announced, and the interrupts are unknown until the device was asked what it is.
///
/// Where the kernel driver reads its heap or stack, or reaches ports that it does not have, this model
/// does not: bytes of a wider register access behind the first, and the byte of an empty FIFO, read
/// 0; accesses past a port's 8 registers, past byte 0x100 of configuration space, and to regions
/// without size are `EFAULT`.
///
/// It migrates, as the kernel driver does from Linux 6.7. The data of a migration is in a file in
/// memory, so what the kernel driver says at a write (`ENOMEM` for too much data, `EFAULT` for another
/// header) is said here when the state `RESUMING` is left, and a read after the end of the transfer
/// gives 0 bytes, not `ENODEV`.
#[derive(Debug)]
pub struct Mtty {
    config: Config,
    ports: Vec<Port>,
    migration: Migration,
    /// The kernel driver takes the number of interrupts from its last answer to
    /// `VFIO_DEVICE_GET_INFO`.
    irqs: u32,
}

impl Mtty {
    /// The type `mtty-1`.
    #[must_use]
    pub fn single_port() -> Self {
        Self::with_ports(1)
    }

    /// The type `mtty-2`.
    #[must_use]
    pub fn dual_port() -> Self {
        Self::with_ports(2)
    }

    fn with_ports(count: u8) -> Self {
        Self {
            config: Config::new(count),
            ports: (0..count).map(|_| Port::new()).collect(),
            migration: Migration::default(),
            irqs: 0,
        }
    }

    fn port(&mut self, region: u32) -> io::Result<&mut Port> {
        let port = usize::try_from(region).ok().and_then(|index| self.ports.get_mut(index));
        port.ok_or(failed(Errno::FAULT))
    }
}

impl Model for Mtty {
    fn layout(&self) -> Layout {
        // Regions without size say that they can be read and written, too.
        let region = |index| match index {
            CONFIG => RegionModel::registers(index, config::SIZE).reach(config::SIZE + 1),
            port if (port as usize) < self.ports.len() => RegionModel::registers(port, 8),
            _ => RegionModel::registers(index, 0),
        };
        Layout::of_samples((0..REGIONS).map(region))
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        self.irqs = IRQS;
        Ok(DeviceInfo::new(DeviceFlags::PCI, REGIONS, IRQS))
    }

    fn irq_info(&mut self, index: u32) -> io::Result<IrqInfo> {
        let flags = match index {
            INTX => IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED,
            MSI => IrqFlags::EVENTFD | IrqFlags::NORESIZE,
            _ => return Err(failed(Errno::INVAL)),
        };
        if index >= self.irqs {
            return Err(failed(Errno::INVAL));
        }
        Ok(IrqInfo { index, flags, count: 1 })
    }

    fn set_irqs(&mut self, board: &Board, request: &IrqRequest<'_>) -> io::Result<u32> {
        let irq = self.irq_info(request.index).ok();
        irqs::set(board, irq, self.irqs, request)
    }

    fn read(
        &mut self,
        board: &Board,
        region: u32,
        offset: u64,
        bytes: &mut [u8],
    ) -> io::Result<()> {
        if region == CONFIG {
            self.config.read(offset, bytes);
            return Ok(());
        }
        let port = self.port(region)?;
        if let (Some(value), Some(first)) = (port.read(offset), bytes.first_mut()) {
            *first = value;
        }
        fire(board, port);
        Ok(())
    }

    fn write(&mut self, board: &Board, region: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if region == CONFIG {
            self.config.write(offset, bytes);
        } else if let Some(first) = bytes.first() {
            let port = self.port(region)?;
            port.write(offset, *first);
            fire(board, port);
        }
        Ok(())
    }

    fn feature(&mut self, _board: &Board, flags: u32, data: &mut [u8]) -> io::Result<()> {
        self.migration.feature(flags, data, &self.ports)
    }

    fn set_migration_state(&mut self, _board: &Board, state: u32) -> io::Result<Option<OwnedFd>> {
        self.migration.go_to(state, &mut self.ports)
    }

    fn precopy_info(&mut self, _board: &Board, stream: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
        self.migration.precopy_info(stream)
    }

    /// It writes no memory, so its log is always empty, and runs whether it was started or not.
    fn start_dma_log(
        &mut self,
        _board: &Board,
        page_size: u64,
        _ranges: &[IovaRange],
    ) -> io::Result<u64> {
        Ok(page_size)
    }

    fn read_dma_log(
        &mut self,
        _board: &Board,
        _page_size: u64,
        _range: IovaRange,
    ) -> io::Result<Vec<u64>> {
        Ok(Vec::new())
    }

    /// It only ends a migration.
    fn reset(&mut self, _board: &Board) -> io::Result<()> {
        self.migration.reset();
        Ok(())
    }
}

/// Fires what a port has to tell through whichever interrupt is on.
fn fire(board: &Board, port: &mut Port) {
    for _ in 0..port.take_interrupts() {
        board.fire(INTX, 0);
        board.fire(MSI, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vfio_common::Protection;
    use vfio_common::device::{Backend as _, Device, ResetOutcome};

    use super::*;
    use crate::SoftDevice;

    fn card() -> SoftDevice {
        SoftDevice::new(Mtty::dual_port()).unwrap()
    }

    fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
        result.unwrap_err().raw_os_error()
    }

    #[test]
    fn interrupts_are_unknown_before_the_device_was_asked_what_it_is() {
        let card = card();
        let invalid = Some(Errno::INVAL.raw_os_error());
        assert_eq!(errno(card.irq_info(INTX)), invalid);
        card.device_info().unwrap();
        assert_eq!(card.irq_info(INTX).unwrap().flags.bits(), 0x7);
        assert_eq!(card.irq_info(MSI).unwrap().flags.bits(), 0x9);
        for index in [2, 3, 4, 5, u32::MAX] {
            assert_eq!(errno(card.irq_info(index)), invalid);
        }
    }

    #[test]
    fn regions_are_described_as_by_the_kernel() {
        let card = SoftDevice::new(Mtty::single_port()).unwrap();
        for (index, size) in [8, 0, 0, 0, 0, 0, 0, 0xff, 0].into_iter().enumerate() {
            let index = u32::try_from(index).unwrap();
            let info = card.region_info(index).unwrap();
            assert_eq!((info.size, info.flags.bits()), (size, 0x3), "{index}");
            assert_eq!(info.offset, u64::from(index) << 40);
        }
        assert_eq!(errno(card.region_info(9)), Some(Errno::INVAL.raw_os_error()));
        let mapped = card.map(0, 0x1000, Protection::Read);
        assert_eq!(errno(mapped), Some(Errno::INVAL.raw_os_error()));
    }

    #[test]
    fn accesses_end_where_the_model_ends() {
        let card = card();
        let fault = Some(Errno::FAULT.raw_os_error());
        let at = |region: u64, offset: u64| (region << 40) + offset;
        assert_eq!(card.read_at(at(7, 0xfc), &mut [0; 4]).unwrap(), 4, "one byte over the end");
        assert_eq!(card.read_at(at(7, 0), &mut [0; 0x100]).unwrap(), 0x100);
        assert_eq!(errno(card.read_at(at(7, 0xfd), &mut [0; 4])), fault);
        assert_eq!(errno(card.read_at(at(0, 8), &mut [0; 1])), fault);
        assert_eq!(errno(card.write_at(at(2, 0), &[0; 1])), fault);
        assert_eq!(errno(card.read_at(at(9, 0), &mut [0; 1])), fault);
        assert_eq!(errno(card.read_at(u64::MAX, &mut [0; 1])), fault);
    }

    #[test]
    fn of_a_wide_access_only_the_first_byte_counts() {
        let card = card();
        card.write_at(0, &[1, 2, 3, 4]).unwrap();
        // Two pieces: the second is line status and what follows, which stay.
        card.write_at(0, &[5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).unwrap();
        let mut bytes = [0xee; 4];
        card.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 0, 0, 0]);
        card.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [5, 0, 0, 0]);
        card.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4], "nothing was received");
        let mut modem_control = [0];
        card.read_at(4, &mut modem_control).unwrap();
        assert_eq!(modem_control, [0xff]);
    }

    #[test]
    fn ports_are_apart_and_survive_close_and_reset() {
        let card = Arc::new(card());
        let device = Device::new("card", card.clone()).unwrap();
        device.region(0).unwrap().write8(0, b'a').unwrap();
        device.region(1).unwrap().write8(0, b'b').unwrap();
        assert_eq!(device.reset().unwrap(), ResetOutcome::Done);
        drop(device);
        let device = Device::new("card", card).unwrap();
        assert_eq!(device.region(0).unwrap().read8(0).unwrap(), b'a');
        assert_eq!(device.region(1).unwrap().read8(0).unwrap(), b'b');
    }
}
