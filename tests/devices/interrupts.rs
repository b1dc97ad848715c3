//! Interrupts, each on an eventfd.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread;
use std::time::{Duration, Instant};

use vfio_common::device::{Device, IrqFlags};
use vfio_common::irq::{IrqError, IrqOperation, IrqSet, Vector, pci, removal_request};
use vfio_common::region::Region;

use crate::bench::Bench;

/// Long enough for what does happen, on a slow machine.
const LONG: Duration = Duration::from_secs(20);
/// For what does not.
const SHORT: Duration = Duration::from_millis(20);

/// Registers of a port of the card.
const DATA: u64 = 0;
const INTERRUPT_ENABLE: u64 = 1;
const FIFO_CONTROL: u64 = 2;
const MODEM_CONTROL: u64 = 4;

const DOORBELL: u64 = 0xc;

fn with(parent: &str, mdev_type: &str, test: impl FnOnce(&Device)) {
    let bench = Bench::new();
    let created = bench.create(parent, mdev_type);
    let device = bench.open(&created);
    test(&device);
}

pub(crate) fn with_card(test: impl FnOnce(&Device)) {
    with("mtty", "mtty-1", test);
}

pub(crate) fn with_sparse(test: impl FnOnce(&Device)) {
    with("mdevtest", "mdevtest-sparse", test);
}

pub(crate) fn with_platform(test: impl FnOnce(&Device)) {
    with("mdevtest-soc", "mdevtest-platform", test);
}

/// The card's port, with the receive interrupt and the FIFO on.
fn listening(device: &Device) -> Region {
    let port = device.region(0).unwrap();
    port.write8(FIFO_CONTROL, 0x01).unwrap();
    port.write8(INTERRUPT_ENABLE, 0x01).unwrap();
    port
}

fn receive_all(port: &Region) -> Vec<u8> {
    let ready = || port.read8(5).unwrap() & 1 != 0;
    std::iter::from_fn(|| ready().then(|| port.read8(DATA).unwrap())).collect()
}

fn read(irqs: &IrqSet, vector: u32) -> Option<u64> {
    irqs.vector(vector).unwrap().try_read().unwrap()
}

/// How often each vector that is on has fired.
fn fired(irqs: &IrqSet) -> Vec<(u32, Option<u64>)> {
    irqs.vectors().map(|vector| (vector.number(), vector.try_read().unwrap())).collect()
}

fn soon(vector: &Vector) -> Option<u64> {
    vector.wait(Some(LONG)).unwrap()
}

#[test]
fn intx_masks_itself_and_fires_again_after_unmask() {
    with_card(|card| {
        let irqs = card.enable_irq(pci::INTX, ..).unwrap();
        assert!(irqs.info().flags.contains(IrqFlags::AUTOMASKED | IrqFlags::MASKABLE));
        let port = listening(card);
        port.write8(DATA, b'a').unwrap();
        assert_eq!(soon(irqs.vector(0).unwrap()), Some(1));
        assert_eq!(receive_all(&port), b"a");

        port.write8(DATA, b'b').unwrap();
        assert_eq!(read(&irqs, 0), None, "it is masked");
        irqs.unmask(0).unwrap();
        assert_eq!(read(&irqs, 0), None, "what happened meanwhile is lost: look at the device");
        assert_eq!(receive_all(&port), b"b");

        port.write8(DATA, b'c').unwrap();
        assert_eq!(read(&irqs, 0), Some(1));
    });
}

#[test]
fn a_masked_intx_does_not_fire() {
    with_card(|card| {
        let irqs = card.enable_irq(pci::INTX, ..).unwrap();
        irqs.mask(0).unwrap();
        let port = listening(card);
        port.write8(DATA, b'a').unwrap();
        irqs.trigger(0).unwrap();
        assert_eq!(irqs.vector(0).unwrap().wait(Some(SHORT)).unwrap(), None);
        irqs.unmask(0).unwrap();
        irqs.trigger(0).unwrap();
        assert_eq!(read(&irqs, 0), Some(1));
    });
}

#[test]
fn msi_fires_for_the_first_byte_only_and_for_each_other_source() {
    with_card(|card| {
        let irqs = card.enable_irq(pci::MSI, ..).unwrap();
        let port = card.region(0).unwrap();
        port.write8(INTERRUPT_ENABLE, 0x01).unwrap();
        port.write8(DATA, b'a').unwrap();
        assert_eq!(read(&irqs, 0), None, "the FIFO's trigger level was never set");
        receive_all(&port);

        let port = listening(card);
        for byte in *b"abc" {
            port.write8(DATA, byte).unwrap();
        }
        assert_eq!(read(&irqs, 0), Some(1));
        assert_eq!(receive_all(&port), b"abc");
        port.write8(DATA, b'd').unwrap();
        receive_all(&port);
        port.write8(DATA, b'e').unwrap();
        assert_eq!(read(&irqs, 0), Some(2), "the count adds up");
        receive_all(&port);

        // Transmitter empty: when it is enabled, and when a read empties the FIFO or finds it empty.
        port.write8(INTERRUPT_ENABLE, 0x02).unwrap();
        assert_eq!(read(&irqs, 0), Some(1));
        port.write8(DATA, b'f').unwrap();
        assert_eq!(read(&irqs, 0), None);
        port.read8(DATA).unwrap();
        port.read8(DATA).unwrap();
        assert_eq!(read(&irqs, 0), Some(2));

        // Overrun.
        port.write8(INTERRUPT_ENABLE, 0x04).unwrap();
        for byte in 0..18 {
            port.write8(DATA, byte).unwrap();
        }
        assert_eq!(read(&irqs, 0), Some(2));

        // Modem status: the second output, and a line.
        port.write8(INTERRUPT_ENABLE, 0x08).unwrap();
        port.write8(MODEM_CONTROL, 0x0b).unwrap();
        assert_eq!(read(&irqs, 0), Some(2));
        port.write8(MODEM_CONTROL, 0x04).unwrap();
        assert_eq!(read(&irqs, 0), None);
    });
}

#[test]
fn msi_cannot_be_masked() {
    with_card(|card| {
        let irqs = card.enable_irq(pci::MSI, ..).unwrap();
        for (done, expected) in
            [(irqs.mask(0), IrqOperation::Mask), (irqs.unmask(0), IrqOperation::Unmask)]
        {
            let error = done.unwrap_err();
            assert!(
                matches!(&error, IrqError::Unsupported { operation, .. } if *operation == expected),
                "{error}"
            );
            assert!(error.to_string().starts_with("interrupt 1 (msi) of "), "{error}");
        }
        irqs.trigger(0).unwrap();
        assert_eq!(read(&irqs, 0), Some(1));
    });
}

#[test]
fn only_one_of_intx_and_msi_is_on_at_a_time() {
    with_card(|card| {
        let intx = card.enable_irq(pci::INTX, ..).unwrap();
        let refused = card.enable_irq(pci::MSI, ..).unwrap_err();
        assert!(matches!(refused, IrqError::Exclusive { .. }), "{refused}");
        let name = card.name();
        let expected = format!(
            "interrupt 1 (msi) of {name} cannot be enabled while interrupt 0 (intx) of {name} is: \
             only one of intx, msi and msix may be on, so drop the other's interrupt set first"
        );
        assert_eq!(refused.to_string(), expected);
        let again = card.enable_irq(pci::INTX, ..).unwrap_err();
        assert!(matches!(again, IrqError::AlreadyEnabled { .. }), "{again}");
        intx.trigger(0).unwrap();
        assert_eq!(read(&intx, 0), Some(1), "it is still on");

        // The eventfd is silent after the drop, and the next interrupt is another's.
        let old = intx.vector(0).unwrap().clone();
        drop(intx);
        let msi = card.enable_irq(pci::MSI, ..).unwrap();
        let port = listening(card);
        port.write8(DATA, b'a').unwrap();
        assert_eq!((read(&msi, 0), old.try_read().unwrap()), (Some(1), None));
        drop(msi);
        drop(card.enable_irq(pci::INTX, ..).unwrap());
    });
}

#[test]
fn what_another_handle_enabled_is_the_kernels_to_refuse() {
    let bench = Bench::new();
    let created = bench.create("mtty", "mtty-1");
    let bus = bench.bus();
    let open = || bus.open(&created.address).unwrap();
    let (first, second) = (open(), open());
    let intx = first.enable_irq(pci::INTX, ..).unwrap();
    let refused = second.enable_irq(pci::MSI, ..).unwrap_err();
    assert!(matches!(refused, IrqError::Enable { .. }), "{refused}");
    assert!(refused.to_string().contains("another handle of the device"), "{refused}");
    drop(intx);
    drop(second.enable_irq(pci::MSI, ..).unwrap());
}

#[test]
fn each_msix_vector_has_its_own_eventfd() {
    with_sparse(|device| {
        let irqs = device.enable_irq(pci::MSIX, ..).unwrap();
        let bar = device.region(0).unwrap();
        assert_eq!(irqs.len(), 8);
        let mut eventfds: Vec<_> =
            irqs.vectors().map(|vector| vector.as_fd().as_raw_fd()).collect();
        eventfds.sort_unstable();
        eventfds.dedup();
        assert_eq!(eventfds.len(), 8);
        for rung in 0..8u32 {
            bar.write32(DOORBELL, rung).unwrap();
            for (vector, count) in fired(&irqs) {
                assert_eq!(count, (vector == rung).then_some(1), "{vector} after {rung}");
            }
        }
        for rung in [7, 3, 7, 8, u32::MAX] {
            bar.write32(DOORBELL, rung).unwrap();
        }
        let heard: Vec<_> = fired(&irqs).into_iter().filter_map(|(v, n)| Some((v, n?))).collect();
        assert_eq!(heard, [(3, 1), (7, 2)]);
    });
}

#[test]
fn a_part_of_the_vectors_is_enough() {
    with_sparse(|device| {
        let irqs = device.enable_irq(pci::MSIX, 2..=4).unwrap();
        let bar = device.region(0).unwrap();
        for rung in 0..8 {
            bar.write32(DOORBELL, rung).unwrap();
        }
        assert_eq!(fired(&irqs), [(2, Some(1)), (3, Some(1)), (4, Some(1))]);
        let error = irqs.vector(5).unwrap_err();
        assert!(matches!(error, IrqError::VectorDisabled { vector: 5, .. }), "{error}");
    });
}

#[test]
fn vectors_come_and_go_while_others_stay() {
    with_sparse(|device| {
        let mut irqs = device.enable_irq(pci::MSIX, ..2).unwrap();
        let bar = device.region(0).unwrap();
        let ring_all = || (0..8).try_for_each(|rung| bar.write32(DOORBELL, rung)).unwrap();
        bar.write32(DOORBELL, 1).unwrap();
        irqs.add(5..7).unwrap();
        assert_eq!(read(&irqs, 1), Some(1), "undisturbed");
        ring_all();
        assert_eq!(fired(&irqs), [(0, Some(1)), (1, Some(1)), (5, Some(1)), (6, Some(1))]);

        let removed = irqs.vector(5).unwrap().clone();
        irqs.remove(5..=5).unwrap();
        ring_all();
        assert_eq!(fired(&irqs), [(0, Some(1)), (1, Some(1)), (6, Some(1))]);
        assert_eq!(removed.try_read().unwrap(), None);

        let refused = irqs.add(4..=6).unwrap_err();
        assert!(matches!(refused, IrqError::VectorEnabled { vector: 6, .. }), "{refused}");
        let refused = irqs.remove(..=6).unwrap_err();
        assert!(matches!(refused, IrqError::VectorDisabled { vector: 2, .. }), "{refused}");
        ring_all();
        assert_eq!(fired(&irqs), [(0, Some(1)), (1, Some(1)), (6, Some(1))]);

        irqs.remove(6..7).unwrap();
        irqs.remove(0..2).unwrap();
        assert!(irqs.is_empty());
        ring_all();
        irqs.add(..).unwrap();
        ring_all();
        assert!(fired(&irqs).iter().all(|(_, count)| *count == Some(1)));
    });
}

#[test]
fn the_last_vector_of_msi_goes_and_comes_back() {
    with_card(|card| {
        let mut irqs = card.enable_irq(pci::MSI, ..).unwrap();
        irqs.remove(..).unwrap();
        let error = irqs.trigger(0).unwrap_err();
        assert!(matches!(error, IrqError::VectorDisabled { .. }), "{error}");
        irqs.add(..).unwrap();
        irqs.trigger(0).unwrap();
        assert_eq!(read(&irqs, 0), Some(1));
    });
}

#[test]
fn loopback_fires_the_vector_that_is_named() {
    with_sparse(|device| {
        let irqs = device.enable_irq(pci::MSIX, ..).unwrap();
        irqs.trigger(6).unwrap();
        irqs.trigger(6).unwrap();
        let heard: Vec<_> = fired(&irqs).into_iter().filter_map(|(v, n)| Some((v, n?))).collect();
        assert_eq!(heard, [(6, 2)]);
        let error = irqs.mask(6).unwrap_err();
        assert!(matches!(error, IrqError::Unsupported { .. }), "{error}");
    });
}

#[test]
fn a_wait_ends_with_the_time_or_with_the_interrupt() {
    with_sparse(|device| {
        let irqs = device.enable_irq(pci::MSIX, ..).unwrap();
        let vector = irqs.vector(2).unwrap();
        let start = Instant::now();
        assert_eq!(vector.wait(Some(SHORT)).unwrap(), None);
        assert!(start.elapsed() >= SHORT);
        assert_eq!(vector.wait(Some(Duration::ZERO)).unwrap(), None);

        let waiting = vector.clone();
        let waiter = thread::spawn(move || waiting.wait(None).unwrap());
        device.region(0).unwrap().write32(DOORBELL, 2).unwrap();
        assert_eq!(waiter.join().unwrap(), Some(1));
    });
}

#[test]
fn a_platform_interrupt_keeps_what_comes_while_it_is_masked() {
    with_platform(|device| {
        let irqs = device.enable_irq(0, ..).unwrap();
        irqs.trigger(0).unwrap();
        irqs.trigger(0).unwrap();
        assert_eq!(read(&irqs, 0), Some(1), "it has masked itself");
        irqs.unmask(0).unwrap();
        assert_eq!(read(&irqs, 0), Some(1), "the second");
        irqs.unmask(0).unwrap();
        assert_eq!(read(&irqs, 0), None);
        let error = irqs.mask(0).unwrap_err();
        assert!(matches!(error, IrqError::Unsupported { .. }), "{error}");
    });
}

#[test]
fn a_removal_asks_for_the_device_and_ends_when_it_is_let_go() {
    let bench = Bench::new();
    let created = bench.create("mdevtest", "mdevtest-sparse");
    let device = bench.open(&created);
    let index = removal_request(device.info().flags).unwrap();
    let request = device.enable_irq(index, ..).unwrap();
    let msix = device.enable_irq(pci::MSIX, ..).unwrap();
    assert_eq!(read(&request, 0), None);

    let removal = created.start_removal();
    assert_eq!(soon(request.vector(0).unwrap()), Some(1));
    assert!(!removal.ends_within(SHORT), "it is still open");
    device.region(0).unwrap().write32(DOORBELL, 0).unwrap();
    assert_eq!(read(&msix, 0), Some(1), "and still works");
    drop((device, msix));
    assert!(!removal.ends_within(SHORT), "an interrupt set keeps the device open");
    drop(request);
    assert!(removal.ends_within(LONG));
}
