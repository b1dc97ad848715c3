//! An address space: what devices see.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::explain::Attempt;
use super::ioas::Ioas;
use super::ledger::{Key, Ledger};
use super::{
    Aligned, Attach, DeviceAccess, DmaError, DmaMapping, DmaMemory, Iommu, IommuProperties,
    IovaRange,
};
use crate::process::Doer;
use crate::sysfs::Host;
use crate::uapi::IommuFd;

/// An address space that devices reach memory through, behind an IOMMU. Clones are handles to the same
/// one, which many devices can share; all methods may be called from several threads.
///
/// The same calls have the same results on a type 1 container and on an IOAS of an iommufd. **Mappings live
/// as long as a device of the address space is open**, which the kernel wants of containers alone. Before
/// the first is opened, mapping is the error [`DmaError::NoDevice`]. When the last is closed, everything is
/// unmapped and the ledger is empty; a [`DmaBuffer`](super::DmaBuffer) that is still there keeps its memory
/// and says that it is not mapped any more. A device that is opened later finds an empty address space.
/// Those that no device comes to ([`AddressSpace::new`], [`AddressSpace::new_ioas`]) keep their mappings
/// until they are unmapped, or the last handle is dropped.
///
/// If no device in it has an IOMMU of its own, because kernel drivers make them up, the kernel notes
/// mappings without looking at the memory: pages are locked when such a driver asks for them. Memory that
/// cannot be locked is then a failure of the device later on, with `RLIMIT_MEMLOCK exceeded` in the kernel
/// log.
///
/// Kernel sources: `drivers/vfio/vfio_iommu_type1.c`, `drivers/iommu/iommufd/ioas.c`.
#[derive(Debug, Clone)]
pub struct AddressSpace {
    pub(super) core: Arc<Core>,
    /// What has to stay open as long as there is a handle.
    _keeps: Option<Arc<dyn Debug + Send + Sync>>,
}

#[derive(Debug)]
pub(super) struct Core {
    iommu: Box<dyn Iommu>,
    /// Devices of others may come and go: what can be mapped is asked each time.
    is_shared: bool,
    /// Who has the devices attached.
    doer: Doer,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    /// How many devices or groups are attached; `None` where mappings need none.
    attached: Option<usize>,
    /// What can be mapped. Forgotten when devices come and go, which changes it.
    properties: Option<Arc<IommuProperties>>,
}

/// Where a mapping goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    At(u64),
    /// Wherever there is room.
    Free {
        alignment: u64,
        highest: u64,
    },
}

impl AddressSpace {
    /// An address space over software that can be mapped into at any time. What can be mapped is asked
    /// once, and again after an error.
    #[must_use]
    pub fn new(iommu: impl Iommu + 'static) -> Self {
        Self::with(Box::new(iommu), false, None)
    }

    /// As [`AddressSpace::new`], with mappings that live as long as a device is attached.
    #[must_use]
    pub fn with_devices(iommu: impl Iommu + 'static) -> (Self, Attach) {
        let space = Self::with(Box::new(iommu), false, Some(0));
        let attach = Attach { core: space.core.clone() };
        (space, attach)
    }

    /// A new IOAS, on an iommufd of its own (`/dev/iommu`, Linux 6.2). It has no device.
    ///
    /// # Errors
    /// [`DmaError::Iommufd`], [`DmaError::Allocate`].
    pub fn new_ioas(host: &Host) -> Result<Self, DmaError> {
        let node = host.device_node("iommu");
        let opened = std::fs::File::options().read(true).write(true).open(&node);
        let file = opened.map_err(|source| DmaError::Iommufd { node, source })?;
        let fd = Arc::new(IommuFd::new(file));
        let id = fd.allocate_ioas().map_err(|source| DmaError::Allocate { source })?;
        Ok(Self::of_ioas(fd, id))
    }

    /// The IOAS `id`, which is destroyed with the last handle. Devices that are attached to it hold
    /// one.
    pub(crate) fn of_ioas(fd: Arc<IommuFd>, id: u32) -> Self {
        Self::with(Box::new(Ioas::new(fd, id)), true, None)
    }

    /// As [`AddressSpace::of_ioas`], with mappings that live as long as a device is attached: the IOAS
    /// would keep them, but a container does not, and programs should not tell one from the other.
    pub(crate) fn of_ioas_with_devices(fd: Arc<IommuFd>, id: u32) -> (Self, Attach) {
        let space = Self::with(Box::new(Ioas::new(fd, id)), true, Some(0));
        let attach = Attach { core: space.core.clone() };
        (space, attach)
    }

    fn with(iommu: Box<dyn Iommu>, is_shared: bool, attached: Option<usize>) -> Self {
        let state = State { ledger: Ledger::default(), attached, properties: None };
        let (doer, state) = (Doer::here(), Mutex::new(state));
        Self { core: Arc::new(Core { iommu, is_shared, doer, state }), _keeps: None }
    }

    /// A handle that keeps a value as long as it, or a clone, is there.
    pub(crate) fn keeping(&self, value: Arc<dyn Debug + Send + Sync>) -> Self {
        Self { core: self.core.clone(), _keeps: Some(value) }
    }

    /// Unmaps the mappings that lie in `length` bytes from `iova`, and says how many bytes that were.
    /// When nothing is mapped there, that is 0 and no error.
    ///
    /// A [`DmaBuffer`](super::DmaBuffer) that was mapped there keeps its memory, and is out of reach of
    /// devices from then on.
    ///
    /// # Errors
    /// [`DmaError::Part`] when only a part of a mapping lies there, [`DmaError::Empty`],
    /// [`DmaError::Wraps`], [`DmaError::Misaligned`]; then nothing is unmapped. [`DmaError::Unmap`] when
    /// the kernel refuses; mappings before the one that it names are unmapped.
    pub fn unmap(&self, iova: u64, length: u64) -> Result<u64, DmaError> {
        let range = checked(iova, length)?;
        let mut state = self.core.state();
        let page = self.core.properties(&mut state);
        // Without an IOMMU it has no page size, and nothing is mapped.
        let page =
            page.map_or_else(|_| crate::page_size(), |properties| properties.smallest_page());
        aligned(Aligned::Iova, iova, page)?;
        aligned(Aligned::Length, length, page)?;
        if let Some(mapping) = state.ledger.split(range) {
            return Err(DmaError::Part { range, mapping });
        }
        let within = state.ledger.within(range);
        self.core.unmap(&mut state, within)
    }

    /// Unmaps everything, and says how many bytes that were. [`DmaBuffer`](super::DmaBuffer)s keep their
    /// memory, as with [`AddressSpace::unmap`].
    ///
    /// # Errors
    /// [`DmaError::Unmap`] when the kernel refuses.
    pub fn unmap_all(&self) -> Result<u64, DmaError> {
        self.core.unmap_all(&mut self.core.state())
    }

    /// What is mapped, in rising order.
    #[must_use]
    pub fn mappings(&self) -> Vec<DmaMapping> {
        self.core.state().ledger.iter().collect()
    }

    /// The addresses that all its devices can reach. A mapping lies wholly in one of these ranges. The
    /// last page of the 64-bit space is never among them: the kernel's containers can map it and not
    /// unmap it.
    ///
    /// It changes when devices come and go.
    ///
    /// # Errors
    /// [`DmaError::NoDevice`], [`DmaError::Properties`].
    pub fn ranges(&self) -> Result<Vec<IovaRange>, DmaError> {
        Ok(self.properties()?.ranges.clone())
    }

    /// The page sizes of the IOMMU in bytes, one bit each: `0x4020_1000` is 4 KiB, 2 MiB and 1 GiB. Where
    /// the kernel tells only the smallest, as for an IOAS, all bits above it are set.
    ///
    /// # Errors
    /// [`DmaError::NoDevice`], [`DmaError::Properties`].
    pub fn page_sizes(&self) -> Result<u64, DmaError> {
        Ok(self.properties()?.page_sizes)
    }

    /// The smallest page size in bytes: addresses and lengths of mappings are multiples of it.
    ///
    /// # Errors
    /// [`DmaError::NoDevice`], [`DmaError::Properties`].
    pub fn smallest_page(&self) -> Result<u64, DmaError> {
        Ok(self.properties()?.smallest_page())
    }

    /// How many mappings more the kernel takes now (`VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL`, Linux 5.10);
    /// `None` where it does not say, as for an IOAS.
    ///
    /// # Errors
    /// [`DmaError::NoDevice`], [`DmaError::Properties`].
    pub fn available(&self) -> Result<Option<u32>, DmaError> {
        let mut state = self.core.state();
        state.properties = None;
        Ok(self.core.properties(&mut state)?.available)
    }

    fn properties(&self) -> Result<Arc<IommuProperties>, DmaError> {
        self.core.properties(&mut self.core.state())
    }

    /// Maps memory, and gives the place and the key of the mapping. The memory must stay until
    /// [`AddressSpace::release`] succeeds, or the ledger has the key no more; see [`DmaMemory`].
    pub(super) fn map_memory(
        &self,
        memory: &DmaMemory,
        place: Place,
        access: DeviceAccess,
    ) -> Result<(IovaRange, Key), DmaError> {
        let length = memory.length();
        let wanted = match place {
            Place::At(iova) => checked(iova, length)?,
            Place::Free { alignment, .. } if !alignment.is_power_of_two() => {
                return Err(DmaError::Alignment { alignment });
            }
            Place::Free { .. } => checked(0, length)?,
        };
        if !access.intersects(DeviceAccess::READ | DeviceAccess::WRITE) {
            return Err(DmaError::NoAccess);
        }
        let mut state = self.core.state();
        let properties = self.core.properties(&mut state)?;
        let page = properties.smallest_page();
        aligned(Aligned::Iova, wanted.first, page)?;
        aligned(Aligned::Length, length, page)?;
        aligned(Aligned::Address, memory.address(), page)?;
        let range = match place {
            Place::At(_) => wanted,
            Place::Free { alignment, highest } => {
                let (ranges, alignment) = (&properties.ranges, alignment.max(page));
                state.ledger.room(ranges, length, alignment, highest).ok_or_else(|| {
                    DmaError::NoRoom { length, alignment, highest, ranges: ranges.clone() }
                })?
            }
        };
        if !properties.ranges.iter().any(|valid| valid.contains(&range)) {
            return Err(DmaError::OutsideRanges { range, ranges: properties.ranges.clone() });
        }
        if let Some(mapping) = state.ledger.overlap(range) {
            return Err(DmaError::Overlap { range, mapping });
        }
        if let Err(source) = self.core.iommu.map(memory, range.first, access) {
            // What was known of the IOMMU may not hold any more.
            state.properties = None;
            let (mappings, locked) = (state.ledger.len(), state.ledger.bytes());
            let per_user = self.core.iommu.counts_per_user();
            let attempt = Attempt { memory, range, access, mappings, locked, per_user };
            return Err(attempt.failed(source));
        }
        Ok((range, state.ledger.insert(range, access, memory.view().cloned())))
    }

    /// Unmaps the mapping with this key, if it is still there.
    pub(super) fn release(&self, range: IovaRange, key: Key) -> Result<(), DmaError> {
        let mut state = self.core.state();
        if !state.ledger.has(range.first, key) {
            return Ok(());
        }
        let mapped = state.ledger.within(range);
        self.core.unmap(&mut state, mapped).map(drop)
    }

    /// Whether the mapping with this key is still there.
    pub(super) fn has(&self, range: IovaRange, key: Key) -> bool {
        self.core.state().ledger.has(range.first, key)
    }
}

impl Core {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn properties(&self, state: &mut State) -> Result<Arc<IommuProperties>, DmaError> {
        if state.attached == Some(0) {
            return Err(DmaError::NoDevice);
        }
        if let Some(properties) = &state.properties {
            return Ok(properties.clone());
        }
        let mut found =
            self.iommu.properties().map_err(|source| DmaError::Properties { source })?;
        // Containers map the last page of the 64-bit space, and then do not find it: unmapping it is a
        // success with 0 bytes (measured on Linux 6.12; the end of the mapping wraps to 0 in
        // `vfio_find_dma`). Memory could never be freed, so nobody gets that page.
        let end = u64::MAX.saturating_sub(found.smallest_page());
        found.ranges.retain(|range| range.first <= end);
        found.ranges.iter_mut().for_each(|range| range.last = range.last.min(end));
        let found = Arc::new(found);
        // Nobody tells when the devices of an IOAS change.
        if !self.is_shared {
            state.properties = Some(found.clone());
        }
        Ok(found)
    }

    /// Unmaps one after the other, so that what fails is known.
    fn unmap(&self, state: &mut State, mappings: Vec<DmaMapping>) -> Result<u64, DmaError> {
        let mut unmapped = 0u64;
        for DmaMapping { range, .. } in mappings {
            let gone = self.iommu.unmap(range.first, range.length());
            let gone = gone.and_then(|gone| all_of(gone, range.length()));
            let gone = gone.map_err(|source| DmaError::Unmap { range, source })?;
            state.ledger.remove(range.first);
            unmapped = unmapped.saturating_add(gone);
        }
        Ok(unmapped)
    }

    fn unmap_all(&self, state: &mut State) -> Result<u64, DmaError> {
        if state.ledger.len() == 0 {
            return Ok(0);
        }
        let bytes = state.ledger.bytes();
        match self.iommu.unmap_all().and_then(|unmapped| all_of(unmapped, bytes)) {
            Ok(unmapped) => {
                state.ledger.clear();
                Ok(unmapped)
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let mapped = state.ledger.iter().collect();
                self.unmap(state, mapped)
            }
            Err(source) => Err(DmaError::Unmap { range: IovaRange::ALL, source }),
        }
    }

    pub(super) fn attach(&self) {
        let mut state = self.state();
        state.attached = state.attached.map(|attached| attached.saturating_add(1));
        state.properties = None;
    }

    /// Takes one off. Before the last leaves, everything is unmapped, whatever the kernel would do by
    /// itself: it keeps the mappings if another process has a share in the address space. What cannot
    /// be unmapped stays in the ledger, and with it the memory. A child of `fork` unmaps nothing: its parent's
    /// devices are still there.
    pub(super) fn detach(&self, leave: impl FnOnce()) {
        let mut state = self.state();
        state.attached = state.attached.map(|attached| attached.saturating_sub(1));
        state.properties = None;
        if state.attached == Some(0)
            && self.doer.is_here()
            && let Err(error) = self.unmap_all(&mut state)
        {
            tracing::error!(%error, "the memory of an address space is kept after its last device");
        }
        // Nobody may map while the kernel forgets its IOMMU.
        leave();
    }
}

/// What is in the ledger and was not there to unmap may be anywhere: its memory is not freed.
fn all_of(unmapped: u64, mapped: u64) -> io::Result<u64> {
    if unmapped >= mapped {
        return Ok(unmapped);
    }
    let text = format!("the kernel found only {unmapped:#x} of {mapped:#x} bytes to unmap");
    Err(io::Error::other(text))
}

fn checked(iova: u64, length: u64) -> Result<IovaRange, DmaError> {
    if length == 0 {
        return Err(DmaError::Empty { iova });
    }
    IovaRange::new(iova, length).ok_or(DmaError::Wraps { iova, length })
}

fn aligned(what: Aligned, value: u64, page: u64) -> Result<(), DmaError> {
    if value.is_multiple_of(page) {
        Ok(())
    } else {
        Err(DmaError::Misaligned { what, value, page })
    }
}
