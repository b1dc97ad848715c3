//! Calls that fail on demand.

use std::any::Any;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vfio_common::device::{
    Backend, DeviceInfo, EventWriteRequest, HotResetInfo, IrqInfo, IrqRequest, OpenGroup,
};
use vfio_common::iommu::AddressSpace;
use vfio_common::iommu::IovaRange;
use vfio_common::migration::PreCopyInfo;
use vfio_common::region::RegionInfo;
use vfio_common::{Mapping, Protection};

/// Decides which call fails, for all devices that share it.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    /// The number of the call that fails, and the error number.
    armed: Option<(u64, i32)>,
}

impl Faults {
    /// Nothing fails.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the `n`-th call from now fail with error number `errno`, once; 1 is the next call. It
    /// replaces what was said before, and 0 takes it back.
    pub fn fail_call(&self, n: u64, errno: i32) {
        let mut state = self.state();
        state.armed = (n > 0).then(|| (state.calls.saturating_add(n), errno));
    }

    /// Calls so far. A test runs once without fault to learn how many there are, and then once for
    /// each of them.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Counts a call.
    pub(crate) fn call(&self) -> io::Result<()> {
        let mut state = self.state();
        state.calls = state.calls.saturating_add(1);
        let calls = state.calls;
        match state.armed.take_if(|(nth, _)| *nth == calls) {
            Some((_, errno)) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A backend whose calls fail when [`Faults`] says so. A call that fails does not reach the backend
/// behind it.
///
/// ```
/// use std::sync::Arc;
///
/// use vfio_common::device::Device;
/// use vfio_sim::mtty::Mtty;
/// use vfio_sim::{Faults, Faulty, SoftDevice};
///
/// const EIO: i32 = 5;
///
/// let faults = Arc::new(Faults::new());
/// let card = SoftDevice::new(Mtty::single_port())?;
/// let device = Device::new("card", Arc::new(Faulty::new(Arc::new(card), faults.clone())))?;
/// let port = device.region(0)?;
/// faults.fail_call(2, EIO);
/// assert!(port.read8(5).is_ok());
/// assert!(port.read8(5).unwrap_err().to_string().starts_with("cannot read 1 bytes at 0x5"));
/// assert!(port.read8(5).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Faulty {
    backend: Arc<dyn Backend>,
    faults: Arc<Faults>,
    /// Dropped when the device closes.
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl Faulty {
    /// Puts faults before a backend.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, faults: Arc<Faults>) -> Self {
        Self { backend, faults, _held: None }
    }

    /// Holds a value until the device closes.
    pub(crate) fn holding(mut self, value: impl Any + Send + Sync) -> Self {
        self._held = Some(Box::new(value));
        self
    }
}

impl Backend for Faulty {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        self.faults.call()?;
        self.backend.device_info()
    }

    fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        self.faults.call()?;
        self.backend.region_info(index)
    }

    fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        self.faults.call()?;
        self.backend.irq_info(index)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.faults.call()?;
        self.backend.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.faults.call()?;
        self.backend.write_at(offset, bytes)
    }

    fn map(&self, offset: u64, length: usize, protection: Protection) -> io::Result<Mapping> {
        self.faults.call()?;
        self.backend.map(offset, length, protection)
    }

    fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        self.faults.call()?;
        self.backend.set_irqs(request)
    }

    fn feature(&self, flags: u32, data: &mut [u8]) -> io::Result<()> {
        self.faults.call()?;
        self.backend.feature(flags, data)
    }

    fn set_migration_state(&self, state: u32) -> io::Result<Option<OwnedFd>> {
        self.faults.call()?;
        self.backend.set_migration_state(state)
    }

    fn address_space(&self) -> Option<AddressSpace> {
        self.backend.address_space()
    }

    fn precopy_info(&self, stream: BorrowedFd<'_>) -> io::Result<PreCopyInfo> {
        self.faults.call()?;
        self.backend.precopy_info(stream)
    }

    fn start_dma_log(&self, page_size: u64, ranges: &[IovaRange]) -> io::Result<u64> {
        self.faults.call()?;
        self.backend.start_dma_log(page_size, ranges)
    }

    fn read_dma_log(&self, page_size: u64, range: IovaRange) -> io::Result<Vec<u64>> {
        self.faults.call()?;
        self.backend.read_dma_log(page_size, range)
    }

    fn enter_low_power(&self, wake_up: BorrowedFd<'_>) -> io::Result<()> {
        self.faults.call()?;
        self.backend.enter_low_power(wake_up)
    }

    fn set_event_write(
        &self,
        write: EventWriteRequest,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.faults.call()?;
        self.backend.set_event_write(write, eventfd)
    }

    fn hot_reset_info(&self) -> io::Result<HotResetInfo> {
        self.faults.call()?;
        self.backend.hot_reset_info()
    }

    fn hot_reset(&self, groups: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.faults.call()?;
        self.backend.hot_reset(groups)
    }

    fn group(&self) -> Option<OpenGroup<'_>> {
        self.backend.group()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.backend.descriptor()
    }

    fn reset(&self) -> io::Result<()> {
        self.faults.call()?;
        self.backend.reset()
    }
}
