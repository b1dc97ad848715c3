//! Ioctls of a device about the log of the memory that it writes.

use std::io;
use std::os::fd::AsFd as _;

use vfio_bindings::bindings::vfio as sys;

use super::{DeviceFd, call};
use crate::iommu::IovaRange;

impl DeviceFd {
    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_START`: the page size that the device took.
    pub(crate) fn start_dma_log(&self, page_size: u64, ranges: &[IovaRange]) -> io::Result<u64> {
        let flags = sys::VFIO_DEVICE_FEATURE_SET | sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
        let pairs: Vec<_> = ranges.iter().map(|range| [range.first, range.length()]).collect();
        call::start_dma_log(self.as_fd(), call::vfio(17), flags, page_size, &pairs)
    }

    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT`: a bit a page.
    pub(crate) fn read_dma_log(&self, page_size: u64, range: IovaRange) -> io::Result<Vec<u64>> {
        let flags = sys::VFIO_DEVICE_FEATURE_GET | sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
        let pair = [range.first, range.length()];
        call::read_dma_log(self.as_fd(), call::vfio(17), flags, page_size, pair)
    }
}
