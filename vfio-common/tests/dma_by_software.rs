//! What a device in software reaches of memory that is mapped for it.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

use vfio_common::iommu::{AddressSpace, DeviceAccess, DmaBuffer, DmaFault};
use vfio_sim::{Faults, SoftIommu};

const PAGE: u64 = 0x1000;
const READ: DeviceAccess = DeviceAccess::READ;
const WRITE: DeviceAccess = DeviceAccess::WRITE;

fn space() -> AddressSpace {
    AddressSpace::new(SoftIommu::new(Faults::new().into()))
}

fn map(space: &AddressSpace, iova: u64, access: DeviceAccess) -> DmaBuffer {
    DmaBuffer::builder(1, access).at(iova).build(space).unwrap()
}

fn fault(result: Result<(), DmaFault>) -> (u64, DeviceAccess) {
    let DmaFault { iova, access, .. } = result.unwrap_err();
    (iova, access)
}

#[test]
fn a_transfer_goes_through_mappings_that_touch() {
    let space = space();
    let [low, high] = [0x10_0000, 0x10_1000].map(|iova| map(&space, iova, READ | WRITE));
    let bytes: Vec<u8> = (0..=200).collect();
    for before in [1, 7, 8, 100, 200] {
        let iova = 0x10_1000 - before;
        space.write_as_device(iova, &bytes).unwrap();
        let split = usize::try_from(before).unwrap();
        let (mut below, mut above) = (vec![0; split], vec![0; bytes.len() - split]);
        low.copy_out(0x1000 - split, &mut below).unwrap();
        high.copy_out(0, &mut above).unwrap();
        assert_eq!([below, above].concat(), bytes, "{before} bytes in the first");
        let mut back = vec![0; bytes.len()];
        space.read_as_device(iova, &mut back).unwrap();
        assert_eq!(back, bytes);
    }
    space.read_as_device(0xdead_0000, &mut []).unwrap();
}

#[test]
fn what_is_not_mapped_for_it_is_a_fault_and_moves_no_byte() {
    let space = space();
    let source = map(&space, 0x10_0000, READ);
    let target = map(&space, 0x10_1000, WRITE);
    source.write(0xff8, 7u64).unwrap();
    // The second page may not be read, nor the first written.
    let mut bytes = [0xee; 16];
    assert_eq!(fault(space.read_as_device(0x10_0ff8, &mut bytes)), (0x10_1000, READ));
    assert_eq!(bytes, [0xee; 16]);
    assert_eq!(fault(space.write_as_device(0x10_0ff8, &bytes)), (0x10_0ff8, WRITE));
    assert_eq!(fault(space.write_as_device(0x10_1ff8, &bytes)), (0x10_2000, WRITE));
    assert_eq!(target.read::<u64>(0xff8), Ok(0));
    // Before the first, and behind all.
    for iova in [0, 0xf_ffff, 0x10_2000, u64::MAX] {
        assert_eq!(fault(space.write_as_device(iova, &[1])), (iova, WRITE));
    }
    assert_eq!(
        space.write_as_device(0, &[1]).unwrap_err().to_string(),
        "no buffer for devices to write is mapped at 0x0: the device cannot reach it"
    );
}

#[test]
fn the_end_of_the_address_space_does_not_wrap() {
    let space = space();
    let _first = map(&space, 0, WRITE);
    let last = map(&space, u64::MAX - 2 * PAGE + 1, WRITE);
    let end = last.range().last;
    space.write_as_device(end - 7, &[1; 8]).unwrap();
    assert_eq!(fault(space.write_as_device(end - 7, &[1; 9])), (end + 1, WRITE));
    assert_eq!(fault(space.write_as_device(u64::MAX, &[1; 2])), (u64::MAX, WRITE));
}

#[test]
fn what_was_unmapped_or_dropped_is_out_of_reach() {
    let space = space();
    let kept = map(&space, 0x10_0000, READ | WRITE);
    space.write_as_device(0x10_0000, &[9]).unwrap();
    assert_eq!(space.unmap(0x10_0000, PAGE).unwrap(), PAGE);
    assert_eq!(fault(space.write_as_device(0x10_0000, &[1])), (0x10_0000, WRITE));
    assert_eq!(kept.read::<u8>(0), Ok(9));
    drop(map(&space, 0x20_0000, WRITE));
    assert_eq!(fault(space.write_as_device(0x20_0000, &[1])), (0x20_0000, WRITE));
}
