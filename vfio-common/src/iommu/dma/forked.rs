//! What a child of `fork` drops is still in use by its parent.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::device::{
    Backend, Device, DeviceFlags, DeviceInfo, EventWriteRequest, IrqFlags, IrqInfo, IrqRequest,
};
use crate::eventfd::EventFd;
use crate::iommu::{
    AddressSpace, DeviceAccess, DmaBuffer, DmaMemory, Iommu, IommuProperties, IovaRange,
};
use crate::region::{RegionFlags, RegionInfo};
use crate::{Mapping, Protection};

const RING: IovaRange = IovaRange { first: 0x1000, last: 0x1fff };

/// How often it was told to undo something.
#[derive(Debug, Clone, Default)]
struct Undone(Arc<AtomicU32>);

impl Undone {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn times(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Iommu for Undone {
    fn properties(&self) -> io::Result<IommuProperties> {
        let ranges = vec![IovaRange::ALL];
        Ok(IommuProperties { page_sizes: crate::page_size(), ranges, available: None })
    }

    fn map(&self, _: &DmaMemory, _: u64, _: DeviceAccess) -> io::Result<()> {
        Ok(())
    }

    fn unmap(&self, _: u64, length: u64) -> io::Result<u64> {
        self.add();
        Ok(length)
    }
}

impl Backend for Undone {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PLATFORM, 1, 1))
    }

    fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        Ok(RegionInfo::new(index, RegionFlags::READ | RegionFlags::WRITE, 8, 0))
    }

    fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        Ok(IrqInfo { index, flags: IrqFlags::EVENTFD, count: 1 })
    }

    fn read_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn write_at(&self, _: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn map(&self, _: u64, _: usize, _: Protection) -> io::Result<Mapping> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        if request.data.count() == 0 {
            self.add();
        }
        Ok(0)
    }

    /// The end of a log is the only one that comes.
    fn feature(&self, _: u32, _: &mut [u8]) -> io::Result<()> {
        self.add();
        Ok(())
    }

    fn start_dma_log(&self, page_size: u64, _: &[IovaRange]) -> io::Result<u64> {
        Ok(page_size)
    }

    fn set_event_write(
        &self,
        _: EventWriteRequest,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        if eventfd.is_none() {
            self.add();
        }
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Drops a value in a child, and then here: how often something was undone in each.
fn undone_by_drop<T>(value: T, undone: &Undone) -> (u32, u32) {
    // SAFETY: the child has this thread alone. It takes no lock that another thread may have held but that
    // of the allocator, which the C library sees to, and it ends in `_exit`.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(value)));
        let status = match (dropped, i32::try_from(undone.times())) {
            (Ok(()), Ok(times)) => times,
            _ => abort(),
        };
        // SAFETY: it ends this process and touches none of its memory.
        unsafe { libc::_exit(status) };
    }
    let child = Pid::from_raw(forked).unwrap();
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    let in_child = status.exit_status().unwrap();
    drop(value);
    (in_child.try_into().unwrap(), undone.times())
}

#[test]
fn buffers_and_devices_that_a_child_drops_unmap_nothing() {
    let undone = Undone::default();
    let (space, attach) = AddressSpace::with_devices(undone.clone());
    let device = attach.device();
    let buffer = DmaBuffer::new(&space, 1, DeviceAccess::READ).unwrap();
    // In this order, as in a driver whose device goes first.
    assert_eq!(undone_by_drop((device, buffer), &undone), (0, 1));
}

#[test]
fn what_a_child_drops_of_a_device_is_not_switched_off() {
    let undone = Undone::default();
    let device = Device::new("device", Arc::new(undone.clone())).unwrap();
    let irqs = device.enable_irq(0, ..).unwrap();
    let log = device.log_dma(None, &[RING]).unwrap();
    let eventfd = EventFd::new().unwrap();
    let write = device.write_on_event(0, 0, 4, 1, eventfd.as_fd()).unwrap();
    assert_eq!(undone_by_drop((irqs, log, write), &undone), (0, 3));
}
