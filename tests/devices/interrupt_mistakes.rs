//! Interrupts that there are not.

use std::os::fd::AsFd as _;

use vfio_common::irq::{IrqError, IrqOperation, IrqSet, pci, removal_request};

use crate::interrupts::{with_card, with_platform, with_sparse};

#[test]
fn what_a_device_does_not_have_is_said() {
    with_card(|card| {
        for index in [pci::MSIX, pci::ERR, pci::REQ, 5, u32::MAX] {
            let error = card.enable_irq(index, ..).unwrap_err();
            assert!(matches!(error, IrqError::Absent { .. }), "{index}: {error}");
        }
        let error = card.enable_irq(pci::ERR, ..).unwrap_err().to_string();
        let expected =
            format!("there is no interrupt 3 (err) of {}: work without it, or poll", card.name());
        assert_eq!(error, expected);
    });
    with_platform(|device| {
        let error = device.enable_irq(1, ..).unwrap_err();
        assert!(error.to_string().starts_with("there is no interrupt 1 of "), "{error}");
        assert_eq!(removal_request(device.info().flags), None);
    });
}

#[test]
fn mediated_devices_let_no_eventfd_unmask() {
    with_card(|card| {
        let irqs = card.enable_irq(pci::INTX, ..).unwrap();
        let eventfd = irqs.vector(0).unwrap().as_fd();
        for eventfd in [Some(eventfd), None] {
            let error = irqs.unmask_on_event(0, eventfd).unwrap_err();
            let operation = IrqOperation::UnmaskOnEvent;
            assert!(
                matches!(&error, IrqError::Unsupported { operation: of, .. } if *of == operation)
            );
            let part = "cannot let an eventfd unmask vectors: its kernel driver does not do that";
            assert!(error.to_string().contains(part), "{error}");
        }
        let error = irqs.unmask_on_event(1, None).unwrap_err();
        assert!(matches!(error, IrqError::VectorDisabled { vector: 1, .. }), "{error}");
        irqs.unmask(0).unwrap();
    });
}

#[test]
fn ranges_that_are_none_are_refused() {
    with_sparse(|device| {
        let refused = |result: Result<IrqSet, IrqError>| {
            let error = result.unwrap_err();
            assert!(matches!(error, IrqError::OutOfRange { count: 8, .. }), "{error}");
        };
        refused(device.enable_irq(pci::MSIX, 0..9));
        refused(device.enable_irq(pci::MSIX, 8..));
        refused(device.enable_irq(pci::MSIX, 3..3));
        #[expect(clippy::reversed_empty_ranges, reason = "it is what a caller may get wrong")]
        refused(device.enable_irq(pci::MSIX, 4..2));
        refused(device.enable_irq(pci::MSIX, ..=u32::MAX));
        refused(device.enable_irq(pci::MSIX, u32::MAX..));
        // Nothing of it is left behind.
        let irqs = device.enable_irq(pci::MSIX, 7..).unwrap();
        assert_eq!(irqs.len(), 1);
        let error = irqs.trigger(6).unwrap_err();
        assert!(matches!(error, IrqError::VectorDisabled { vector: 6, .. }), "{error}");
        let error = irqs.unmask(u32::MAX).unwrap_err();
        assert!(matches!(error, IrqError::VectorDisabled { .. }), "{error}");
    });
}
