//! The interrupt vectors of a software device.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use vfio_common::device::{
    DeviceFlags, DeviceInfo, IrqAction, IrqData, IrqFlags, IrqInfo, IrqRequest,
};
use vfio_common::irq::pci;

use super::Board;
use crate::errno::failed;

/// Interrupts that are on, by index.
#[derive(Debug, Default)]
pub(super) struct Irqs(Mutex<BTreeMap<u32, Irq>>);

#[derive(Debug, Default)]
struct Irq {
    flags: IrqFlags,
    eventfds: BTreeMap<u32, OwnedFd>,
    /// The end of the vectors that were enabled first.
    end: u32,
    masked: bool,
    /// It fired while it was masked.
    pending: bool,
}

impl Irq {
    fn fire(&mut self, vector: u32) {
        let Some(eventfd) = self.eventfds.get(&vector) else { return };
        if self.masked {
            self.pending = true;
            return;
        }
        self.masked = self.flags.contains(IrqFlags::AUTOMASKED);
        // A counter that is full stays as it is, as in the kernel.
        let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
    }
}

impl Irqs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Irq>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Fires a vector of an interrupt. Nothing happens when the program has not enabled it; while it is
    /// masked it is kept, and fires when it is unmasked.
    pub fn fire(&self, index: u32, vector: u32) {
        if let Some(irq) = self.irqs.lock().get_mut(&index) {
            irq.fire(vector);
        }
    }

    /// `VFIO_DEVICE_SET_IRQS` as the kernel's VFIO drivers answer it, for an interrupt that is described
    /// so. Of INTx, MSI and MSI-X of a PCI device one is on at a time.
    ///
    /// # Errors
    /// `EINVAL` for vectors that the interrupt does not have or that cannot be on now, and for eventfds
    /// that are none; `ENOTTY` for a mask that it does not have, and for masks by eventfd.
    pub fn set_irqs(
        &self,
        device: DeviceInfo,
        irq: IrqInfo,
        request: &IrqRequest<'_>,
    ) -> io::Result<u32> {
        check_range(request, irq.count)?;
        let count = request.data.count();
        match (request.action, request.data) {
            (IrqAction::Trigger, IrqData::EventFds(eventfds)) => {
                if count == 0 || self.is_excluded(device, irq) {
                    return Err(failed(Errno::INVAL));
                }
                self.enable(irq, request.start, eventfds)?;
            }
            (IrqAction::Trigger, IrqData::None { count: 0 }) => self.disable(irq.index),
            (IrqAction::Trigger, _) => {
                for vector in named(request) {
                    self.fire(irq.index, vector);
                }
            }
            (_, IrqData::EventFds(_)) => return Err(failed(Errno::NOTTY)),
            (IrqAction::Mask, _) => {
                if !irq.flags.contains(IrqFlags::MASKABLE) {
                    return Err(failed(Errno::NOTTY));
                }
                if named(request).next().is_some() {
                    self.mask(irq.index);
                }
            }
            (IrqAction::Unmask, _) => {
                if !irq.flags.intersects(IrqFlags::MASKABLE | IrqFlags::AUTOMASKED) {
                    return Err(failed(Errno::NOTTY));
                }
                if count == 0 {
                    return Err(failed(Errno::INVAL));
                }
                if let Some(vector) = named(request).next()
                    && self.unmask(irq.index)
                {
                    self.fire(irq.index, vector);
                }
            }
        }
        Ok(0)
    }

    /// Gives vectors their eventfds, or takes them away: all of them or, if one is bad, none.
    pub(crate) fn enable(
        &self,
        irq: IrqInfo,
        start: u32,
        eventfds: &[Option<BorrowedFd<'_>>],
    ) -> io::Result<()> {
        let own = |eventfd: &Option<BorrowedFd<'_>>| eventfd.map(own).transpose();
        let owned: Vec<_> = eventfds.iter().map(own).collect::<io::Result<_>>()?;
        let vectors = (start..).zip(owned);
        let end =
            u32::try_from(eventfds.len()).map_or(u32::MAX, |count| start.saturating_add(count));
        let mut on = self.irqs.lock();
        let fixed = irq.flags.contains(IrqFlags::NORESIZE);
        if fixed && on.get(&irq.index).is_some_and(|irq| end > irq.end) {
            return Err(failed(Errno::INVAL));
        }
        let irq =
            on.entry(irq.index).or_insert_with(|| Irq { flags: irq.flags, end, ..Irq::default() });
        for (vector, eventfd) in vectors {
            match eventfd {
                Some(eventfd) => irq.eventfds.insert(vector, eventfd),
                None => irq.eventfds.remove(&vector),
            };
        }
        Ok(())
    }

    /// Whether it was enabled and not disabled since.
    pub(crate) fn is_on(&self, index: u32) -> bool {
        self.irqs.lock().contains_key(&index)
    }

    pub(crate) fn disable(&self, index: u32) {
        self.irqs.lock().remove(&index);
    }

    /// What the last close does.
    pub(crate) fn disable_all(&self) {
        self.irqs.lock().clear();
    }

    pub(crate) fn mask(&self, index: u32) {
        if let Some(irq) = self.irqs.lock().get_mut(&index) {
            irq.masked = true;
        }
    }

    /// Whether it fired meanwhile.
    pub(crate) fn unmask(&self, index: u32) -> bool {
        self.irqs.lock().get_mut(&index).is_some_and(|irq| {
            irq.masked = false;
            std::mem::take(&mut irq.pending)
        })
    }

    /// Whether another interrupt is on that cannot be with this one.
    fn is_excluded(&self, device: DeviceInfo, irq: IrqInfo) -> bool {
        let exclusive = [pci::INTX, pci::MSI, pci::MSIX];
        let other = |other: &u32| *other != irq.index && self.is_on(*other);
        device.flags.contains(DeviceFlags::PCI)
            && exclusive.contains(&irq.index)
            && exclusive.iter().any(other)
    }
}

/// What the kernel checks before it asks the driver: that there are `available` vectors.
pub(crate) fn check_range(request: &IrqRequest<'_>, available: u32) -> io::Result<()> {
    let count = u32::try_from(request.data.count()).ok();
    let end = count.and_then(|count| request.start.checked_add(count));
    let fits = request.start < available && end.is_some_and(|end| end <= available);
    if fits { Ok(()) } else { Err(failed(Errno::INVAL)) }
}

/// The vectors that a request without eventfds is about.
pub(crate) fn named(request: &IrqRequest<'_>) -> impl Iterator<Item = u32> {
    let wanted = move |at: usize| match request.data {
        IrqData::Bool(vectors) => vectors.get(at).copied().unwrap_or_default(),
        IrqData::None { .. } | IrqData::EventFds(_) => true,
    };
    (request.start..)
        .zip(0..request.data.count())
        .filter(move |(_, at)| wanted(*at))
        .map(|(v, _)| v)
}

/// A reference to an eventfd, as the kernel takes one.
fn own(eventfd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", eventfd.as_raw_fd()));
    // Without /proc it is believed.
    if link.is_ok_and(|target| target.as_os_str() != "anon_inode:[eventfd]") {
        return Err(failed(Errno::INVAL));
    }
    eventfd.try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::model::{Layout, RegionModel};

    fn fired(eventfd: &OwnedFd) -> Option<u64> {
        let mut count = [0; 8];
        rustix::io::read(eventfd, &mut count).ok().map(|_| u64::from_ne_bytes(count))
    }

    #[test]
    fn a_models_own_interrupts_follow_their_description() {
        let board =
            Board::new(Layout::packed([RegionModel::memory(0, 8)]).place().unwrap()).unwrap();
        let device = DeviceInfo::new(DeviceFlags::PCI, 1, 5);
        let irq = |index, flags| IrqInfo { index, flags: IrqFlags::EVENTFD | flags, count: 4 };
        let intx = irq(pci::INTX, IrqFlags::MASKABLE | IrqFlags::AUTOMASKED);
        let msi = irq(pci::MSI, IrqFlags::NORESIZE);
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let two = [Some(eventfd.as_fd()); 2];
        let set = |irq: IrqInfo, action, start, data| {
            let request = IrqRequest { index: irq.index, start, action, data };
            board.set_irqs(device, irq, &request).map_err(|error| error.raw_os_error().unwrap())
        };
        let (invalid, none) = (Err(Errno::INVAL.raw_os_error()), Err(Errno::NOTTY.raw_os_error()));
        let one = IrqData::None { count: 1 };

        // A fixed number of vectors, of which some may be off.
        assert_eq!(set(msi, IrqAction::Trigger, 0, IrqData::EventFds(&two)), Ok(0));
        assert_eq!(set(msi, IrqAction::Trigger, 1, IrqData::EventFds(&two)), invalid);
        assert_eq!(set(msi, IrqAction::Trigger, 1, IrqData::EventFds(&[None])), Ok(0));
        board.fire(pci::MSI, 1);
        assert_eq!(fired(&eventfd), None);
        assert_eq!(set(msi, IrqAction::Trigger, 0, IrqData::Bool(&[true, true])), Ok(0));
        assert_eq!(fired(&eventfd), Some(1));
        assert_eq!(set(msi, IrqAction::Mask, 0, one), none);
        assert_eq!(set(msi, IrqAction::Trigger, 4, one), invalid);
        assert_eq!(set(msi, IrqAction::Trigger, u32::MAX, one), invalid);

        // The other, when this one is off.
        assert_eq!(set(intx, IrqAction::Trigger, 0, IrqData::EventFds(&two[..1])), invalid);
        assert_eq!(set(msi, IrqAction::Trigger, 0, IrqData::None { count: 0 }), Ok(0));
        assert_eq!(set(intx, IrqAction::Trigger, 0, IrqData::EventFds(&two[..1])), Ok(0));
        assert_eq!(set(intx, IrqAction::Mask, 0, one), Ok(0));
        board.fire(pci::INTX, 0);
        assert_eq!(fired(&eventfd), None);
        assert_eq!(set(intx, IrqAction::Unmask, 0, IrqData::Bool(&[false])), Ok(0));
        assert_eq!(fired(&eventfd), None);
        assert_eq!(set(intx, IrqAction::Unmask, 0, one), Ok(0));
        assert_eq!(fired(&eventfd), Some(1), "it was kept");
        assert_eq!(set(intx, IrqAction::Unmask, 0, IrqData::EventFds(&two[..1])), none);
        board.disable_all();
        board.fire(pci::INTX, 0);
        assert_eq!(fired(&eventfd), None);
    }
}
