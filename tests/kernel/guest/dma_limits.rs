//! How many mappings an address space takes.

use std::error::Error as _;
use std::fs;
use std::io;

use vfio_common::iommu::{DeviceAccess, DmaBuffer, DmaError};

use crate::machine;
use crate::pci_function::EDU;
use crate::vfio_pci::Bound;

const LIMIT: &str = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
const ENOSPC: i32 = 28;

/// The limit as it was, which is given back.
struct Limited(String);

impl Limited {
    /// Holds for containers that are opened from now on.
    fn to(mappings: usize) -> Self {
        let before = machine::attribute(LIMIT);
        fs::write(LIMIT, mappings.to_string()).unwrap();
        Self(before)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        fs::write(LIMIT, &self.0).unwrap();
    }
}

#[test]
fn more_mappings_than_a_container_takes_lead_to_its_limit() {
    let edu = Bound::new(EDU);
    let _limited = Limited::to(3);
    let vfio = machine::vfio();
    let _device = vfio_common::route::Opener::open(&vfio, &edu.target()).unwrap();
    let space = vfio.address_space().unwrap();
    let map = || DmaBuffer::new(&space, 4096, DeviceAccess::READ);
    let mut buffers: Vec<_> = (0..3).map(|_| map().unwrap()).collect();
    if machine::route() == "cdev" {
        // An iommufd has no such limit.
        map().unwrap();
        return;
    }
    assert_eq!(space.available().unwrap(), Some(0));
    let error = map().unwrap_err();
    assert!(matches!(error, DmaError::Full { mappings: 3, .. }), "{error:?}");
    for part in ["has 3 mappings", "larger pieces", "huge pages", "raise dma_entry_limit"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(ENOSPC));
    assert_eq!(space.mappings().len(), 3);
    drop(buffers.pop());
    map().unwrap();
}
