//! The log of a device's DMA: on a device that does write, and when something fails.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use vfio_common::device::{
    Device, DeviceFlags, DeviceInfo, DmaLogError, Feature, FeatureError, FeatureUse,
};
use vfio_common::iommu::IovaRange;
use vfio_sim::mdevtest::Platform;
use vfio_sim::model::{Board, Layout, Model, RegionModel};
use vfio_sim::{Faults, Faulty, SoftDevice};

const EIO: i32 = 5;
const KB64: u64 = 0x1_0000;

/// Pages that were written, by number; and what the log is asked for.
#[derive(Debug, Default)]
struct Log {
    running: Option<Vec<IovaRange>>,
    written: Vec<u64>,
    starts: u32,
    reports: Vec<IovaRange>,
}

/// A device that writes a page where its register says, and logs by pages of 64 KiB at least.
#[derive(Debug, Clone, Default)]
struct Writer(Arc<Mutex<Log>>);

impl Model for Writer {
    fn layout(&self) -> Layout {
        Layout::packed([RegionModel::registers(0, 8)])
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        Ok(DeviceInfo::new(DeviceFlags::PLATFORM, 1, 0))
    }

    fn write(&mut self, _: &Board, _: u32, _: u64, bytes: &[u8]) -> io::Result<()> {
        let address = u64::from_le_bytes(bytes.try_into().map_err(|_| Errno::INVAL)?);
        let mut log = self.0.lock().unwrap();
        let is_logged = |range: &IovaRange| (range.first..=range.last).contains(&address);
        if log.running.as_ref().is_some_and(|ranges| ranges.iter().any(is_logged)) {
            log.written.push(address / KB64);
        }
        Ok(())
    }

    fn feature(&mut self, _: &Board, flags: u32, _: &mut [u8]) -> io::Result<()> {
        let stop = u32::from(Feature::DMA_LOGGING_STOP.0) | 1 << 17;
        if flags != stop {
            return Err(Errno::NOTTY.into());
        }
        let mut log = self.0.lock().unwrap();
        log.written.clear();
        log.running.take().map(drop).ok_or(Errno::INVAL.into())
    }

    fn start_dma_log(&mut self, _: &Board, page: u64, ranges: &[IovaRange]) -> io::Result<u64> {
        let mut log = self.0.lock().unwrap();
        if ranges.len() > 4 {
            return Err(Errno::TOOBIG.into());
        }
        log.starts += 1;
        log.running = Some(ranges.to_vec());
        Ok(page.max(KB64))
    }

    fn read_dma_log(&mut self, _: &Board, page: u64, range: IovaRange) -> io::Result<Vec<u64>> {
        let mut log = self.0.lock().unwrap();
        log.reports.push(range);
        let mut words = vec![0; usize::try_from(range.length().div_ceil(page * 64)).unwrap()];
        log.written.retain(|written| {
            let address = written * KB64;
            if !(range.first..=range.last).contains(&address) {
                return true;
            }
            let bit = (address - range.first) / page;
            *words.get_mut(usize::try_from(bit / 64).unwrap()).unwrap() |= 1 << (bit % 64);
            false
        });
        Ok(words)
    }
}

fn writer() -> (Device, Writer, Arc<Faults>) {
    let (writer, faults) = (Writer::default(), Arc::new(Faults::new()));
    let soft = Arc::new(SoftDevice::new(writer.clone()).unwrap());
    let device = Device::new("writer", Arc::new(Faulty::new(soft, faults.clone()))).unwrap();
    (device, writer, faults)
}

fn dma(device: &Device, address: u64) {
    device.region(0).unwrap().write64(0, address).unwrap();
}

fn range(first: u64, last: u64) -> IovaRange {
    IovaRange { first, last }
}

#[test]
fn pages_that_were_written_are_told_once() {
    let (device, _, _) = writer();
    let (low, high) = (range(0x10_0000, 0x1f_ffff), range(0x8000_0000, 0x8fff_ffff));
    dma(&device, 0x10_0000);
    let log = device.log_dma(Some(0x1000), &[high, low]).unwrap();
    assert_eq!((log.page_size(), log.ranges()), (KB64, &[low, high][..]), "the device's pages");
    assert_eq!(log.take(low).unwrap().count(), 0, "what was written before is not logged");

    for address in [0x11_0000, 0x12_8000, 0x14_0000, 0x15_ffff, 0x8abc_0000, 0x40_0000] {
        dma(&device, address);
    }
    let written = log.take(low).unwrap();
    assert_eq!((written.first(), written.pages(), written.count()), (0x10_0000, 16, 4));
    let found: Vec<_> = written.ranges().collect();
    assert_eq!(found, [range(0x11_0000, 0x12_ffff), range(0x14_0000, 0x15_ffff)]);
    assert_eq!(written.words(), [0b11_0110]);
    assert_eq!(log.take(low).unwrap().count(), 0);
    assert_eq!(
        log.take(high).unwrap().ranges().collect::<Vec<_>>(),
        [range(0x8abc_0000, 0x8abc_ffff)]
    );

    // Any range can be asked for; it is rounded out to pages.
    dma(&device, 0x17_1234);
    let written = log.take(range(0x17_5000, 0x17_5000)).unwrap();
    assert_eq!((written.first(), written.pages(), written.count()), (0x17_0000, 1, 1));
}

#[test]
fn a_device_has_one_log_and_it_ends_when_it_is_dropped() {
    let (device, writer, _) = writer();
    let memory = range(0, 0xf_ffff);
    let log = device.log_dma(None, &[memory]).unwrap();
    let error = device.clone().log_dma(None, &[memory]).unwrap_err();
    assert!(matches!(error, DmaLogError::Running { .. }), "{error}");
    assert_eq!(writer.0.lock().unwrap().starts, 1);
    drop(log);
    assert!(writer.0.lock().unwrap().running.is_none());
    device.log_dma(None, &[memory]).unwrap().stop().unwrap();
    assert!(writer.0.lock().unwrap().running.is_none());
    let log = device.log_dma(None, &[memory]).unwrap();
    drop(device);
    assert!(writer.0.lock().unwrap().running.is_some(), "the log keeps it open");
    assert_eq!(log.device().name(), "writer");
}

#[test]
fn what_no_device_can_log_is_refused_before_it_is_asked() {
    let (device, writer, faults) = writer();
    let calls = faults.calls();
    let good = range(0, 0xf_ffff);
    let text = |page_size, ranges: &[IovaRange]| {
        device.log_dma(page_size, ranges).unwrap_err().to_string()
    };
    for size in [0, 1, 2048, 4097, 0x3000, u64::MAX] {
        assert!(text(Some(size), &[good]).contains("a power of two of at least 4096"), "{size}");
    }
    assert!(text(None, &[]).contains("has no range"));
    assert!(text(None, &[range(0x2000, 0x1fff)]).contains("is no range"));
    for bad in [range(0x800, 0x1fff), range(0, 0x17ff), range(0x1000, 0x1000)] {
        assert!(text(None, &[good, bad]).contains("round it to whole pages of 4096 bytes"));
    }
    assert!(text(Some(0x1000), &[range(0x1000, u64::MAX)]).contains("leave the last page"));
    assert!(text(None, &[IovaRange::ALL]).contains("leave the last page"));
    let overlap = text(None, &[range(0x20_0000, 0x2f_ffff), good, range(0xf_0000, 0x10_ffff)]);
    assert!(overlap.contains("0x0 to 0xfffff and 0xf0000 to 0x10ffff overlap"), "{overlap}");
    assert_eq!((faults.calls(), writer.0.lock().unwrap().starts), (calls, 0));

    let five: Vec<_> = (0..5).map(|n| range(n << 20, (n << 20) + 0xffff)).collect();
    assert!(
        text(None, &five)
            .contains("log of 5 ranges was not started: the device cannot tell so many")
    );
    let log = device.log_dma(None, &[good]).unwrap();
    let refused = [
        (range(0x2000, 0x1000), "is no range"),
        (range(0x2000, 0), "is no range"),
        (range(5, 4), "is no range"),
        (range(0, u64::MAX), "leave the last page"),
        (range(u64::MAX, u64::MAX), "leave the last page"),
        (range(0, u64::MAX - KB64), "ask for a part"),
    ];
    for (bad, says) in refused {
        let error = log.take(bad).unwrap_err().to_string();
        assert!(error.contains(says), "{bad:?}: {error}");
    }
    assert!(writer.0.lock().unwrap().reports.is_empty());
}

#[test]
fn a_long_range_is_read_in_pieces_that_join() {
    let (device, writer, _) = writer();
    // 1 MiB of bitmap is 8 Mi pages of 64 KiB: 512 GiB.
    const PIECE: u64 = 512 << 30;
    let memory = range(0, 3 * PIECE - 1);
    let log = device.log_dma(None, &[memory]).unwrap();
    dma(&device, PIECE - 1);
    dma(&device, PIECE);
    dma(&device, 2 * PIECE + 5 * KB64);
    let asked = range(3 * KB64, 2 * PIECE + 6 * KB64 - 1);
    let written = log.take(asked).unwrap();
    let found: Vec<_> = written.ranges().collect();
    let last = 2 * PIECE + 5 * KB64;
    assert_eq!(found, [range(PIECE - KB64, PIECE + KB64 - 1), range(last, last + KB64 - 1)]);
    let reports = std::mem::take(&mut writer.0.lock().unwrap().reports);
    assert_eq!(reports.len(), 3);
    assert_eq!((reports[0].first, reports[2].last), (asked.first, asked.last));
    assert!(reports.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
    assert!(reports.iter().all(|report| report.length() <= PIECE));
}

#[test]
fn whichever_call_fails_no_log_is_left_behind_and_the_error_names_the_step() {
    let memory = range(0, 0xf_ffff);
    let work = |device: &Device| -> Result<(), DmaLogError> {
        let log = device.log_dma(None, &[memory])?;
        log.take(memory)?;
        log.stop()
    };
    let (device, writer, faults) = writer();
    let says = ["was not started", "is lost: take all of it for written", "may still run"];
    for (n, says) in (1..).zip(says) {
        faults.fail_call(n, EIO);
        let error = work(&device).unwrap_err();
        assert!(error.to_string().contains(says), "{n}: {error}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains("writer"), "{n}: {source}");
        let running = writer.0.lock().unwrap().running.is_some();
        assert_eq!(running, n == 3, "only where it could not be ended");
        writer.0.lock().unwrap().running = None;
    }
    faults.fail_call(4, EIO);
    work(&device).unwrap();
    faults.fail_call(0, EIO);
    drop(device.log_dma(None, &[memory]).unwrap());
    assert!(writer.0.lock().unwrap().running.is_none());
}

#[test]
fn a_device_that_takes_an_absurd_page_size_is_refused_and_stopped() {
    #[derive(Debug, Default)]
    struct Absurd(Writer);
    impl Model for Absurd {
        fn layout(&self) -> Layout {
            self.0.layout()
        }
        fn device_info(&mut self) -> io::Result<DeviceInfo> {
            self.0.device_info()
        }
        fn feature(&mut self, board: &Board, flags: u32, data: &mut [u8]) -> io::Result<()> {
            self.0.feature(board, flags, data)
        }
        fn start_dma_log(&mut self, board: &Board, _: u64, all: &[IovaRange]) -> io::Result<u64> {
            self.0.start_dma_log(board, 0, all).map(|_| 0)
        }
    }
    let absurd = Absurd::default();
    let log = absurd.0.0.clone();
    let device = Device::new("absurd", Arc::new(SoftDevice::new(absurd).unwrap())).unwrap();
    for _ in 0..2 {
        let error = device.log_dma(None, &[range(0, 0xffff)]).unwrap_err();
        assert!(matches!(error, DmaLogError::PageSize { page_size: 0, .. }), "{error}");
        assert!(log.lock().unwrap().running.is_none());
    }
}

#[test]
fn a_device_without_a_log_says_so() {
    let device = Device::new("soc", Arc::new(SoftDevice::new(Platform::new()).unwrap())).unwrap();
    assert!(!device.has_feature(Feature::DMA_LOGGING_START, FeatureUse::Set).unwrap());
    let error = device.log_dma(None, &[range(0, 0xffff)]).unwrap_err();
    let DmaLogError::Start { source: FeatureError::Unsupported { .. }, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(error.to_string().contains("take all memory that the device can reach"), "{error}");
}
