//! A PCI function and its driver: registers, interrupts by message and on the line, and DMA.

use drivers::edu::{Edu, EduError, Interrupt};
use pci_bus::{Bus, Outcome, SelfTest};
use vfio_common::iommu::{DeviceAccess, DmaBuffer};
use vfio_common::pci_config::Command;

use crate::bench::{Bench, Function};

const WAYS: [Interrupt; 2] = [Interrupt::Msi, Interrupt::Intx];
const READ: DeviceAccess = DeviceAccess::READ;
const WRITE: DeviceAccess = DeviceAccess::WRITE;

/// Runs a test with the driver that the bus bound.
fn on_edu(test: impl Fn(&Edu, &Bus, &Function<'_>)) {
    let bench = Bench::new();
    let function = bench.edu();
    let bus = function.bus();
    let row = bus.plug(&function.address).unwrap();
    assert!(matches!(row.outcome, Outcome::Bound("edu")), "{row}");
    let driver = bus.driver::<Edu>(&function.address).unwrap();
    assert_eq!(driver.with(|edu| test(edu, &bus, &function)), Some(()));
    assert!(bus.unbind(&function.address));
}

#[test]
fn an_edu_is_scanned_matched_bound_and_tests_itself() {
    let bench = Bench::new();
    let function = bench.edu();
    let bus = function.bus();
    assert!(bus.scan().unwrap().added.contains(&function.address));
    let devices = bus.devices();
    let info = devices.iter().find(|info| info.address == function.address).unwrap();
    assert_eq!((info.vendor, info.device), (Some(0x1234), Some(0x11e8)));
    assert_eq!((info.class, info.revision), (Some(0x00_ff00), Some(0x10)));
    assert_eq!(info.kernel_driver.as_deref(), Some("vfio-pci"));
    assert!(info.offered && info.iommu_group.is_some());
    assert_eq!(bus.registry().best(info).map(|driver| driver.name()), Some("edu"));

    let row = bus.plug(&function.address).unwrap();
    assert!(matches!(row.outcome, Outcome::Bound("edu")), "{row}");
    let SelfTest::Passed(text) = bus.self_test(&function.address).unwrap().unwrap() else {
        panic!("it has a self-test")
    };
    assert!(text.contains("4095 bytes by DMA there and back, told by MSI"), "{text}");
}

#[test]
fn the_function_answers_while_it_is_bound_and_not_before_or_after() {
    let bench = Bench::new();
    let function = bench.edu();
    let switches = Command::MEMORY | Command::BUS_MASTER;
    let command = || {
        let (device, _) = function.open();
        device.pci_config().unwrap().unwrap().command().unwrap()
    };
    let before = command();
    assert!(!before.contains(Command::BUS_MASTER), "{before:?}");
    let bus = function.bus();
    bus.plug(&function.address).unwrap();
    let device = bus.open(&function.address).unwrap();
    let config = device.pci_config().unwrap().unwrap();
    assert!(config.command().unwrap().contains(switches));
    assert!(bus.unbind(&function.address));
    let after = config.command().unwrap() & switches;
    assert_eq!(after, before & switches, "it is as it was");
}

#[test]
fn interrupts_arrive_by_message_and_on_the_line_and_are_counted() {
    on_edu(|edu, _, _| {
        assert_eq!(edu.interrupt(), Interrupt::Msi);
        for way in WAYS.into_iter().chain(WAYS) {
            edu.set_interrupt(way).unwrap();
            let before = edu.interrupts();
            for rung in 1..=5 {
                edu.ring().unwrap();
                assert_eq!(edu.interrupts() - before, rung, "{way}");
            }
            assert_eq!(edu.factorial(12).unwrap(), 479_001_600, "{way}");
            assert_eq!(edu.interrupts() - before, 6, "{way}");
        }
        assert!(edu.is_alive().unwrap());
        assert_eq!(edu.version().unwrap(), (1, 0));
    });
}

#[test]
fn dma_copies_every_byte_by_both_interrupts() {
    on_edu(|edu, _, _| {
        for (seed, way) in (1u8..).zip(WAYS) {
            edu.set_interrupt(way).unwrap();
            let before = edu.interrupts();
            let sent: Vec<u8> = (0..Edu::BUFFER)
                .map(|at| (at % 253).to_le_bytes()[0].wrapping_mul(seed) ^ 0x3c)
                .collect();
            edu.write(0, &sent).unwrap();
            let mut found = vec![0; Edu::BUFFER];
            edu.read(0, &mut found).unwrap();
            assert_eq!(found, sent, "{way}");
            // Any part of it, at any offset.
            for (offset, length) in [(0, 1), (1, 7), (4094, 1), (123, 777)] {
                let mut part = vec![0; length];
                edu.read(offset, &mut part).unwrap();
                assert_eq!(part, sent[offset..offset + length], "{way}: {offset}+{length}");
            }
            assert_eq!(edu.interrupts() - before, 6, "{way}: one a transfer");
            edu.write(9, &[]).unwrap();
            assert_eq!(edu.interrupts() - before, 6, "nothing to do");
        }
    });
}

#[test]
fn dma_goes_between_buffers_of_the_caller_and_no_byte_further() {
    on_edu(|edu, bus, function| {
        let space = bus.open(&function.address).unwrap().address_space().unwrap();
        let build = |access| DmaBuffer::builder(8192, access).highest(Edu::HIGHEST).build(&space);
        let (source, target) = (build(READ).unwrap(), build(WRITE).unwrap());
        let bytes: Vec<u8> = (0..100).collect();
        source.copy_in(4090, &bytes).unwrap();
        edu.write_from(&source, 4090..4190, 1000).unwrap();
        edu.read_into(&target, 4050..4150, 1000).unwrap();
        let mut found = vec![0xee; 8192];
        target.copy_out(0, &mut found).unwrap();
        assert_eq!(found[4050..4150], bytes);
        assert!(found[..4050].iter().chain(&found[4150..]).all(|byte| *byte == 0));
        // Devices may not write the first.
        edu.read_into(&source, 4090..4190, 2000).unwrap();
        let mut kept = vec![0; 100];
        source.copy_out(4090, &mut kept).unwrap();
        assert_eq!(kept, bytes);
    });
}

#[test]
fn transfers_that_cannot_be_are_refused_before_the_device_sees_them() {
    on_edu(|edu, bus, function| {
        for (offset, length) in [(4095, 1), (0, 4096), (4094, 2), (usize::MAX, 2)] {
            let bytes = vec![0; length];
            let error = edu.write(offset, &bytes).unwrap_err();
            assert!(matches!(error, EduError::OutsideDevice { .. }), "{error}");
        }
        let space = bus.open(&function.address).unwrap().address_space().unwrap();
        let buffer = DmaBuffer::builder(4096, READ).at(1 << 28).build(&space).unwrap();
        let error = edu.write_from(&buffer, 0..16, 0).unwrap_err();
        assert!(error.to_string().contains("`highest(0xfffffff)`"), "{error}");
        let error = edu.write_from(&buffer, 4000..4097, 0).unwrap_err();
        assert!(matches!(error, EduError::OutsideBuffer { .. }), "{error}");
    });
}

/// As after a transfer that was given up, and then came to its end.
#[test]
fn an_interrupt_that_is_left_over_is_no_answer() {
    const RAISE: u64 = 0x60;
    const DONE: [u32; 2] = [0x100, 0x1];
    on_edu(|edu, bus, function| {
        let device = bus.open(&function.address).unwrap();
        let registers = device.region(0).unwrap();
        for way in WAYS {
            edu.set_interrupt(way).unwrap();
            for round in 1u8..4 {
                edu.write(0, &[round; 100]).unwrap();
                for bits in DONE {
                    registers.write32(RAISE, bits).unwrap();
                }
                let mut found = [0; 100];
                edu.read(0, &mut found).unwrap();
                assert_eq!(found, [round; 100], "{way}");
                registers.write32(RAISE, 0x1).unwrap();
                assert_eq!(edu.factorial(12).unwrap(), 479_001_600, "{way}");
            }
        }
    });
}

#[test]
fn threads_share_a_device_and_take_turns() {
    on_edu(|edu, _, _| {
        let before = edu.interrupts();
        std::thread::scope(|scope| {
            for part in 0..4usize {
                scope.spawn(move || {
                    let (offset, fill) = (part * 1000, part.to_le_bytes()[0] + 1);
                    for _ in 0..2 {
                        edu.write(offset, &[fill; 1000]).unwrap();
                        let mut found = [0; 1000];
                        edu.read(offset, &mut found).unwrap();
                        assert_eq!(found, [fill; 1000]);
                    }
                });
            }
        });
        assert_eq!(edu.interrupts() - before, 16);
    });
}
