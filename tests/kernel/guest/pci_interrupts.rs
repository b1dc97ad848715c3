//! Interrupts of PCI devices under vfio-pci, the kernel driver whose rules the others follow: a line
//! that is level-triggered, MSI, and MSI-X that grows.

use std::fs;
use std::os::fd::AsFd as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use vfio_common::device::{Device, IrqFlags};
use vfio_common::irq::{IrqError, IrqSet, pci};
use vfio_common::pci_config::Command;

use crate::vfio_pci::Bound;

const EDU: &str = "0000:00:04.0";
const NVME: &str = "0000:00:06.0";

/// Registers of QEMU's edu device: what is written to the first is set in its interrupt status, what
/// is written to the second is cleared; the line is up while anything is set.
const RAISE: u64 = 0x60;
const ACKNOWLEDGE: u64 = 0x64;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

/// Registers answer, and messages are sent.
fn power_up(device: &Device) {
    let config = device.pci_config().unwrap().unwrap();
    config.set_command(Command::MEMORY | Command::BUS_MASTER).unwrap();
}

fn wait(irqs: &IrqSet, vector: u32, limit: Duration) -> Option<u64> {
    irqs.vector(vector).unwrap().wait(Some(limit)).unwrap()
}

#[test]
fn an_intx_line_that_is_up_fires_again_at_each_unmask() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    power_up(&device);
    let registers = device.region(0).unwrap();
    let irqs = device.enable_irq(pci::INTX, ..).unwrap();
    assert!(irqs.info().flags.contains(IrqFlags::AUTOMASKED | IrqFlags::MASKABLE));

    registers.write32(RAISE, 1).unwrap();
    assert_eq!(wait(&irqs, 0, LONG), Some(1));
    assert_eq!(wait(&irqs, 0, SHORT), None, "it has masked itself");
    irqs.unmask(0).unwrap();
    assert_eq!(wait(&irqs, 0, LONG), Some(1), "the line is still up");
    registers.write32(ACKNOWLEDGE, 1).unwrap();
    irqs.unmask(0).unwrap();
    assert_eq!(wait(&irqs, 0, SHORT), None);

    irqs.mask(0).unwrap();
    registers.write32(RAISE, 1).unwrap();
    assert_eq!(wait(&irqs, 0, SHORT), None);
    irqs.unmask(0).unwrap();
    assert_eq!(wait(&irqs, 0, LONG), Some(1), "a level is not lost");
    registers.write32(ACKNOWLEDGE, 1).unwrap();
}

#[test]
fn an_eventfd_unmasks_an_intx_line_until_it_is_taken_away() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    power_up(&device);
    let registers = device.region(0).unwrap();
    let irqs = device.enable_irq(pci::INTX, ..).unwrap();
    let unmasking = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let signal = || rustix::io::write(&unmasking, &1u64.to_ne_bytes()).unwrap();

    irqs.unmask_on_event(0, Some(unmasking.as_fd())).unwrap();
    let error = irqs.unmask_on_event(0, Some(unmasking.as_fd())).unwrap_err().to_string();
    assert!(error.contains("an eventfd does that already"), "{error}");
    registers.write32(RAISE, 1).unwrap();
    assert_eq!(wait(&irqs, 0, LONG), Some(1));
    assert_eq!(wait(&irqs, 0, SHORT), None, "it has masked itself");
    for _ in 0..2 {
        signal();
        assert_eq!(wait(&irqs, 0, LONG), Some(1), "the line is still up");
    }
    irqs.unmask(0).unwrap();
    assert_eq!(wait(&irqs, 0, LONG), Some(1), "the call works beside it");

    irqs.unmask_on_event(0, None).unwrap();
    signal();
    assert_eq!(wait(&irqs, 0, SHORT), None, "it is taken away");
    irqs.unmask_on_event(0, Some(unmasking.as_fd())).unwrap();
    assert_eq!(wait(&irqs, 0, LONG), Some(1), "it was signalled before");
    registers.write32(ACKNOWLEDGE, 1).unwrap();
    signal();
    assert_eq!(wait(&irqs, 0, SHORT), None);

    // It goes with the set.
    drop(irqs);
    let irqs = device.enable_irq(pci::INTX, ..).unwrap();
    irqs.unmask_on_event(0, Some(unmasking.as_fd())).unwrap();
}

#[test]
fn msi_comes_after_intx_is_off() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    power_up(&device);
    let registers = device.region(0).unwrap();
    let intx = device.enable_irq(pci::INTX, ..).unwrap();
    let refused = device.enable_irq(pci::MSI, ..).unwrap_err();
    assert!(matches!(refused, IrqError::Exclusive { .. }), "{refused}");
    drop(intx);

    let msi = device.enable_irq(pci::MSI, ..).unwrap();
    assert!(msi.info().flags.contains(IrqFlags::NORESIZE));
    for _ in 0..2 {
        registers.write32(RAISE, 2).unwrap();
        assert_eq!(wait(&msi, 0, LONG), Some(1));
        registers.write32(ACKNOWLEDGE, 2).unwrap();
    }
    let error = msi.unmask_on_event(0, None).unwrap_err();
    assert!(matches!(error, IrqError::Unsupported { .. }), "{error}");
    let error = msi.mask(0).unwrap_err();
    assert!(matches!(error, IrqError::Unsupported { .. }), "{error}");
    drop(msi);

    let intx = device.enable_irq(pci::INTX, ..).unwrap();
    registers.write32(RAISE, 4).unwrap();
    assert_eq!(wait(&intx, 0, LONG), Some(1), "and back");
    registers.write32(ACKNOWLEDGE, 4).unwrap();
}

/// A line that rises while INTx is off. Device and vfio-pci keep it: vfio-pci looks at the device's status
/// at an unmask, and fires. A real interrupt controller fires as soon as INTx is on. QEMU's does not, with or
/// without MSI before: Linux leaves the pin of a line that nobody uses masked and edge-triggered
/// (`ioapic_mask_entry`), and there QEMU ignores what rises (`ioapic_set_irq`).
#[test]
fn an_intx_line_that_rose_before_it_was_enabled_is_found_at_the_next_unmask() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    power_up(&device);
    let registers = device.region(0).unwrap();
    for msi_before in [false, true] {
        if msi_before {
            let msi = device.enable_irq(pci::MSI, ..).unwrap();
            registers.write32(RAISE, 1).unwrap();
            assert_eq!(wait(&msi, 0, LONG), Some(1));
            registers.write32(ACKNOWLEDGE, 1).unwrap();
            drop(msi);
        }
        registers.write32(RAISE, 2).unwrap();
        let intx = device.enable_irq(pci::INTX, ..).unwrap();
        let at_once = wait(&intx, 0, SHORT);
        if at_once.is_none() {
            intx.mask(0).unwrap();
            intx.unmask(0).unwrap();
            assert_eq!(wait(&intx, 0, LONG), Some(1), "the line is up");
        }
        registers.write32(ACKNOWLEDGE, 2).unwrap();
        intx.unmask(0).unwrap();
        assert_eq!(wait(&intx, 0, SHORT), None);
    }
}

#[test]
fn msix_grows_and_shrinks() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    let mut irqs = device.enable_irq(pci::MSIX, ..2).unwrap();
    assert!(!irqs.info().flags.contains(IrqFlags::NORESIZE), "{:?}", irqs.info());
    let last = irqs.info().count - 1;
    irqs.add(last..).unwrap();
    irqs.add(5..7).unwrap();
    irqs.remove(6..7).unwrap();
    for vector in [0, 1, 5, last] {
        irqs.trigger(vector).unwrap();
        let fired: Vec<_> = irqs
            .vectors()
            .filter(|of| of.try_read().unwrap().is_some())
            .map(|of| of.number())
            .collect();
        assert_eq!(fired, [vector]);
    }
    irqs.remove(..2).unwrap();
    irqs.trigger(5).unwrap();
    assert_eq!(wait(&irqs, 5, SHORT), Some(1));
    drop(irqs);
    assert_eq!(device.enable_irq(pci::MSIX, ..).unwrap().len(), last as usize + 1);
}

#[test]
fn the_error_and_the_removal_request_stand_beside_the_others() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    let _msix = device.enable_irq(pci::MSIX, ..1).unwrap();
    for index in [pci::ERR, pci::REQ] {
        let irqs = device.enable_irq(index, ..).unwrap();
        assert_eq!(irqs.len(), 1);
        irqs.trigger(0).unwrap();
        assert_eq!(wait(&irqs, 0, SHORT), Some(1), "{index}");
    }
}

#[test]
fn vfio_pci_asks_for_a_device_that_is_unbound() {
    let nvme = Bound::new(NVME);
    let device = nvme.open();
    let request = device.enable_irq(pci::REQ, ..).unwrap();
    let unbind = nvme.path("driver/unbind");
    let (done, unbound) = mpsc::channel();
    thread::spawn(move || done.send(fs::write(unbind, NVME)));
    assert!(wait(&request, 0, LONG).is_some());
    assert!(unbound.try_recv().is_err(), "it waits");
    drop((device, request));
    unbound.recv_timeout(LONG).unwrap().unwrap();
}
