//! The list of PCI capabilities, and MSI-X.

use std::ops::{ControlFlow, Range};

use super::{ConfigError, PciConfig};
use crate::device::Device;
use crate::region::{RegionFlags, RegionInfo};

const STATUS: u64 = 0x06;
const STATUS_CAPABILITY_LIST: u16 = 1 << 4;
const CAPABILITY_POINTER: u64 = 0x34;
/// The first byte behind the header that all functions have.
const FIRST_CAPABILITY: u8 = 0x40;
/// Capabilities start at dwords behind the header, so there can be no more of them.
const MOST_CAPABILITIES: usize = (0x100 - 0x40) / 4;
const BARS: u32 = 6;
const MSIX_ENTRY_LENGTH: u64 = 16;
/// Vectors whose pending bits share 8 bytes.
const PENDING_BITS: u64 = 64;

/// A capability in the first 256 bytes of configuration space (`PCI_CAPABILITY_LIST`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capability {
    /// `PCI_CAP_ID_*` of `include/uapi/linux/pci_regs.h`.
    pub id: u8,
    /// Where it starts, in bytes.
    pub offset: u64,
}

impl Capability {
    /// A vendor's own capability.
    pub const VENDOR_SPECIFIC: u8 = 0x09;
    /// MSI.
    pub const MSI: u8 = 0x05;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
}

/// Where a function keeps its MSI-X vectors (`PCI_MSIX_TABLE`, `PCI_MSIX_PBA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MsixTable {
    /// Number of vectors, 1 to 2048.
    pub vectors: u16,
    /// The region (BAR) that holds the table.
    pub bar: u32,
    /// Where the table starts in it, in bytes.
    pub offset: u64,
    /// The region (BAR) that holds the pending bits.
    pub pending_bar: u32,
    /// Where the pending bits start in it, in bytes.
    pub pending_offset: u64,
}

impl MsixTable {
    /// The bytes of BAR `index` that belong to MSI-X.
    fn in_bar(&self, index: u32) -> Vec<Range<u64>> {
        let vectors = u64::from(self.vectors);
        let table = vectors.saturating_mul(MSIX_ENTRY_LENGTH);
        let pending = vectors.div_ceil(PENDING_BITS).saturating_mul(PENDING_BITS / 8);
        let places =
            [(self.bar, self.offset, table), (self.pending_bar, self.pending_offset, pending)];
        let here = places.into_iter().filter(|(bar, ..)| *bar == index);
        here.map(|(_, start, length)| start..start.saturating_add(length)).collect()
    }
}

impl PciConfig {
    /// The capabilities, in the order of the list.
    ///
    /// # Errors
    /// [`ConfigError::BrokenList`] when the list leads in a circle or back into the header,
    /// [`ConfigError::Region`] when it leads out of the space or an access fails.
    pub fn capabilities(&self) -> Result<Vec<Capability>, ConfigError> {
        let mut found = Vec::new();
        self.walk(|capability| {
            found.push(capability);
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// The first capability with this id, whatever the list does behind it.
    ///
    /// # Errors
    /// As [`PciConfig::capabilities`].
    pub fn capability(&self, id: u8) -> Result<Option<Capability>, ConfigError> {
        let mut found = None;
        self.walk(|capability| {
            if capability.id != id {
                return ControlFlow::Continue(());
            }
            found = Some(capability);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    fn walk(
        &self,
        mut visit: impl FnMut(Capability) -> ControlFlow<()>,
    ) -> Result<(), ConfigError> {
        if self.region().read16(STATUS)? & STATUS_CAPABILITY_LIST == 0 {
            return Ok(());
        }
        let mut from = CAPABILITY_POINTER;
        for visited in 0..=MOST_CAPABILITIES {
            // The two low bits are reserved.
            let at = self.region().read8(from)? & !0x3;
            if at == 0 {
                return Ok(());
            }
            if at < FIRST_CAPABILITY || visited == MOST_CAPABILITIES {
                break;
            }
            let offset = u64::from(at);
            if visit(Capability { id: self.region().read8(offset)?, offset }).is_break() {
                return Ok(());
            }
            from = offset.saturating_add(1);
        }
        Err(ConfigError::BrokenList { device: self.device_name(), offset: from })
    }

    /// The MSI-X table; `None` when the function has no MSI-X.
    ///
    /// # Errors
    /// As [`PciConfig::capabilities`].
    pub fn msix(&self) -> Result<Option<MsixTable>, ConfigError> {
        let Some(msix) = self.capability(Capability::MSIX)? else { return Ok(None) };
        let control = self.region().read16(msix.offset.saturating_add(2))?;
        let table = self.region().read32(msix.offset.saturating_add(4))?;
        let pending = self.region().read32(msix.offset.saturating_add(8))?;
        Ok(Some(MsixTable {
            vectors: (control & 0x7ff).saturating_add(1),
            bar: table & 0x7,
            offset: u64::from(table & !0x7),
            pending_bar: pending & 0x7,
            pending_offset: u64::from(pending & !0x7),
        }))
    }
}

/// The bytes of a region that must not be mapped because they hold the MSI-X table or its pending bits.
/// Asks the device only where the answer matters: a BAR that can be mapped, about which the kernel said
/// neither that the table may be mapped nor which areas may.
pub(crate) fn holes(device: &Device, info: &RegionInfo) -> Vec<Range<u64>> {
    let matters = info.index < BARS
        && info.flags.contains(RegionFlags::MMAP)
        && info.sparse.is_none()
        && !info.msix_mappable;
    let config = if matters { PciConfig::unshared(device) } else { None };
    match config.map_or(Ok(None), |config| config.msix()) {
        Ok(msix) => msix.map_or_else(Vec::new, |msix| msix.in_bar(info.index)),
        Err(error) => {
            tracing::debug!(
                device = device.name(), %error, "cannot tell where the MSI-X table is: no region is \
                 kept from being mapped for it"
            );
            Vec::new()
        }
    }
}
