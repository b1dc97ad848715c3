//! What vfio-pci and the devices under it refuse.

use std::io;

use vfio_common::device::ResetOutcome;
use vfio_common::irq::{IrqError, pci};
use vfio_common::pci_config::Command;
use vfio_common::region::{Path, RegionError};
use vfio_common::route::adopt;

use crate::machine;
use crate::pci_function::{self, EDU, bind};
use crate::vfio_pci::Bound;

const NVME: &str = "0000:00:06.0";
/// The bridge before the group of two devices.
const BRIDGE: &str = "0000:00:07.0";
const EIO: i32 = 5;
const EINVAL: i32 = 22;

fn os_error(error: &dyn std::error::Error) -> Option<i32> {
    error.source()?.downcast_ref::<io::Error>()?.raw_os_error()
}

#[test]
fn registers_that_do_not_answer_lead_to_the_command_register() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    let config = device.pci_config().unwrap().unwrap();
    let registers = device.region(0).unwrap();
    config.set_command(Command::empty()).unwrap();
    // Through the mapping it would be a SIGBUS.
    let read = registers.read_via::<u32>(Path::Trapped, 0).unwrap_err();
    let write = registers.write_via(Path::Trapped, 4, 0u32).unwrap_err();
    for (error, verb) in [(read, "read"), (write, "write")] {
        assert!(matches!(error, RegionError::Io { index: 0, length: 4, .. }), "{error:?}");
        let text = error.to_string();
        for part in [verb, "region 0", EDU, "set bit 1 of the PCI command register"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(os_error(&error), Some(EIO));
    }
    config.set_command(Command::MEMORY).unwrap();
    assert_eq!(registers.read_via::<u32>(Path::Trapped, 0).unwrap(), 0x0100_00ed);
}

#[test]
fn a_device_without_reset_says_so_and_is_no_failure() {
    let (edu, nvme) = (Bound::new(EDU), Bound::new(NVME));
    assert_eq!(edu.open().reset().unwrap(), ResetOutcome::Unsupported);
    assert_eq!(nvme.open().reset().unwrap(), ResetOutcome::Done);
}

/// Only handles of the library know of each other. What a second one wants, the kernel refuses.
#[test]
fn an_interrupt_that_another_handle_has_on_leads_to_that_handle() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    let other = adopt(EDU, device.descriptor().unwrap().try_clone_to_owned().unwrap()).unwrap();
    let msi = device.enable_irq(pci::MSI, ..).unwrap();
    let error = other.enable_irq(pci::INTX, ..).unwrap_err();
    assert!(matches!(error, IrqError::Enable { .. }), "{error:?}");
    for part in ["intx", EDU, "another interrupt may be on", "let one handle have them all"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert_eq!(os_error(&error), Some(EINVAL));
    // One handle knows which it is.
    let error = device.enable_irq(pci::INTX, ..).unwrap_err();
    assert!(error.to_string().contains("cannot be enabled while interrupt 1 (msi)"), "{error}");
    drop(msi);
    other.enable_irq(pci::INTX, ..).unwrap();
}

#[test]
fn a_bridge_is_not_for_vfio_pci_and_cannot_be_opened() {
    assert_eq!(bind(BRIDGE).unwrap_err().raw_os_error(), Some(EINVAL));
    assert!(pci_function::open(BRIDGE).unwrap_err().to_string().starts_with(
        match &*machine::route() {
            "cdev" => "0000:00:07.0 has no character device: no kernel driver that offers it",
            _ => "cannot open /dev/vfio/",
        }
    ));
    assert_eq!(machine::run(&["doctor", BRIDGE]).status, 1);
}
