//! The vectors of one interrupt that are on.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::Errno;

use super::claim::Claim;
use super::{IrqError, IrqId, IrqOperation, Vector};
use crate::device::{Device, IrqAction, IrqData, IrqFlags, IrqInfo, IrqRequest};
use crate::process::Doer;

impl Device {
    /// Enables vectors of interrupt `index`, each with an eventfd of its own: `..` for all that there
    /// are, `0..4` for the first four. For the indices of a PCI device see [`pci`](super::pci).
    ///
    /// Some interrupts can be had together, and others not: of INTx, MSI and MSI-X one is on at a time.
    ///
    /// # Errors
    /// Nothing is on after an error.
    /// - [`IrqError::Absent`] when the device has no such interrupt, [`IrqError::NoEventFd`] when it
    ///   cannot be delivered, [`IrqError::OutOfRange`] when it has no such vectors.
    /// - [`IrqError::AlreadyEnabled`] and [`IrqError::Exclusive`] when this device has it on already, or
    ///   another that cannot be on with it.
    /// - [`IrqError::Partial`] when there are fewer vectors to be had than the device says.
    /// - [`IrqError::EventFd`] and [`IrqError::Enable`] when the kernel refuses.
    pub fn enable_irq(
        &self,
        index: u32,
        vectors: impl RangeBounds<u32>,
    ) -> Result<IrqSet, IrqError> {
        let irq = IrqId::new(self.shared().name.clone(), self.info().flags, index);
        let Some(info) = self.irq_info(index)? else {
            return Err(IrqError::Absent { irq });
        };
        if !info.flags.contains(IrqFlags::EVENTFD) {
            return Err(IrqError::NoEventFd { irq });
        }
        let claim = Claim::take(self, index)?;
        let mut set = IrqSet {
            irq,
            info: IrqInfo { index, ..info },
            vectors: BTreeMap::new(),
            end: 0,
            claim,
            doer: Doer::here(),
        };
        set.add(vectors)?;
        Ok(set)
    }
}

/// Vectors of one interrupt that are on (`VFIO_DEVICE_SET_IRQS`). Dropping it turns them off. It keeps the
/// device open.
///
/// Interrupts belong to the device, not to the handle: when the same device is opened twice, the two
/// handles change each other's.
///
/// The drop of the set disables the interrupt with `VFIO_IRQ_SET_DATA_NONE`, `ACTION_TRIGGER` and a
/// count of 0; there is nobody to tell if that fails, so it goes to the log. The kernel's sample serial
/// card of Linux 6.1, `mtty`, must never be told to (it goes on using what it freed; mended in 6.7): on
/// such a kernel use it without interrupts.
#[derive(Debug)]
pub struct IrqSet {
    irq: IrqId,
    info: IrqInfo,
    /// Those that are on.
    vectors: BTreeMap<u32, Vector>,
    /// The end of the range that was enabled first; 0 when nothing is on.
    end: u32,
    claim: Claim,
    /// Who enabled them.
    doer: Doer,
}

impl IrqSet {
    /// The interrupt, for messages.
    #[must_use]
    pub fn id(&self) -> &IrqId {
        &self.irq
    }

    /// What the device says of the interrupt.
    #[must_use]
    pub fn info(&self) -> IrqInfo {
        self.info
    }

    /// How many vectors are on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether no vector is on, because all were removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// The vectors that are on, in order.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &Vector> {
        self.vectors.values()
    }

    /// A vector that is on.
    ///
    /// # Errors
    /// [`IrqError::VectorDisabled`] when it is not.
    pub fn vector(&self, vector: u32) -> Result<&Vector, IrqError> {
        let found = self.vectors.get(&vector);
        found.ok_or_else(|| IrqError::VectorDisabled { irq: self.irq.clone(), vector })
    }

    /// Enables more vectors; those that are on go on undisturbed.
    ///
    /// # Errors
    /// The vectors that were on before are on, and no others.
    /// - [`IrqError::OutOfRange`] and [`IrqError::VectorEnabled`] when there are no such vectors, or one
    ///   of them is on.
    /// - [`IrqError::Fixed`] when the interrupt has the flag [`IrqFlags::NORESIZE`] and a vector lies
    ///   behind the last that was enabled first. Growing would turn all of them off for a while, and
    ///   what fires then would be lost: that is for the caller to do, by dropping the set.
    /// - [`IrqError::Partial`], [`IrqError::EventFd`] and [`IrqError::Enable`] as
    ///   [`Device::enable_irq`].
    pub fn add(&mut self, vectors: impl RangeBounds<u32>) -> Result<(), IrqError> {
        let range = self.range(vectors)?;
        let irq = || self.irq.clone();
        if let Some((vector, _)) = self.vectors.range(range.clone()).next() {
            return Err(IrqError::VectorEnabled { irq: irq(), vector: *vector });
        }
        let fixed = self.end > 0 && self.info.flags.contains(IrqFlags::NORESIZE);
        if fixed && range.end > self.end {
            return Err(IrqError::Fixed { irq: irq(), enabled: self.end, wanted: range.end });
        }
        let new: Vec<Vector> =
            range.clone().map(|number| Vector::new(&self.irq, number)).collect::<Result<_, _>>()?;
        let eventfds: Vec<_> = new.iter().map(|vector| Some(vector.as_fd())).collect();
        let data = IrqData::EventFds(&eventfds);
        match self.request(range.start, IrqAction::Trigger, data) {
            Ok(0) => {}
            Ok(granted) => {
                return Err(IrqError::Partial { irq: irq(), wanted: range.end, granted });
            }
            Err(source) => return Err(IrqError::Enable { irq: irq(), vectors: range, source }),
        }
        if self.end == 0 {
            self.end = range.end;
        }
        self.vectors.extend(range.zip(new));
        Ok(())
    }

    /// Disables vectors; the others go on undisturbed. With the last of them the whole interrupt is
    /// off, and vectors can be added as if for the first time.
    ///
    /// # Errors
    /// Nothing is changed.
    /// - [`IrqError::OutOfRange`] and [`IrqError::VectorDisabled`] when there are no such vectors, or one
    ///   of them is off.
    /// - [`IrqError::Unsupported`] and [`IrqError::Operation`] when the kernel refuses.
    pub fn remove(&mut self, vectors: impl RangeBounds<u32>) -> Result<(), IrqError> {
        let range = self.range(vectors)?;
        if let Some(vector) = range.clone().find(|vector| !self.vectors.contains_key(vector)) {
            return Err(IrqError::VectorDisabled { irq: self.irq.clone(), vector });
        }
        let none: Vec<Option<BorrowedFd<'_>>> = range.clone().map(|_| None).collect();
        let all = none.len() == self.vectors.len();
        let removed = if all {
            self.disable()
        } else {
            self.request(range.start, IrqAction::Trigger, IrqData::EventFds(&none)).map(drop)
        };
        removed.map_err(|source| self.failed(range.start, IrqOperation::Remove, source))?;
        self.vectors.retain(|number, _| !range.contains(number));
        if all {
            self.end = 0;
        }
        Ok(())
    }

    /// Masks a vector: it does not fire until it is unmasked. Whether something that happens meanwhile
    /// fires then is up to the device's kernel driver.
    ///
    /// # Errors
    /// [`IrqError::VectorDisabled`] when the vector is not on, [`IrqError::Unsupported`] when the kernel
    /// driver has no mask for it, as for MSI and MSI-X (mask those in the device);
    /// [`IrqError::Operation`] when the kernel refuses.
    pub fn mask(&self, vector: u32) -> Result<(), IrqError> {
        self.act(vector, IrqAction::Mask, IrqData::None { count: 1 }, IrqOperation::Mask)
    }

    /// Lets a vector fire again after [`IrqSet::mask`], or after it fired and masked itself
    /// ([`IrqFlags::AUTOMASKED`]): call it after each event that was served.
    ///
    /// ```
    /// use vfio_common::irq::pci;
    /// # use vfio_common::route::{Opener as _, Target};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let machine = vfio_sim::Machine::demo()?;
    /// # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
    /// # let sysfs = format!("bus/mdev/devices/{name}").into();
    /// # let device = machine.opener().open(&Target { name, sysfs })?;
    /// // A serial card that sends to itself: FIFO on, receive interrupt on.
    /// let irqs = device.enable_irq(pci::INTX, ..)?;
    /// let port = device.region(0)?;
    /// port.write8(2, 0x01)?;
    /// port.write8(1, 0x01)?;
    /// port.write8(0, b'x')?;
    ///
    /// let serve = || {
    ///     while port.read8(5)? & 0x01 != 0 {
    ///         assert_eq!(port.read8(0)?, b'x');
    ///     }
    ///     Ok::<_, vfio_common::region::RegionError>(())
    /// };
    /// assert_eq!(irqs.vector(0)?.wait(None)?, Some(1));
    /// serve()?;
    /// irqs.unmask(0)?;
    /// serve()?; // what came before the unmask
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`IrqSet::mask`].
    pub fn unmask(&self, vector: u32) -> Result<(), IrqError> {
        self.act(vector, IrqAction::Unmask, IrqData::None { count: 1 }, IrqOperation::Unmask)
    }

    /// Lets whoever signals `eventfd` unmask a vector, without a system call on the device, until `None`
    /// is passed or the vector is off. For a line that is level-triggered, whose events are served
    /// elsewhere: in another process, or in a virtual machine. The kernel takes the count of the eventfd,
    /// and keeps it open. One eventfd at a time; [`IrqSet::unmask`] works beside it.
    ///
    /// vfio-pci does it for INTx (`vfio_pci_set_intx_unmask` in `drivers/vfio/pci/vfio_pci_intrs.c`),
    /// vfio-platform for lines that can be masked; others rarely do.
    ///
    /// ```no_run
    /// use std::os::fd::AsFd as _;
    ///
    /// use rustix::event::{EventfdFlags, eventfd};
    /// use vfio_common::irq::pci;
    ///
    /// # fn f(device: &vfio_common::device::Device) -> Result<(), Box<dyn std::error::Error>> {
    /// let irqs = device.enable_irq(pci::INTX, ..)?;
    /// let served = eventfd(0, EventfdFlags::CLOEXEC)?;
    /// irqs.unmask_on_event(0, Some(served.as_fd()))?;
    /// // Both go to whoever serves the device: irqs.vector(0)? to wait for, served to signal.
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`IrqError::VectorDisabled`] when the vector is not on, [`IrqError::Unsupported`] when the kernel
    /// driver does not do it, [`IrqError::Operation`] when the kernel refuses, as it does (`EBUSY`) while
    /// another eventfd does it.
    pub fn unmask_on_event(
        &self,
        vector: u32,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> Result<(), IrqError> {
        let data = IrqData::EventFds(&[eventfd]);
        self.act(vector, IrqAction::Unmask, data, IrqOperation::UnmaskOnEvent)
    }

    /// Fires a vector without the device, to test what handles it.
    ///
    /// # Errors
    /// [`IrqError::VectorDisabled`] when the vector is not on, [`IrqError::Unsupported`] when the kernel
    /// driver cannot, [`IrqError::Operation`] when the kernel refuses.
    pub fn trigger(&self, vector: u32) -> Result<(), IrqError> {
        // Without data, Linux 6.1's mtty would take it for a request to disable.
        self.act(vector, IrqAction::Trigger, IrqData::Bool(&[true]), IrqOperation::Trigger)
    }

    /// Vectors that the interrupt has, at least one.
    fn range(&self, vectors: impl RangeBounds<u32>) -> Result<Range<u32>, IrqError> {
        let start = match vectors.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match vectors.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.info.count,
        };
        if start < end && end <= self.info.count {
            return Ok(start..end);
        }
        let (irq, count) = (self.irq.clone(), self.info.count);
        Err(IrqError::OutOfRange { irq, vectors: start..end, count })
    }

    fn act(
        &self,
        vector: u32,
        action: IrqAction,
        data: IrqData<'_>,
        operation: IrqOperation,
    ) -> Result<(), IrqError> {
        self.vector(vector)?;
        let done = self.request(vector, action, data);
        done.map(drop).map_err(|source| self.failed(vector, operation, source))
    }

    fn disable(&self) -> io::Result<()> {
        self.request(0, IrqAction::Trigger, IrqData::None { count: 0 }).map(drop)
    }

    fn request(&self, start: u32, action: IrqAction, data: IrqData<'_>) -> io::Result<u32> {
        let request = IrqRequest { index: self.info.index, start, action, data };
        self.claim.device().shared().backend.set_irqs(&request)
    }

    fn failed(&self, vector: u32, operation: IrqOperation, source: io::Error) -> IrqError {
        let irq = self.irq.clone();
        if source.raw_os_error() == Some(Errno::NOTTY.raw_os_error()) {
            return IrqError::Unsupported { irq, operation, source };
        }
        IrqError::Operation { irq, vector, operation, source }
    }
}

impl Drop for IrqSet {
    fn drop(&mut self) {
        if !self.is_empty()
            && self.doer.is_here()
            && let Err(error) = self.disable()
        {
            tracing::warn!(irq = %self.irq, %error, "the interrupt could not be disabled");
        }
    }
}
