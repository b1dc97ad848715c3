//! Memory that is not there, in front of an IOMMU, which looks.
#![expect(unsafe_code, reason = "only an unsafe function maps memory by its address")]

use std::error::Error as _;

use memmap2::MmapRaw;
use vfio_common::iommu::{DeviceAccess, DmaError};
use vfio_common::page_size;

use crate::vfio_pci::Bound;

const EDU: &str = "0000:00:04.0";
const EFAULT: i32 = 14;
const IOVA: u64 = 0x10_0000;

#[test]
fn memory_that_is_not_there_or_read_only_is_refused_with_its_address() {
    let bound = Bound::new(EDU);
    let device = bound.open();
    let space = device.address_space().unwrap();
    let length = page_size();
    let read_only = memmap2::MmapOptions::new().len(4096).map_anon().unwrap();
    let read_only = MmapRaw::from(read_only.make_read_only().unwrap());
    // Nothing is mapped after it, which might come to lie there.
    let gone = {
        let memory = memmap2::MmapOptions::new().len(4096).map_anon().unwrap();
        MmapRaw::from(memory).as_mut_ptr()
    };
    for (start, access) in
        [(gone, DeviceAccess::READ), (read_only.as_mut_ptr(), DeviceAccess::WRITE)]
    {
        // SAFETY: nothing is mapped, which is what is tested: no device ever reaches these addresses. If
        // it were, the test would fail, and the device closes, before anything else is mapped there.
        let error = unsafe { space.map(IOVA, start, length, access) }.unwrap_err();
        let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        assert_eq!(source.and_then(std::io::Error::raw_os_error), Some(EFAULT), "{error}");
        let address = format!("{:#x}", start.addr());
        assert!(error.to_string().contains(&address), "{address}: {error}");
        assert!(!matches!(error, DmaError::LockedMemory { .. }), "{error}");
        assert_eq!(space.mappings(), []);
    }
}
