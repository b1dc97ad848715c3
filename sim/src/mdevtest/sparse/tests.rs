use std::sync::Arc;

use vfio_common::Protection;
use vfio_common::device::{Backend as _, Device};
use vfio_common::region::{Path, RegionFlags};

use super::*;
use crate::SoftDevice;

const INVALID: Option<i32> = Some(Errno::INVAL.raw_os_error());

fn device() -> (Arc<SoftDevice>, Device) {
    let soft = Arc::new(SoftDevice::new(Sparse::new()).unwrap());
    let device = Device::new("sparse", soft.clone()).unwrap();
    (soft, device)
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

fn offset(soft: &SoftDevice, region: u32) -> u64 {
    soft.region_info(region).unwrap().offset
}

#[test]
fn it_describes_itself_as_the_kernel_module_does() {
    let (soft, _device) = device();
    let expected = [
        (7, 0, 0x100, 0x3),
        (0, 0x2000, 0x8000, 0xf),
        (1, 0xb000, 0x4000, 0xf),
        (2, 0x10000, 0x1000, 0x3),
        (3, 0x12000, 0x2000, 0xf),
        (4, 0x15000, 0x100, 0x7),
        (5, 0, 0, 0),
        (6, 0, 0, 0),
        (9, 0x17000, 0x2000, 0xd),
    ];
    for (index, offset, size, flags) in expected {
        let info = soft.region_info(index).unwrap();
        assert_eq!((info.size, info.flags.bits()), (size, flags), "{index}");
        if vfio_common::page_size() == 0x1000 {
            assert_eq!(info.offset, offset, "{index}");
        }
    }
    assert_eq!(soft.region_info(0).unwrap().sparse.unwrap(), AREAS);
    assert_eq!(soft.region_info(3).unwrap().sparse.unwrap(), []);
    for index in [8, 10, u32::MAX] {
        assert_eq!(errno(soft.region_info(index)), INVALID);
    }
    for (index, count) in [(0, None), (1, None), (2, Some(8)), (3, None), (4, Some(1)), (5, None)] {
        match soft.irq_info(index) {
            Ok(info) => assert_eq!((Some(info.count), info.flags.bits()), (count, 1)),
            Err(error) => assert_eq!((None, error.raw_os_error()), (count, INVALID)),
        }
    }
}

#[test]
fn both_ways_see_the_same_bytes_and_a_mapped_access_is_no_call() {
    let (soft, device) = device();
    let region = device.region(0).unwrap();
    let (opened, accesses) = (soft.counters(), region.read32(ACCESSES).unwrap());
    let read = soft.counters();
    assert_eq!(read.reads, opened.reads + 1);
    for area in AREAS {
        region.write_via(Path::Mapped, area.offset, 0x0102_0304_u32).unwrap();
        assert_eq!(region.read_via::<u32>(Path::Mapped, area.offset).unwrap(), 0x0102_0304);
    }
    assert_eq!(soft.counters(), read, "no call was made");
    assert_eq!(region.read32(ACCESSES).unwrap(), accesses + 1, "and the device saw none");
    for area in AREAS {
        assert_eq!(region.read_via::<u32>(Path::Trapped, area.offset).unwrap(), 0x0102_0304);
        region.write_via(Path::Trapped, area.offset + 8, 0x0506_u16).unwrap();
        assert_eq!(region.read_via::<u16>(Path::Mapped, area.offset + 8).unwrap(), 0x0506);
    }
    assert_eq!(soft.counters().writes, 3);
}

const ACCESSES: u64 = 0x04;
const SCRATCH: u64 = 0x08;
const DOORBELL: u64 = 0x0c;
const DOORBELLS: u64 = 0x10;

#[test]
fn registers_count_and_take_narrow_accesses() {
    let (soft, device) = device();
    let region = device.region(0).unwrap();
    assert_eq!(region.read32(0).unwrap(), 0x7370_6172);
    assert_eq!(region.read32(ACCESSES).unwrap(), 2, "this one included");
    region.write32(0, 1).unwrap();
    region.write32(SCRATCH, 0x1122_3344).unwrap();
    region.write8(SCRATCH + 1, 0xaa).unwrap();
    assert_eq!(region.read16(SCRATCH).unwrap(), 0xaa44);
    assert_eq!(region.read64(0).unwrap(), 0x0000_0007_7370_6172);
    for _ in 0..3 {
        region.write32(DOORBELL, 5).unwrap();
    }
    assert_eq!((region.read32(DOORBELL).unwrap(), region.read32(DOORBELLS).unwrap()), (0, 3));

    // Half of it is behind the registers.
    region.write64(DOORBELLS, 0xdead_beef_0000_0000).unwrap();
    assert_eq!(region.read64(DOORBELLS).unwrap(), 0xdead_beef_0000_0003);
    assert_eq!(region.read32(0x14).unwrap(), 0xdead_beef);

    // One call, and a piece for each aligned part.
    let before = region.read32(ACCESSES).unwrap();
    soft.read_at(offset(&soft, 0) + 1, &mut [0; 23]).unwrap();
    assert_eq!(region.read32(ACCESSES).unwrap(), before + 1 + 5, "1 + 2 + 4 + 8 + 8");
}

#[test]
fn accesses_stay_in_their_region_and_keep_to_its_flags() {
    let (soft, _device) = device();
    for region in [0, 1, 2, 3, 4, 7, 9] {
        let info = soft.region_info(region).unwrap();
        assert_eq!(soft.read_at(info.offset + info.size - 1, &mut [0]).unwrap(), 1);
        assert_eq!(errno(soft.read_at(info.offset + info.size - 1, &mut [0; 2])), INVALID);
        assert_eq!(errno(soft.read_at(info.offset + info.size, &mut [0])), INVALID);
        let written = soft.write_at(info.offset, &[0]);
        assert_eq!(written.is_ok(), info.flags.contains(RegionFlags::WRITE), "{region}");
    }
    assert_eq!(errno(soft.write_at(offset(&soft, 9), &[0])), INVALID);
    assert_eq!(errno(soft.read_at(u64::MAX, &mut [0; 2])), INVALID);
    assert_eq!(soft.read_at(u64::MAX, &mut []).unwrap(), 0);
}

#[test]
fn only_what_may_be_mapped_is_mapped() {
    let (soft, _device) = device();
    let map = |region: u32, start: u64, length: usize| {
        soft.map(offset(&soft, region) + start, length, Protection::ReadWrite)
    };
    for (region, start, length) in
        [(0, 0x1000, 0x1000), (0, 0x4000, 0x1000), (1, 0, 0x4000), (4, 0, 0x1000), (4, 0, 0x100)]
    {
        assert_eq!(map(region, start, length).unwrap().len(), length, "{region} {start:#x}");
    }
    for (region, start, length) in [
        (0, 0, 0x8000),      // holes
        (0, 0x2000, 0x1000), // a hole
        (0, 0x1000, 0x2000), // reaches into a hole
        (0, 0x4000, 0x2000), // the same at the other end of an area
        (0, 0x8000, 0x1000), // the unused page behind
        (1, 0x800, 0x1000),  // not a page
        (1, 0, 0),           // nothing
        (1, 0, 0x4001),      // past the end
        (1, 0, usize::MAX),
        (2, 0, 0x1000), // not mappable
        (3, 0, 0x1000), // no areas
        (4, 0, 0x1001), // past the only page
        (7, 0, 0x1000), // configuration space
    ] {
        assert_eq!(errno(map(region, start, length)), INVALID, "{region} {start:#x}+{length:#x}");
    }
    let read_only = offset(&soft, 9);
    assert_eq!(soft.map(read_only, 0x2000, Protection::Read).unwrap().len(), 0x2000);
    let refused = soft.map(read_only, 0x1000, Protection::ReadWrite);
    assert_eq!(errno(refused), Some(Errno::PERM.raw_os_error()));
}

#[test]
fn a_reset_clears_memory_registers_and_counts_and_keeps_the_rest() {
    let (_soft, device) = device();
    let region = device.region(0).unwrap();
    let mapped = device.region(1).unwrap();
    let config = device.region(7).unwrap();
    region.write32(SCRATCH, 1).unwrap();
    region.write32(DOORBELL, 1).unwrap();
    region.write32(0x7ffc, 1).unwrap();
    mapped.write32(0x3ffc, 1).unwrap();
    config.write16(4, 0xffff).unwrap();
    device.reset().unwrap();
    assert_eq!(region.read32(ACCESSES).unwrap(), 1);
    for offset in [SCRATCH, DOORBELLS, 0x7ffc] {
        assert_eq!(region.read32(offset).unwrap(), 0, "{offset:#x}");
    }
    assert_eq!(mapped.read_via::<u32>(Path::Mapped, 0x3ffc).unwrap(), 0);
    assert_eq!(config.read16(4).unwrap(), 0x0407);
    assert_eq!(device.region(9).unwrap().read32(0x1ffc).unwrap(), 0x7ff ^ 0x5a5a_5a5a);
}
