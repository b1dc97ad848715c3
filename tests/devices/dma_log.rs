//! The log of a device's DMA. The serial card has one, and never writes memory.

use vfio_common::device::{DmaLogError, FeatureError};
use vfio_common::iommu::IovaRange;

use crate::bench::Bench;

#[test]
fn a_dma_log_of_a_card_that_writes_no_memory_is_always_clean() {
    let bench = Bench::new();
    let card = bench.create("mtty", "mtty-2");
    let device = bench.open(&card);
    let ranges = [(0x10_0000, 0x4000), (0, 0x1_0000), (0x7_0000_0000, 1 << 32)];
    let ranges = ranges.map(|(iova, length)| IovaRange::new(iova, length).unwrap());
    for page_size in [None, Some(0x4000)] {
        let log = device.log_dma(page_size, &ranges).unwrap();
        assert_eq!(log.page_size(), page_size.unwrap_or(0x1000), "it takes what it is asked for");
        for range in ranges {
            let written = log.take(range).unwrap();
            assert_eq!(written.pages(), range.length() / log.page_size());
            assert_eq!((written.count(), written.ranges().next()), (0, None));
        }
        // Not logged, not a whole page, and more than one call fetches: 64 GiB in pages of 4 KiB.
        let odd = IovaRange { first: 0x12_3456, last: (64 << 30) + 0x12_3456 };
        let written = log.take(odd).unwrap();
        assert_eq!((written.first(), written.count()), (0x12_3456 & !(log.page_size() - 1), 0));
        assert!(matches!(device.log_dma(None, &ranges), Err(DmaLogError::Running { .. })));
        log.stop().unwrap();
    }
    drop(device.log_dma(None, &ranges).unwrap());
}

#[test]
fn a_dma_log_of_a_device_without_one_is_unsupported() {
    let bench = Bench::new();
    let device = bench.create("mdevtest", "mdevtest-sparse");
    let device = bench.open(&device);
    let range = IovaRange { first: 0, last: 0xffff };
    let error = device.log_dma(None, &[range]).unwrap_err();
    let is_unsupported =
        matches!(&error, DmaLogError::Start { source: FeatureError::Unsupported { .. }, .. });
    assert!(is_unsupported, "{error:?}");
}
