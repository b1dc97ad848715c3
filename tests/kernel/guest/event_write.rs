//! Writes to a real device that the kernel makes when an eventfd is signalled.

use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use vfio_common::device::{Device, EventWriteError};
use vfio_common::pci_config::Command;

use crate::machine::Created;
use crate::vfio_pci::Bound;

const EDU: &str = "0000:00:04.0";
/// What is written reads back inverted.
const LIVENESS: u64 = 0x04;

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn signal(event: &OwnedFd) {
    rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
}

/// Whether the register comes to read the inversion of a value. The kernel may write a little later.
fn reads_inverted(device: &Device, value: u32) -> bool {
    let registers = device.region(0).unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    while registers.read32(LIVENESS).unwrap() != !value {
        if Instant::now() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn an_eventfd_sets_off_a_write_until_it_is_dropped() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    device.pci_config().unwrap().unwrap().set_command(Command::MEMORY).unwrap();
    let events = [event(), event()];
    let write =
        |value, event: &OwnedFd| device.write_on_event(0, LIVENESS, 4, value, event.as_fd());
    // What is above the width is not written, nor compared.
    let first = write(0xffff_0000_1122_3344, &events[0]).unwrap();
    let _second = write(0x5566_7788, &events[1]).unwrap();
    for _ in 0..2 {
        signal(&events[0]);
        assert!(reads_inverted(&device, 0x1122_3344));
        signal(&events[1]);
        assert!(reads_inverted(&device, 0x5566_7788));
    }
    let error = write(0x1122_3344, &events[1]).unwrap_err();
    assert!(error.to_string().contains("sets off this write already"), "{error}");

    drop(first);
    signal(&events[0]);
    thread::sleep(Duration::from_millis(50));
    assert!(reads_inverted(&device, 0x5566_7788), "the first is off");
    let _again = write(0x1122_3344, &events[1]).unwrap();
    drop(device);
}

#[test]
fn registers_that_are_not_there_and_devices_that_do_not_do_it_are_refused() {
    let edu = Bound::new(EDU);
    let device = edu.open();
    let event = event();
    for (region, offset, width) in [
        (0, 1, 4),
        (0, 0, 3),
        (0, 0, 0),
        (0, 0, 16),
        (0, u64::MAX - 3, 4),
        (0, 0x10_0000, 4),
        (5, 0, 4),
    ] {
        let error = device.write_on_event(region, offset, width, 0, event.as_fd()).unwrap_err();
        assert!(matches!(error, EventWriteError::Invalid { .. }), "{error}");
    }
    // Configuration space is no BAR.
    let error = device.write_on_event(7, 0, 4, 0, event.as_fd()).unwrap_err();
    assert!(error.to_string().contains("only for BARs"), "{error}");

    let card = Created::new("mtty", "mtty-1");
    let bus = mdev_bus::Bus::builder().build().unwrap();
    let device = bus.open(&card.uuid.parse().unwrap()).unwrap();
    let error = device.write_on_event(0, 0, 1, 0, event.as_fd()).unwrap_err();
    assert!(matches!(error, EventWriteError::Unsupported { .. }), "{error}");
}
