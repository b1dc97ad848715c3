//! What becomes of mappings and memory when a call fails: the errors say why, the ledger keeps what is
//! mapped, and memory that a device may still reach is not freed.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::error::Error as _;
use std::fs;
use std::sync::Arc;

use vfio_common::iommu::{
    AddressSpace, Attach, DeviceAccess, DmaBuffer, DmaError, DmaMemory, Iommu, IommuProperties,
};
use vfio_sim::{Faults, SoftIommu};

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENOSPC: i32 = 28;

const ACCESS: DeviceAccess = DeviceAccess::READ;

fn space() -> (AddressSpace, Attach, Arc<Faults>) {
    let faults = Arc::new(Faults::new());
    let (space, attach) = AddressSpace::with_devices(SoftIommu::new(faults.clone()));
    (space, attach, faults)
}

/// Whether there is memory mapped at an address of this process.
fn is_memory(start: *mut u8) -> bool {
    let address = format!("{:x}-", start.addr());
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| line.trim_start_matches('0').starts_with(&address))
}

#[test]
fn each_error_of_the_kernel_is_explained() {
    let (space, attach, faults) = space();
    let _device = attach.device();
    let _first = DmaBuffer::new(&space, 4096, ACCESS).unwrap();
    for (errno, parts) in [
        (ENOMEM, &["12288 bytes", "RLIMIT_MEMLOCK"][..]),
        (ENOSPC, &["has 1 mappings", "dma_entry_limit", "huge pages"]),
        (EFAULT, &["for devices to read", "not all of it is mapped in this process"]),
        (EEXIST, &["[0x2000, 0x3fff]", "another user"]),
        (EIO, &["[0x2000, 0x3fff]", "for devices to read"]),
    ] {
        faults.fail_call(1, errno);
        let error = DmaBuffer::new(&space, 8192, ACCESS).unwrap_err();
        let text = error.to_string();
        // Where memory is not limited, the sum is not told.
        let told =
            |part: &&&str| text.contains(**part) || (errno == ENOMEM && text.contains("no limit"));
        assert!(parts.iter().all(|part| told(&part)), "{errno}: {text}");
        assert!(text.starts_with(|first: char| !first.is_uppercase()), "{text}");
        let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(source.raw_os_error(), Some(errno));
        assert_eq!(space.mappings().len(), 1, "{text}");
        let properties = faults.calls();
        // What was known of the IOMMU is asked again.
        drop(DmaBuffer::new(&space, 8192, ACCESS).unwrap());
        assert_eq!(faults.calls() - properties, 3);
    }
}

#[test]
fn every_call_may_fail_and_nothing_stays_behind() {
    let mut n = 0;
    loop {
        n += 1;
        let (space, attach, faults) = space();
        let device = attach.device();
        let before = faults.calls();
        faults.fail_call(n, EIO);
        let tried = DmaBuffer::new(&space, 4096, ACCESS);
        let done = faults.calls() - before;
        if tried.is_ok() {
            assert_eq!((n, done), (3, 2), "it takes two calls");
            return;
        }
        let error = tried.unwrap_err();
        match n {
            1 => assert!(matches!(error, DmaError::Properties { .. }), "{error:?}"),
            _ => assert!(matches!(error, DmaError::Map { .. }), "{error:?}"),
        }
        assert_eq!(space.mappings(), []);
        faults.fail_call(0, 0);
        let again = DmaBuffer::new(&space, 4096, ACCESS).unwrap();
        assert_eq!(space.mappings().len(), 1);
        drop((again, device));
    }
}

#[test]
fn memory_that_cannot_be_unmapped_is_not_freed() {
    let (space, attach, faults) = space();
    let _device = attach.device();
    let [stuck, freed] = [(); 2].map(|()| DmaBuffer::new(&space, 4096, ACCESS).unwrap());
    let (kept, gone, range) = (stuck.as_ptr(), freed.as_ptr(), stuck.range());
    assert!(is_memory(kept) && is_memory(gone));
    faults.fail_call(1, EBUSY);
    drop(stuck);
    assert!(is_memory(kept), "a device may still write it");
    assert!(space.mappings().iter().any(|mapping| mapping.range == range));
    // Nobody gets these addresses, until they are unmapped after all.
    let error = DmaBuffer::builder(4096, ACCESS).at(range.first).build(&space).unwrap_err();
    assert!(matches!(error, DmaError::Overlap { .. }), "{error}");
    assert_eq!(space.unmap(range.first, range.length()).unwrap(), 4096);
    drop(freed);
    assert!(!is_memory(gone));
    assert_eq!(space.mappings(), []);
}

#[test]
fn the_ledger_keeps_what_the_kernel_did_not_unmap() {
    let (space, attach, faults) = space();
    let _device = attach.device();
    let buffers = [(); 3].map(|()| DmaBuffer::new(&space, 4096, ACCESS).unwrap());
    faults.fail_call(2, EBUSY);
    let error = space.unmap(0x1000, 0x3000).unwrap_err();
    let DmaError::Unmap { range, .. } = &error else { panic!("{error}") };
    assert_eq!(*range, buffers[1].range());
    assert_eq!(buffers.each_ref().map(DmaBuffer::is_mapped), [false, true, true]);
    faults.fail_call(1, EBUSY);
    assert!(matches!(space.unmap_all(), Err(DmaError::Unmap { .. })));
    assert_eq!(space.mappings().len(), 2);
    assert_eq!(space.unmap_all().unwrap(), 0x2000);
}

#[test]
fn memory_stays_when_the_last_device_leaves_and_unmapping_fails() {
    let (space, attach, faults) = space();
    let device = attach.device();
    let buffer = DmaBuffer::new(&space, 4096, ACCESS).unwrap();
    let start = buffer.as_ptr();
    faults.fail_call(1, EBUSY);
    drop(device);
    assert!(buffer.is_mapped());
    assert!(matches!(DmaBuffer::new(&space, 4096, ACCESS), Err(DmaError::NoDevice)));
    faults.fail_call(1, ENOENT);
    drop(buffer);
    assert!(is_memory(start));
    assert_eq!(space.mappings().len(), 1);
}

/// An IOMMU that says of everything that nothing was there to unmap.
#[derive(Debug)]
struct Forgetful(SoftIommu);

impl Iommu for Forgetful {
    fn properties(&self) -> std::io::Result<IommuProperties> {
        self.0.properties()
    }

    fn map(&self, memory: &DmaMemory, iova: u64, access: DeviceAccess) -> std::io::Result<()> {
        self.0.map(memory, iova, access)
    }

    fn unmap(&self, _: u64, _: u64) -> std::io::Result<u64> {
        Ok(0)
    }

    fn unmap_all(&self) -> std::io::Result<u64> {
        Ok(0)
    }
}

#[test]
fn a_success_that_unmaps_nothing_does_not_free_the_memory() {
    let space = AddressSpace::new(Forgetful(SoftIommu::new(Arc::default())));
    let buffer = DmaBuffer::new(&space, 4096, ACCESS).unwrap();
    let start = buffer.as_ptr();
    assert!(matches!(space.unmap_all(), Err(DmaError::Unmap { .. })));
    let error = space.unmap(buffer.iova(), 4096).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("0x0 of 0x1000"), "{error}");
    assert!(buffer.is_mapped());
    drop(buffer);
    assert!(is_memory(start));
    assert_eq!(space.mappings().len(), 1);
}

/// An IOMMU that unmaps one mapping at a time, as kernels before Linux 5.12 do.
#[derive(Debug)]
struct OneByOne(SoftIommu);

impl Iommu for OneByOne {
    fn properties(&self) -> std::io::Result<IommuProperties> {
        self.0.properties()
    }

    fn map(&self, memory: &DmaMemory, iova: u64, access: DeviceAccess) -> std::io::Result<()> {
        self.0.map(memory, iova, access)
    }

    fn unmap(&self, iova: u64, length: u64) -> std::io::Result<u64> {
        self.0.unmap(iova, length)
    }
}

#[test]
fn all_is_unmapped_one_by_one_where_the_kernel_cannot_do_it_at_once() {
    let faults = Arc::new(Faults::new());
    let space = AddressSpace::new(OneByOne(SoftIommu::new(faults.clone())));
    let buffers = [(); 5].map(|()| DmaBuffer::new(&space, 4096, ACCESS).unwrap());
    let before = faults.calls();
    assert_eq!(space.unmap_all().unwrap(), 5 * 4096);
    assert_eq!(faults.calls() - before, 5);
    assert!(buffers.iter().all(|buffer| !buffer.is_mapped()));
}

#[test]
fn a_container_takes_no_more_mappings_than_it_says() {
    let (space, attach, _) = space();
    let _device = attach.device();
    let most = space.available().unwrap().unwrap();
    assert_eq!(most, 65_535);
    let memory = DmaBuffer::new(&space, 4096, ACCESS).unwrap();
    assert_eq!(space.available().unwrap(), Some(most - 1));
    drop(memory);
}
