//! The type 1 version 2 IOMMU of a container.

use std::io;
use std::sync::Arc;

use super::{DeviceAccess, DmaMemory, Iommu, IommuProperties};
use crate::uapi::ContainerFd;

/// The IOMMU of a container.
#[derive(Debug)]
pub(crate) struct Type1 {
    container: Arc<ContainerFd>,
}

impl Type1 {
    pub(crate) fn new(container: Arc<ContainerFd>) -> Self {
        Self { container }
    }
}

impl Iommu for Type1 {
    fn properties(&self) -> io::Result<IommuProperties> {
        self.container.iommu_info()
    }

    fn map(&self, memory: &DmaMemory, iova: u64, access: DeviceAccess) -> io::Result<()> {
        self.container.map_dma(memory, iova, access)
    }

    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64> {
        self.container.unmap_dma(iova, length)
    }

    fn unmap_all(&self) -> io::Result<u64> {
        self.container.unmap_all()
    }
}
