//! Backends that do not do what they were asked for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::io::Errno;
use vfio_common::device::{Backend, Device, DeviceFlags, DeviceInfo, IrqInfo};
use vfio_common::region::{Path, Region, RegionError, RegionFlags, RegionInfo};
use vfio_common::{Mapping, Protection};

use crate::backend::{Behaviour, Call, INDEX, MAPPABLE, Setup, holey, pages, start};

/// A region that can be written behind a backend that maps for reading only.
fn mapped_read_only(name: &str) -> (Setup, Region) {
    let map = |file: &_, offset, length, _| Mapping::new(file, offset, length, Protection::Read);
    let setup = Setup::new(name, Behaviour { map, ..Behaviour::new([holey()]) });
    let region = setup.device.region(INDEX).unwrap();
    setup.calls();
    (setup, region)
}

#[test]
fn a_mapping_that_came_read_only_is_never_stored_to() {
    let (setup, region) = mapped_read_only("r/o mapping");
    region.write32(pages(1), 0x0102_0304).unwrap();
    region.write_bytes(pages(3), &[1; 24]).unwrap();
    let writes = setup.calls();
    assert!(writes.iter().all(|call| matches!(call, Call::Write(..))), "{writes:?}");
    assert_eq!(setup.peek(start() + pages(1), 4), [4, 3, 2, 1]);
    assert_eq!(setup.peek(start() + pages(3), 25), [[1; 24].as_slice(), &[0]].concat());
    assert_eq!(region.read32(pages(1)).unwrap(), 0x0102_0304);
    assert!(region.fixed_window::<8>(pages(1)).is_err());
    if let Ok(window) = region.window(pages(1)..pages(2)) {
        assert!(!window.is_writable());
        assert!(window.try_write32(0, 1).is_err());
    }
}

#[test]
fn the_mapped_way_makes_no_call_also_when_the_mapping_came_read_only() {
    let (setup, region) = mapped_read_only("r/o mapped way");
    assert!(region.write_via(Path::Mapped, pages(1), 1u32).is_err());
    assert_eq!(setup.calls(), []);
}

#[test]
fn a_fixed_window_on_a_mapping_that_came_read_only_is_not_told_to_be_misaligned() {
    let (_setup, region) = mapped_read_only("r/o fixed");
    let error = region.fixed_window::<8>(pages(1)).unwrap_err();
    assert!(!matches!(error, RegionError::Misaligned { .. }), "{error}");
}

#[test]
fn a_window_of_a_read_only_region_is_read_only_also_when_the_mapping_came_writable() {
    let flags = RegionFlags::READ | RegionFlags::MMAP;
    let info = RegionInfo { flags, ..holey() };
    let map =
        |file: &_, offset, length, _| Mapping::new(file, offset, length, Protection::ReadWrite);
    let setup = Setup::new("r/w mapping", Behaviour { map, ..Behaviour::new([info]) });
    let region = setup.device.region(INDEX).unwrap();
    if let Ok(window) = region.window(pages(1)..pages(2)) {
        assert!(!window.is_writable());
        assert!(window.try_write32(0, 7).is_err());
    }
    assert_eq!(setup.peek(start() + pages(1), 4), [0; 4]);
}

#[test]
fn a_panic_in_the_backend_leaves_the_device_usable() {
    static PANICS: AtomicBool = AtomicBool::new(true);
    let map = |file: &_, offset, length, protection| {
        assert!(!PANICS.swap(false, Ordering::Relaxed), "as the test wants it");
        Mapping::new(file, offset, length, protection)
    };
    let setup = Setup::new("panics", Behaviour { map, ..Behaviour::new([holey()]) });
    let first = catch_unwind(AssertUnwindSafe(|| setup.device.region(INDEX)));
    assert!(first.is_err());
    assert_eq!(setup.device.region(INDEX).unwrap().mapped().len(), 3);
}

/// A PCI function that describes region 0 whichever it is asked for.
#[derive(Debug, Default)]
struct Stubborn {
    asked: AtomicUsize,
}

impl Backend for Stubborn {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PCI, 9, 0))
    }

    fn region_info(&self, _: u32) -> io::Result<RegionInfo> {
        if self.asked.fetch_add(1, Ordering::Relaxed) > 100 {
            return Err(Errno::INVAL.into());
        }
        Ok(RegionInfo::new(0, MAPPABLE, pages(1), 0))
    }

    fn irq_info(&self, _: u32) -> io::Result<IrqInfo> {
        Err(Errno::INVAL.into())
    }

    fn read_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn write_at(&self, _: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn map(&self, _: u64, _: usize, _: Protection) -> io::Result<Mapping> {
        Err(Errno::NODEV.into())
    }

    fn reset(&self) -> io::Result<()> {
        Err(Errno::NOTTY.into())
    }
}

#[test]
fn a_description_of_another_region_than_asked_for_is_taken_for_the_one_asked_for() {
    let backend = Arc::new(Stubborn::default());
    let device = Device::new("stubborn", backend.clone()).unwrap();
    let region = device.region(7).unwrap();
    assert!(backend.asked.load(Ordering::Relaxed) <= 2);
    assert_eq!(region.info().index, 7);
}
