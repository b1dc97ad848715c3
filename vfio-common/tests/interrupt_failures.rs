//! Every call on the way to an interrupt fails once: nothing stays open, nothing stays on. The only test
//! of its process, for it counts descriptors.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::error::Error;
use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use vfio_common::irq::pci;
use vfio_common::route::Target;
use vfio_sim::Machine;

const NAME: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003";

/// What the errors say, in the order of the calls.
const STEPS: [&str; 11] = [
    "cannot get it from group 2",
    "cannot read what kind of device it is",
    "cannot read the description of interrupt 4 of it",
    "cannot enable vectors 0..1 of interrupt 4 (req) of it",
    "cannot read the description of interrupt 2 of it",
    "cannot enable vectors 0..2 of interrupt 2 (msix) of it",
    "cannot trigger vector 1 of interrupt 2 (msix) of it",
    "cannot remove vector 0 of interrupt 2 (msix) of it",
    "cannot enable vectors 5..8 of interrupt 2 (msix) of it",
    "cannot read the description of region 0 of it",
    "cannot write 4 bytes at 0xc in region 0 of it",
];

/// Opens the device, fires two vectors of MSI-X, exchanges one of them, and closes the device.
fn walk(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let sysfs = format!("bus/mdev/devices/{NAME}").into();
    let device = machine.opener().open(&Target { name: NAME.to_owned(), sysfs })?;
    let request = device.enable_irq(pci::REQ, ..)?;
    let mut irqs = device.enable_irq(pci::MSIX, ..2)?;
    irqs.trigger(1)?;
    irqs.remove(..1)?;
    irqs.add(5..)?;
    device.region(0)?.write32(0xc, 5)?;
    assert_eq!(irqs.vector(5)?.wait(Some(Duration::ZERO))?, Some(1));
    drop((request, device));
    assert_eq!(irqs.vector(1)?.try_read()?, Some(1));
    Ok(())
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn whatever_fails_nothing_is_left() {
    let machine = Machine::demo().unwrap();
    walk(&machine).unwrap();
    let before = machine.calls();
    walk(&machine).unwrap();
    let calls = machine.calls() - before;
    let open = descriptors();
    let mut failed = Vec::new();
    for nth in 1..=calls {
        machine.fail_call(nth, Errno::NOMEM.raw_os_error());
        if let Err(error) = walk(&machine) {
            failed.push(error.to_string().replace(NAME, "it"));
        }
        assert_eq!((machine.open_devices(), descriptors()), (0, open), "call {nth}");
    }
    // Mappings that fail are done without, and drops have nobody to tell.
    assert_eq!(failed, STEPS);
    machine.fail_call(0, 0);
    walk(&machine).unwrap();
}
