//! The regions of a software device.

use vfio_common::region::{Area, RegionFlags, RegionInfo, RegionType};

/// One region of a software device: what its description says, and what is behind it.
///
/// ```
/// use vfio_common::region::Area;
/// use vfio_sim::model::RegionModel;
///
/// // A BAR whose first page holds registers and whose second can be mapped.
/// let bar = RegionModel::memory(0, 0x2000).sparse([Area { offset: 0x1000, size: 0x1000 }]);
/// # let _ = bar;
/// ```
#[derive(Debug, Clone)]
pub struct RegionModel {
    pub(super) info: RegionInfo,
    /// Whether it has memory.
    pub(super) memory: bool,
    /// Bytes that reads and writes reach, from its start.
    pub(super) reach: u64,
}

impl RegionModel {
    /// A region of `size` bytes that can be read and written and has no memory: every access goes to
    /// the model, which has to answer it.
    #[must_use]
    pub fn registers(index: u32, size: u64) -> Self {
        let info = RegionInfo::new(index, RegionFlags::READ | RegionFlags::WRITE, size, 0);
        Self { info, memory: false, reach: size }
    }

    /// A region of `size` bytes of memory that can be read and written. Reads and writes go to the
    /// model, which by default passes them on to the memory.
    #[must_use]
    pub fn memory(index: u32, size: u64) -> Self {
        Self { memory: true, ..Self::registers(index, size) }
    }

    /// An index that the device knows and that has no bytes and no flags, as unused BARs have. (An
    /// index that is not in the list at all is `EINVAL`.)
    #[must_use]
    pub fn unused(index: u32) -> Self {
        Self::registers(index, 0).flags(RegionFlags::empty())
    }

    /// Lets all of its memory be mapped.
    #[must_use]
    pub fn mappable(mut self) -> Self {
        self.info.flags |= RegionFlags::MMAP;
        self
    }

    /// Lets these areas of its memory be mapped, and no others. They are handed out as they are, also
    /// unsorted, overlapping or outside of the region.
    #[must_use]
    pub fn sparse(mut self, areas: impl IntoIterator<Item = Area>) -> Self {
        self.info.sparse = Some(areas.into_iter().collect());
        self.info.flags |= RegionFlags::MMAP | RegionFlags::CAPS;
        self
    }

    /// Lets it be read only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.info.flags -= RegionFlags::WRITE;
        self
    }

    /// Says what it holds, as device-specific regions do.
    #[must_use]
    pub fn typed(mut self, kind: u32, subtype: u32) -> Self {
        self.info.kind = Some(RegionType { kind, subtype });
        self.info.flags |= RegionFlags::CAPS;
        self
    }

    /// Says that it may be mapped although it holds the MSI-X table.
    #[must_use]
    pub fn msix_mappable(mut self) -> Self {
        self.info.msix_mappable = true;
        self.info.flags |= RegionFlags::CAPS;
        self
    }

    /// Gives it these flags, whatever was said before.
    #[must_use]
    pub fn flags(mut self, flags: RegionFlags) -> Self {
        self.info.flags = flags;
        self
    }

    /// Lets reads and writes reach `bytes` from its start, beyond its size or not up to it: some
    /// kernel drivers do not check against the size that they report.
    #[must_use]
    pub fn reach(mut self, bytes: u64) -> Self {
        self.reach = bytes;
        self
    }
}
