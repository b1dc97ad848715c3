//! Ioctls of a container, `/dev/vfio/vfio`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use vfio_bindings::bindings::vfio as sys;

use super::{argsz, call};
use crate::iommu::{DeviceAccess, DmaMemory, IommuProperties, IovaRange};
use crate::region::Chain;

/// `struct vfio_iommu_type1_info` up to the capability chain's offset.
const INFO_LENGTH: usize = 20;

/// An open container.
#[derive(Debug)]
pub(crate) struct ContainerFd(File);

impl ContainerFd {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }

    /// `VFIO_GET_API_VERSION`.
    pub(crate) fn api_version(&self) -> io::Result<i32> {
        call::number(self.0.as_fd(), call::vfio(0), 0)
    }

    /// `VFIO_CHECK_EXTENSION` for `VFIO_TYPE1v2_IOMMU`.
    pub(crate) fn has_type1v2(&self) -> io::Result<bool> {
        let extension = sys::VFIO_TYPE1v2_IOMMU.into();
        call::number(self.0.as_fd(), call::vfio(1), extension).map(|answer| answer > 0)
    }

    /// `VFIO_SET_IOMMU` with `VFIO_TYPE1v2_IOMMU`: version 1 would keep software devices from
    /// pinning memory.
    pub(crate) fn set_type1v2(&self) -> io::Result<()> {
        call::number(self.0.as_fd(), call::vfio(2), sys::VFIO_TYPE1v2_IOMMU.into()).map(drop)
    }

    /// `VFIO_SET_IOMMU` with `VFIO_NOIOMMU_IOMMU`, for groups without an IOMMU alone.
    pub(crate) fn set_no_iommu(&self) -> io::Result<()> {
        call::number(self.0.as_fd(), call::vfio(2), sys::VFIO_NOIOMMU_IOMMU.into()).map(drop)
    }

    /// `VFIO_IOMMU_GET_INFO`.
    pub(crate) fn iommu_info(&self) -> io::Result<IommuProperties> {
        let fill = |buffer: &mut [u64]| call::sized(self.0.as_fd(), call::vfio(12), buffer);
        parse_info(&argsz::fetch(INFO_LENGTH, None, fill)?)
    }

    /// `VFIO_IOMMU_MAP_DMA`.
    pub(crate) fn map_dma(
        &self,
        memory: &DmaMemory,
        iova: u64,
        access: DeviceAccess,
    ) -> io::Result<()> {
        let mut flags = 0;
        if access.contains(DeviceAccess::READ) {
            flags |= sys::VFIO_DMA_MAP_FLAG_READ;
        }
        if access.contains(DeviceAccess::WRITE) {
            flags |= sys::VFIO_DMA_MAP_FLAG_WRITE;
        }
        // argsz, flags; vaddr; iova; size.
        let mut buffer =
            argsz::buffer(&[&flags.to_ne_bytes(), &[0; 8], &iova.to_ne_bytes(), &[0; 8]])?;
        let request = call::vfio(13);
        call::sized_lending(self.0.as_fd(), request, &mut buffer, [1, 3], memory).map(drop)
    }

    /// `VFIO_IOMMU_UNMAP_DMA`: bytes that were mapped.
    pub(crate) fn unmap_dma(&self, iova: u64, length: u64) -> io::Result<u64> {
        self.unmap(0, iova, length)
    }

    /// `VFIO_IOMMU_UNMAP_DMA` for all there is; `Unsupported` where the kernel cannot (before Linux
    /// 5.12).
    pub(crate) fn unmap_all(&self) -> io::Result<u64> {
        let extension = sys::VFIO_UNMAP_ALL.into();
        if call::number(self.0.as_fd(), call::vfio(1), extension)? == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.unmap(sys::VFIO_DMA_UNMAP_FLAG_ALL, 0, 0)
    }

    fn unmap(&self, flags: u32, iova: u64, length: u64) -> io::Result<u64> {
        // argsz, flags; iova; size.
        let fields: [&[u8]; 3] = [&flags.to_ne_bytes(), &iova.to_ne_bytes(), &length.to_ne_bytes()];
        let mut buffer = argsz::buffer(&fields)?;
        call::sized(self.0.as_fd(), call::vfio(14), &mut buffer)?;
        Ok(buffer.get(2).copied().unwrap_or_default())
    }
}

/// `struct vfio_iommu_type1_info` and its capabilities. Without a list of ranges, all addresses are
/// valid.
fn parse_info(bytes: &[u8]) -> io::Result<IommuProperties> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let word = |at: usize| {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u32::from_ne_bytes(*word))
    };
    let flags = word(4);
    let sizes = bytes.get(8..).and_then(|rest| rest.first_chunk());
    let sizes = sizes.filter(|_| flags & sys::VFIO_IOMMU_INFO_PGSIZES != 0);
    let page_sizes = sizes.map_or(0, |sizes| u64::from_ne_bytes(*sizes));
    let mut properties =
        IommuProperties { page_sizes, ranges: vec![IovaRange::ALL], available: None };
    let first = if flags & sys::VFIO_IOMMU_INFO_CAPS == 0 { 0 } else { word(16) };
    for capability in Chain::new(bytes, INFO_LENGTH, first) {
        let capability = capability.map_err(invalid)?;
        let payload = capability.payload();
        let count = payload.first_chunk().map(|count| u32::from_ne_bytes(*count));
        match u32::from(capability.id) {
            sys::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE => {
                // nr_iovas, reserved, then pairs.
                let (words, _) = payload.get(8..).unwrap_or_default().as_chunks::<8>();
                let (pairs, _) = words.as_chunks::<2>();
                let count = count.map_or(0, |count| count as usize);
                let pairs = pairs.get(..count).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "the list of ranges is cut short")
                })?;
                properties.ranges = pairs
                    .iter()
                    .map(|pair| pair.map(u64::from_ne_bytes))
                    .map(|[first, last]| IovaRange { first, last })
                    .collect();
            }
            sys::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL => properties.available = count,
            _ => {}
        }
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 lays it out: capabilities at offsets that are no multiples of 8.
    fn info(flags: u32, ranges: &[[u64; 2]], claimed: u32) -> Vec<u8> {
        let mut bytes = [0, flags].map(u32::to_ne_bytes).concat();
        bytes.extend(0x4020_1000u64.to_ne_bytes());
        bytes.extend([20, (1 << 16) | 3, 32, 65_535].map(u32::to_ne_bytes).concat());
        bytes.extend([(1 << 16) | 1, 0, claimed, 0].map(u32::to_ne_bytes).concat());
        bytes.extend(ranges.as_flattened().iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn ranges_and_what_is_left_are_read_from_the_chain() {
        let ranges = [[0, 0xfedf_ffff], [0xfef0_0000, 0xffff_ffff_ffff]];
        let found = parse_info(&info(3, &ranges, 2)).unwrap();
        assert_eq!((found.page_sizes, found.available), (0x4020_1000, Some(65_535)));
        let expected = ranges.map(|[first, last]| IovaRange { first, last });
        assert_eq!(found.ranges, expected);
        // Nobody said that there are capabilities or page sizes.
        let found = parse_info(&info(0, &ranges, 2)).unwrap();
        assert_eq!((found.page_sizes, found.available), (0, None));
        assert_eq!(found.ranges, [IovaRange::ALL]);
    }

    #[test]
    fn a_list_that_claims_more_than_there_is_is_refused() {
        for claimed in [3, u32::MAX] {
            assert!(parse_info(&info(3, &[[0, 1], [2, 3]], claimed)).is_err());
        }
        let whole = info(3, &[[0, 1]], 1);
        for length in 0..whole.len() {
            // Whatever it says, it does not panic.
            let _ = parse_info(&whole[..length]);
        }
    }
}
