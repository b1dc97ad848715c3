//! Interrupts on devices that the kernel's samples are not: vectors that run short, numbers of vectors
//! that are fixed, interrupts without eventfds, and kernels that fail.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::VecDeque;
use std::error::Error as _;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use vfio_common::device::{
    Backend, Device, DeviceFlags, DeviceInfo, IrqAction, IrqData, IrqFlags, IrqInfo, IrqRequest,
};
use vfio_common::irq::{IrqError, pci};
use vfio_common::region::RegionInfo;
use vfio_common::{Mapping, Protection};

/// A device with 16 vectors of each interrupt, whose kernel driver answers as it is told.
#[derive(Debug)]
struct Scripted {
    kind: DeviceFlags,
    flags: IrqFlags,
    answers: Mutex<VecDeque<io::Result<u32>>>,
    /// What it was asked for: first vector, and how many with and without an eventfd.
    asked: Mutex<Vec<Asked>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    EventFds { start: u32, on: usize, off: usize },
    UnmaskOnEvent { start: u32, on: usize },
    Disable,
    Other(IrqAction),
}

impl Scripted {
    fn new(kind: DeviceFlags, flags: IrqFlags) -> (Arc<Self>, Device) {
        let (answers, asked) = Default::default();
        let backend = Arc::new(Self { kind, flags, answers, asked });
        let device = Device::new("scripted", backend.clone()).unwrap();
        (backend, device)
    }

    fn answer(&self, answer: io::Result<u32>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Backend for Scripted {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(self.kind, 0, 5))
    }

    fn region_info(&self, _index: u32) -> io::Result<RegionInfo> {
        Err(Errno::INVAL.into())
    }

    fn irq_info(&self, index: u32) -> io::Result<IrqInfo> {
        Ok(IrqInfo { index, flags: self.flags, count: 16 })
    }

    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(Errno::IO.into())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<usize> {
        Err(Errno::IO.into())
    }

    fn map(&self, _offset: u64, _length: usize, _protection: Protection) -> io::Result<Mapping> {
        Err(Errno::INVAL.into())
    }

    fn set_irqs(&self, request: &IrqRequest<'_>) -> io::Result<u32> {
        let asked = match request.data {
            IrqData::EventFds(eventfds) => {
                let on = eventfds.iter().flatten().count();
                if request.action == IrqAction::Unmask {
                    Asked::UnmaskOnEvent { start: request.start, on }
                } else {
                    Asked::EventFds { start: request.start, on, off: eventfds.len() - on }
                }
            }
            IrqData::None { count: 0 } => Asked::Disable,
            _ => Asked::Other(request.action),
        };
        self.asked.lock().unwrap().push(asked);
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(0))
    }

    fn reset(&self) -> io::Result<()> {
        Err(Errno::NOTTY.into())
    }
}

fn pci(flags: IrqFlags) -> (Arc<Scripted>, Device) {
    Scripted::new(DeviceFlags::PCI, IrqFlags::EVENTFD | flags)
}

fn enabled(start: u32, on: usize) -> Asked {
    Asked::EventFds { start, on, off: 0 }
}

#[test]
fn a_partial_grant_says_how_many_and_leaves_nothing_on() {
    let (backend, device) = pci(IrqFlags::NORESIZE);
    backend.answer(Ok(3));
    let error = device.enable_irq(pci::MSI, ..8).unwrap_err();
    assert!(matches!(error, IrqError::Partial { wanted: 8, granted: 3, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "interrupt 1 (msi) of scripted can have only 3 of the 8 vectors that were wanted: enable at \
         most 3"
    );
    assert_eq!(backend.asked(), [enabled(0, 8)], "there was nothing to disable");
    let irqs = device.enable_irq(pci::MSI, ..3).unwrap();
    assert_eq!(irqs.len(), 3);
    drop(irqs);
    assert_eq!(backend.asked(), [enabled(0, 3), Asked::Disable]);
}

#[test]
fn a_fixed_number_of_vectors_does_not_grow_until_all_are_off() {
    let (backend, device) = pci(IrqFlags::NORESIZE);
    let mut irqs = device.enable_irq(pci::MSI, ..4).unwrap();
    backend.asked();
    let error = irqs.add(4..6).unwrap_err();
    assert!(matches!(error, IrqError::Fixed { enabled: 4, wanted: 6, .. }), "{error}");
    assert_eq!(backend.asked(), [], "the kernel was not asked");

    irqs.remove(1..3).unwrap();
    irqs.add(2..=2).unwrap();
    let off = Asked::EventFds { start: 1, on: 0, off: 2 };
    assert_eq!(backend.asked(), [off, enabled(2, 1)], "within the number, vectors come and go");

    irqs.remove(0..1).unwrap();
    irqs.remove(2..4).unwrap();
    irqs.add(..6).unwrap();
    let off = Asked::EventFds { start: 0, on: 0, off: 1 };
    assert_eq!(backend.asked(), [off, Asked::Disable, enabled(0, 6)]);
}

#[test]
fn an_interrupt_without_eventfds_is_refused() {
    let (backend, device) = Scripted::new(DeviceFlags::PCI, IrqFlags::MASKABLE);
    let error = device.enable_irq(pci::INTX, ..).unwrap_err();
    assert!(matches!(error, IrqError::NoEventFd { .. }), "{error}");
    assert_eq!(backend.asked(), []);
}

#[test]
fn what_fails_can_be_tried_again() {
    let (backend, device) = pci(IrqFlags::empty());
    backend.answer(Err(Errno::NOSPC.into()));
    let error = device.enable_irq(pci::MSIX, 2..4).unwrap_err();
    assert_eq!(error.to_string(), "cannot enable vectors 2..4 of interrupt 2 (msix) of scripted");
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));

    let mut irqs = device.enable_irq(pci::MSIX, 2..4).unwrap();
    backend.answer(Err(Errno::NOMEM.into()));
    irqs.add(5..).unwrap_err();
    assert_eq!(irqs.len(), 2);
    irqs.add(5..).unwrap();
    assert_eq!(irqs.len(), 13);
    backend.answer(Err(Errno::IO.into()));
    let error = irqs.remove(..).unwrap_err();
    assert!(matches!(error, IrqError::VectorDisabled { vector: 0, .. }), "{error}");
    let error = irqs.remove(5..).unwrap_err();
    let expected = "cannot remove vector 5 of interrupt 2 (msix) of scripted";
    assert_eq!((error.to_string().as_str(), irqs.len()), (expected, 13));

    // A drop that fails has nobody to tell, and does not keep others out.
    backend.answer(Err(Errno::IO.into()));
    drop(irqs);
    drop(device.enable_irq(pci::INTX, ..1).unwrap());
}

#[test]
fn masks_and_triggers_reach_the_kernel() {
    let (backend, device) = pci(IrqFlags::MASKABLE);
    let irqs = device.enable_irq(pci::INTX, ..1).unwrap();
    irqs.mask(0).unwrap();
    irqs.unmask(0).unwrap();
    irqs.trigger(0).unwrap();
    let all = [IrqAction::Mask, IrqAction::Unmask, IrqAction::Trigger].map(Asked::Other);
    assert_eq!(backend.asked()[1..], all);
    backend.answer(Err(Errno::NOTTY.into()));
    let error = irqs.trigger(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "interrupt 0 (intx) of scripted cannot trigger vectors: its kernel driver does not do that, \
         work without it"
    );
    backend.answer(Err(Errno::INVAL.into()));
    let error = irqs.unmask(0).unwrap_err();
    assert!(error.to_string().contains("another handle of the device"), "{error}");
}

#[test]
fn only_the_three_of_pci_exclude_each_other() {
    let (_, device) = pci(IrqFlags::empty());
    let msi = device.enable_irq(pci::MSI, ..).unwrap();
    let _others = [pci::ERR, pci::REQ].map(|index| device.enable_irq(index, ..1).unwrap());
    let error = device.enable_irq(pci::MSIX, ..).unwrap_err();
    assert!(matches!(error, IrqError::Exclusive { .. }), "{error}");
    drop(msi);
    drop(device.enable_irq(pci::MSIX, ..).unwrap());

    let (_, platform) = Scripted::new(DeviceFlags::PLATFORM, IrqFlags::EVENTFD);
    let all: Vec<_> = (0..5).map(|index| platform.enable_irq(index, ..).unwrap()).collect();
    assert_eq!(all.len(), 5);
}

#[test]
fn an_eventfd_unmasks_one_vector_until_it_is_taken_away() {
    let (backend, device) = pci(IrqFlags::MASKABLE);
    let irqs = device.enable_irq(pci::INTX, 2..4).unwrap();
    let eventfd = irqs.vector(3).unwrap().as_fd();
    irqs.unmask_on_event(3, Some(eventfd)).unwrap();
    backend.answer(Err(Errno::BUSY.into()));
    let error = irqs.unmask_on_event(3, Some(eventfd)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot let an eventfd unmask vector 3 of interrupt 0 (intx) of scripted: an eventfd does that \
         already, take it away first"
    );
    irqs.unmask_on_event(3, None).unwrap();
    // What is off is not asked for.
    irqs.unmask_on_event(1, None).unwrap_err();
    let unmask = |on| Asked::UnmaskOnEvent { start: 3, on };
    assert_eq!(backend.asked(), [enabled(2, 2), unmask(1), unmask(1), unmask(0)]);
    // Another operation that is busy has another reason.
    backend.answer(Err(Errno::BUSY.into()));
    let error = irqs.unmask(3).unwrap_err().to_string();
    assert_eq!(error, "cannot unmask vector 3 of interrupt 0 (intx) of scripted");
}
