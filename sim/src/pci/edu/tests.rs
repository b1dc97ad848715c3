use std::sync::Arc;
use std::time::Duration;

use vfio_common::device::{Device, ResetOutcome};
use vfio_common::iommu::{AddressSpace, DeviceAccess, DmaBuffer};
use vfio_common::irq::{IrqSet, pci};
use vfio_common::pci_config::Command;
use vfio_common::region::Region;

use super::Edu;
use crate::{Faults, SoftDevice, SoftIommu};

const INSIDE: u64 = 0x4_0000;
const READ: DeviceAccess = DeviceAccess::READ;
const WRITE: DeviceAccess = DeviceAccess::WRITE;

struct Bench {
    device: Device,
    registers: Region,
    space: AddressSpace,
}

fn bench(command: Command) -> Bench {
    let space = AddressSpace::new(SoftIommu::new(Faults::new().into()));
    let soft = SoftDevice::new(Edu::new()).unwrap().in_space(space.clone());
    let device = Device::new("edu", Arc::new(soft)).unwrap();
    device.pci_config().unwrap().unwrap().set_command(command).unwrap();
    let registers = device.region(0).unwrap();
    Bench { device, registers, space }
}

fn fired(irqs: &IrqSet) -> Option<u64> {
    irqs.vector(0).unwrap().wait(Some(Duration::ZERO)).unwrap()
}

impl Bench {
    fn copy(&self, from: u64, to: u64, count: u64, command: u64) {
        for (offset, value) in [(0x80, from), (0x88, to), (0x90, count), (0x98, command)] {
            self.registers.write64(offset, value).unwrap();
        }
    }
}

#[test]
fn registers_answer_accesses_of_their_width_and_others_with_ones() {
    let edu = bench(Command::MEMORY).registers;
    assert_eq!(edu.read32(0).unwrap(), 0x0100_00ed);
    for (n, expected) in [(0, 1), (1, 1), (5, 120), (13, 1_932_053_504), (34, 0), (u32::MAX, 0)] {
        edu.write32(8, n).unwrap();
        assert_eq!(edu.read32(8).unwrap(), expected, "{n}");
    }
    assert_eq!((edu.read8(0).unwrap(), edu.read16(4).unwrap()), (0xff, 0xffff));
    assert_eq!(edu.read64(8).unwrap(), u64::MAX);
    assert_eq!(edu.read32(INSIDE).unwrap(), u32::MAX, "the buffer cannot be read so");
    edu.write64(0x80, 0x1_2345_6789).unwrap();
    assert_eq!(
        (edu.read64(0x80).unwrap(), edu.read32(0x80).unwrap()),
        (0x1_2345_6789, 0x2345_6789)
    );
}

#[test]
fn a_line_that_is_up_fires_at_each_unmask_and_a_message_once() {
    let edu = bench(Command::MEMORY | Command::BUS_MASTER);
    let intx = edu.device.enable_irq(pci::INTX, ..).unwrap();
    edu.registers.write32(0x60, 1).unwrap();
    assert_eq!(fired(&intx), Some(1));
    assert_eq!(fired(&intx), None, "it has masked itself");
    intx.unmask(0).unwrap();
    assert_eq!(fired(&intx), Some(1), "the line is up");
    edu.registers.write32(0x64, 1).unwrap();
    intx.unmask(0).unwrap();
    assert_eq!(fired(&intx), None);
    drop(intx);

    let msi = edu.device.enable_irq(pci::MSI, ..).unwrap();
    for _ in 0..2 {
        edu.registers.write32(0x60, 2).unwrap();
        assert_eq!(fired(&msi), Some(1));
    }
    drop(msi);
    assert_eq!(edu.registers.read32(0x24).unwrap(), 2);
    let intx = edu.device.enable_irq(pci::INTX, ..).unwrap();
    assert_eq!(fired(&intx), Some(1), "it was not acknowledged");
}

#[test]
fn what_the_command_register_switches_off_does_not_happen() {
    let edu = bench(Command::MEMORY);
    let buffer = DmaBuffer::new(&edu.space, 4096, READ | WRITE).unwrap();
    buffer.write(0, 7u32).unwrap();
    let msi = edu.device.enable_irq(pci::MSI, ..).unwrap();
    edu.copy(buffer.iova(), INSIDE, 4, 5);
    assert_eq!(edu.registers.read32(0x24).unwrap(), 0x100, "it is done, with nothing");
    assert_eq!(fired(&msi), None, "it may not send messages");
    let config = edu.device.pci_config().unwrap().unwrap();
    config.set_command(Command::MEMORY | Command::BUS_MASTER).unwrap();
    edu.copy(INSIDE, buffer.iova() + 8, 4, 7);
    assert_eq!(fired(&msi), Some(1));
    assert_eq!(buffer.read::<u32>(8), Ok(0));
    config.set_command(Command::empty()).unwrap();
    assert!(edu.registers.read32(0).is_err());
    assert_eq!(edu.device.reset().unwrap(), ResetOutcome::Unsupported);
}

#[test]
fn dma_moves_bytes_both_ways_and_stops_where_nothing_is_mapped() {
    let edu = bench(Command::MEMORY | Command::BUS_MASTER);
    let low = |access| DmaBuffer::builder(4096, access).highest((1 << 28) - 1);
    let (source, target) =
        (low(READ).build(&edu.space).unwrap(), low(WRITE).build(&edu.space).unwrap());
    let bytes: Vec<u8> = (1..=100).collect();
    source.copy_in(3, &bytes).unwrap();
    edu.copy(source.iova() + 3, INSIDE + 5, 100, 1);
    edu.copy(INSIDE + 5, target.iova() + 7, 100, 3);
    let mut found = [0; 100];
    target.copy_out(7, &mut found).unwrap();
    assert_eq!(found[..], bytes);
    // A buffer that devices may only read, one that is gone, and a place outside of the buffer.
    edu.copy(INSIDE, source.iova(), 8, 3);
    assert_eq!(source.read::<u64>(0), Ok(u64::from_le_bytes([0, 0, 0, 1, 2, 3, 4, 5])));
    let gone = source.iova();
    drop(source);
    edu.copy(gone, INSIDE, 4096, 1);
    edu.copy(INSIDE, target.iova(), 4096, 3);
    assert_eq!(target.read::<u64>(8), Ok(0));
    edu.copy(INSIDE - 1, target.iova(), 1, 3);
    edu.copy(INSIDE + 4095, target.iova(), 2, 3);
    assert_eq!(edu.registers.read64(0x98).unwrap() & 1, 0);
}
