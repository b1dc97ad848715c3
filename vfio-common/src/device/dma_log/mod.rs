//! The log of the memory that a device writes, also called dirty tracking.

mod dirty;
mod error;

use std::sync::atomic::Ordering;

pub use dirty::DirtyPages;
pub use error::DmaLogError;

use super::{Device, Feature, FeatureError, FeatureUse};
use crate::iommu::IovaRange;
use crate::process::Doer;

/// The smallest page that the kernel logs by.
const SMALLEST_PAGE: u64 = 4096;
/// Bytes of a bitmap that one call fetches. Linux 6.12 pins 2 MiB of a larger one at a time, and then
/// goes on at another place than where it left off (`iova_bitmap_get`).
const PIECE: u64 = 1 << 20;
/// Bytes of the largest bitmap that is fetched in all, as for the dirty pages of a container.
const LARGEST: u64 = 256 << 20;

impl Device {
    /// Starts to log which pages the device writes, in these ranges of its address space, until the log
    /// is dropped (`VFIO_DEVICE_FEATURE_DMA_LOGGING_START`, Linux 6.1).
    ///
    /// `page_size` in bytes is a wish: the device logs by pages of [`DmaLog::page_size`], which may be
    /// larger. `None` is the page size of the host.
    ///
    /// ```
    /// use vfio_common::iommu::IovaRange;
    /// # use vfio_common::route::{Opener as _, Target};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let machine = vfio_sim::Machine::demo()?;
    /// # let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
    /// # let sysfs = format!("bus/mdev/devices/{name}").into();
    /// # let device = machine.opener().open(&Target { name, sysfs })?;
    /// let ring = IovaRange { first: 0x10_0000, last: 0x10_ffff };
    /// let log = device.log_dma(None, &[ring])?;
    /// // The device works; then:
    /// for written in log.take(ring)?.ranges() {
    ///     println!("{:#x} to {:#x} was written", written.first, written.last);
    /// }
    /// # assert_eq!(log.take(ring)?.count(), 0, "a serial card writes no memory");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`DmaLogError::PageSize`], [`DmaLogError::NoRange`], [`DmaLogError::Misaligned`],
    /// [`DmaLogError::TooFar`] and [`DmaLogError::Overlap`] for what no device can log;
    /// [`DmaLogError::Running`] when a log runs; [`DmaLogError::Start`] when the device has no log, or the
    /// kernel refuses.
    pub fn log_dma(
        &self,
        page_size: Option<u64>,
        ranges: &[IovaRange],
    ) -> Result<DmaLog, DmaLogError> {
        let device = || self.shared().name.clone();
        let wanted = page_size.unwrap_or_else(crate::page_size);
        check_page_size(self, wanted)?;
        if ranges.is_empty() {
            return Err(DmaLogError::NoRange { device: device() });
        }
        let mut sorted = ranges.to_vec();
        sorted.sort_unstable_by_key(|range| range.first);
        for range in &sorted {
            check_range(self, *range, wanted)?;
        }
        for (before, after) in sorted.iter().zip(sorted.iter().skip(1)) {
            if before.last >= after.first {
                let ranges = [*before, *after];
                return Err(DmaLogError::Overlap { device: device(), ranges });
            }
        }
        // The device has one log; the end of a second handle would end that of the first.
        if self.shared().is_logging.swap(true, Ordering::Acquire) {
            return Err(DmaLogError::Running { device: device() });
        }
        let started = self.shared().backend.start_dma_log(wanted, &sorted).map_err(|source| {
            let feature = Feature::DMA_LOGGING_START;
            DmaLogError::Start {
                count: sorted.len(),
                source: self.feature_error(feature, FeatureUse::Set, source),
            }
        });
        let page_size = started.inspect_err(|_| {
            self.shared().is_logging.store(false, Ordering::Release);
        })?;
        // From here on the drop of the log ends it.
        let log = DmaLog {
            device: self.clone(),
            page_size,
            ranges: sorted,
            is_over: false,
            doer: Doer::here(),
        };
        check_page_size(self, page_size)?;
        Ok(log)
    }
}

/// A log that runs ([`Device::log_dma`]). Dropping it ends it. It keeps the device open.
#[derive(Debug)]
pub struct DmaLog {
    device: Device,
    page_size: u64,
    ranges: Vec<IovaRange>,
    is_over: bool,
    /// Who started it.
    doer: Doer,
}

impl DmaLog {
    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of a page that the device logs by.
    #[must_use]
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// What is logged, in ascending order.
    #[must_use]
    pub fn ranges(&self) -> &[IovaRange] {
        &self.ranges
    }

    /// The pages of a range that were written since they were asked for last, and forgets them
    /// (`VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT`). The range is rounded out to whole pages of
    /// [`DmaLog::page_size`]; what is not logged counts as not written.
    ///
    /// # Errors
    /// [`DmaLogError::Empty`] when the range ends before it begins, [`DmaLogError::TooFar`] when its
    /// last page is that of the 64-bit address space, [`DmaLogError::TooLong`] when the bitmap would
    /// have more than 256 MiB (8 TiB in pages of 4 KiB); then nothing is forgotten.
    /// [`DmaLogError::Report`] when the kernel fails: what was written in the range is lost, so take all
    /// of it for written.
    pub fn take(&self, range: IovaRange) -> Result<DirtyPages, DmaLogError> {
        let device = || self.device.shared().name.clone();
        if range.first > range.last {
            return Err(DmaLogError::Empty { device: device(), range });
        }
        let too_far = || DmaLogError::TooFar { device: device(), range };
        let page = self.page_size;
        let first = range.first / page * page;
        let end = range.last.checked_add(1).and_then(|end| end.checked_next_multiple_of(page));
        let length = end.and_then(|end| end.checked_sub(first)).ok_or_else(too_far)?;
        if (length / page).div_ceil(8) > LARGEST {
            return Err(DmaLogError::TooLong { device: device(), range, page_size: page });
        }
        let mut pages = DirtyPages::new(first, page);
        let step = page.saturating_mul(PIECE * 8);
        let mut done = 0;
        while done < length {
            let piece = step.min(length - done);
            // It does not wrap: its end was computed.
            let start = first.saturating_add(done);
            let part = IovaRange { first: start, last: start.saturating_add(piece - 1) };
            let words = self.device.shared().backend.read_dma_log(page, part);
            let words = words.map_err(|source| {
                let feature = Feature::DMA_LOGGING_REPORT;
                let source = self.device.feature_error(feature, FeatureUse::Get, source);
                DmaLogError::Report { device: device(), range, source }
            })?;
            pages.append(&words, piece / page);
            done = done.saturating_add(piece);
        }
        Ok(pages)
    }

    /// Ends the log (`VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP`). Dropping it does the same, and cannot say
    /// whether it failed.
    ///
    /// # Errors
    /// [`DmaLogError::Stop`] when the kernel fails.
    pub fn stop(mut self) -> Result<(), DmaLogError> {
        self.end().map_err(|source| DmaLogError::Stop { source })
    }

    fn end(&mut self) -> Result<(), FeatureError> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let ended = self.device.set_feature(Feature::DMA_LOGGING_STOP);
        self.device.shared().is_logging.store(false, Ordering::Release);
        ended
    }
}

impl Drop for DmaLog {
    fn drop(&mut self) {
        if self.doer.is_here()
            && let Err(error) = self.end()
        {
            tracing::warn!(device = %self.device.name(), %error, "the DMA log was not ended");
        }
    }
}

fn check_page_size(device: &Device, page_size: u64) -> Result<(), DmaLogError> {
    if page_size >= SMALLEST_PAGE && page_size.is_power_of_two() {
        return Ok(());
    }
    Err(DmaLogError::PageSize { device: device.shared().name.clone(), page_size })
}

fn check_range(device: &Device, range: IovaRange, page_size: u64) -> Result<(), DmaLogError> {
    let device = || device.shared().name.clone();
    if range.first > range.last {
        return Err(DmaLogError::Empty { device: device(), range });
    }
    // The kernel wants the address behind the range to exist.
    let Some(end) = range.last.checked_add(1) else {
        return Err(DmaLogError::TooFar { device: device(), range });
    };
    if !range.first.is_multiple_of(page_size) || !end.is_multiple_of(page_size) {
        return Err(DmaLogError::Misaligned { device: device(), range, page_size });
    }
    Ok(())
}
