//! On the machine `no_remapping`: an IOMMU that does not remap interrupts. Behind it a device could send
//! any interrupt, so VFIO keeps devices out.

use std::error::Error as _;
use std::fs;

use vfio_common::irq::{IrqError, pci};
use vfio_common::route::OpenError;

use crate::machine::{self, Created};
use crate::pci_function::{self, EDU};
use crate::vfio_pci::Bound;

/// A device with 16 vectors of MSI.
const XHCI: &str = "0000:00:05.0";
const EPERM: i32 = 1;

/// Lets devices in all the same, until it is dropped. Each route has a parameter of its own.
struct Allowed;

/// The module that keeps devices out.
fn module() -> &'static str {
    if machine::route() == "cdev" { "iommufd" } else { "vfio_iommu_type1" }
}

fn allow(value: &str) {
    fs::write(format!("/sys/module/{}/parameters/allow_unsafe_interrupts", module()), value)
        .unwrap();
}

impl Allowed {
    fn new() -> Self {
        allow("Y");
        Self
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        allow("N");
    }
}

#[test]
fn a_device_is_kept_out_and_both_ways_out_are_named() {
    let _bound = Bound::new(EDU);
    let parameter = format!("{}.allow_unsafe_interrupts", module());
    let error = pci_function::open(EDU).unwrap_err();
    assert!(matches!(error, OpenError::Step { .. }), "{error:?}");
    let text = error.to_string();
    for part in ["cannot ", "no interrupt remapping", "firmware (VT-d, AMD-Vi)", &parameter] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(EPERM));

    let diagnosed = machine::run(&["doctor", EDU]);
    assert_eq!(diagnosed.status, 1);
    for part in ["interrupt remapping is off", "firmware (VT-d, AMD-Vi)", &parameter] {
        assert!(diagnosed.stdout.contains(part), "{part}: {}", diagnosed.stdout);
    }
}

#[test]
fn a_device_is_let_in_by_the_parameter_that_was_named_and_the_diagnosis_warns() {
    let _bound = Bound::new(EDU);
    let _allowed = Allowed::new();
    drop(pci_function::open(EDU).unwrap());
    let diagnosed = machine::run(&["doctor", EDU]);
    assert_eq!(diagnosed.status, 0, "{}", diagnosed.stdout);
    for part in ["warning", "interrupt remapping is off", "they can send any interrupt"] {
        assert!(diagnosed.stdout.contains(part), "{part}: {}", diagnosed.stdout);
    }
}

#[test]
fn a_mediated_device_needs_no_remapping() {
    let card = Created::new("mtty", "mtty-1");
    let ran = machine::run(&["doctor", &card.uuid]);
    assert_eq!(ran.status, 0, "{}", ran.stdout);
    assert_eq!(machine::run(&["show", &card.uuid]).status, 0);
}

/// Without remapping, x86 has one vector of MSI for a device, however many it can have.
#[test]
fn fewer_vectors_than_a_device_says_are_counted_and_none_is_on() {
    let xhci = Bound::new(XHCI);
    let _allowed = Allowed::new();
    let device = xhci.open();
    assert_eq!(device.irq_info(pci::MSI).unwrap().unwrap().count, 16);
    let error = device.enable_irq(pci::MSI, ..).unwrap_err();
    assert!(matches!(error, IrqError::Partial { wanted: 16, granted: 1, .. }), "{error:?}");
    let sentence = format!(
        "interrupt 1 (msi) of {XHCI} can have only 1 of the 16 vectors that were wanted: enable at most 1"
    );
    assert_eq!(error.to_string(), sentence);
    assert_eq!(device.enable_irq(pci::MSI, ..1).unwrap().len(), 1);
}
