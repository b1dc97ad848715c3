//! The registers that every PCI function has.

use std::sync::Arc;

use super::PciIds;
use crate::device::{Device, DeviceFlags};
use crate::region::{Region, RegionError, RegionState};

/// Index of the configuration region of a PCI device (`VFIO_PCI_CONFIG_REGION_INDEX`).
pub const REGION_INDEX: u32 = 7;

const VENDOR_ID: u64 = 0x00;
const DEVICE_ID: u64 = 0x02;
const COMMAND: u64 = 0x04;
const BARS: u64 = 0x10;
const BAR_IS_IO: u32 = 1 << 0;
const BAR_TYPE: u32 = 0x6;
const BAR_64_BITS: u32 = 0x4;
const REVISION_AND_CLASS: u64 = 0x08;
const HEADER_TYPE: u64 = 0x0e;
const SUBSYSTEM_VENDOR_ID: u64 = 0x2c;
const SUBSYSTEM_ID: u64 = 0x2e;

bitflags::bitflags! {
    /// The command register, `PCI_COMMAND`. Bits that this crate does not know are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Command: u16 {
        /// Answers I/O accesses.
        const IO = 1 << 0;
        /// Answers memory accesses. Off: accesses to memory regions fail, mapped ones with SIGBUS.
        const MEMORY = 1 << 1;
        /// May start DMA and send message-signalled interrupts.
        const BUS_MASTER = 1 << 2;
        /// Does not assert INTx.
        const INTX_DISABLE = 1 << 10;
        const _ = !0;
    }
}

/// The configuration space could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration region is missing or an access to it failed.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The capability list leads in a circle or back into the header.
    #[error("the PCI capability list of {device} is broken at {offset:#x}")]
    BrokenList {
        /// The device's name.
        device: Arc<str>,
        /// The byte whose pointer leads astray.
        offset: u64,
    },
}

/// The configuration space of an open PCI device, as vfio-pci shows it
/// (`drivers/vfio/pci/vfio_pci_config.c`): some registers are its own, and some writes are held back. It
/// keeps the device open.
#[derive(Debug, Clone)]
pub struct PciConfig {
    region: Region,
    device: Arc<str>,
}

impl PciConfig {
    pub(crate) fn of(device: &Device) -> Result<Option<Self>, ConfigError> {
        if !device.info().flags.contains(DeviceFlags::PCI) {
            return Ok(None);
        }
        let region = device.region(REGION_INDEX)?;
        Ok(Some(Self { region, device: device.shared().name.clone() }))
    }

    /// The same for use while another region is being mapped; not shared with other users.
    pub(super) fn unshared(device: &Device) -> Option<Self> {
        let is_pci = device.info().flags.contains(DeviceFlags::PCI);
        let info = is_pci.then(|| device.region_info(REGION_INDEX).ok().flatten()).flatten()?;
        let region = Region::from(Arc::new(RegionState::map(device, info)));
        Some(Self { region, device: device.shared().name.clone() })
    }

    /// The region behind it, for registers that have no method here. Registers are little-endian.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn device_name(&self) -> Arc<str> {
        self.device.clone()
    }

    /// Vendor, device, subsystem, class and revision.
    ///
    /// # Errors
    /// [`ConfigError::Region`] when an access fails.
    pub fn ids(&self) -> Result<PciIds, ConfigError> {
        let revision_and_class = self.region.read32(REVISION_AND_CLASS)?;
        // Bridges keep other things where a function keeps its subsystem.
        let is_function = self.region.read8(HEADER_TYPE)? & 0x7f == 0;
        let subsystem = |offset| if is_function { self.region.read16(offset) } else { Ok(0) };
        let [revision, ..] = revision_and_class.to_le_bytes();
        Ok(PciIds {
            vendor: self.region.read16(VENDOR_ID)?,
            device: self.region.read16(DEVICE_ID)?,
            subsystem_vendor: subsystem(SUBSYSTEM_VENDOR_ID)?,
            subsystem_device: subsystem(SUBSYSTEM_ID)?,
            class: revision_and_class >> 8,
            revision,
        })
    }

    /// Whether a BAR of the function is in I/O space, which answers only with [`Command::IO`].
    ///
    /// # Errors
    /// [`ConfigError::Region`] when an access fails.
    pub fn has_io_bar(&self) -> Result<bool, ConfigError> {
        // Bridges have two, and other things behind them.
        let bars = match self.region.read8(HEADER_TYPE)? & 0x7f {
            0 => 6,
            1 => 2,
            _ => 0,
        };
        let mut index = 0;
        while index < bars {
            let bar = self.region.read32(BARS + index * 4)?;
            if bar & BAR_IS_IO != 0 {
                return Ok(true);
            }
            // The next dword holds the upper half of a 64-bit address.
            index += if bar & BAR_TYPE == BAR_64_BITS { 2 } else { 1 };
        }
        Ok(false)
    }

    /// The command register.
    ///
    /// # Errors
    /// [`ConfigError::Region`] when the access fails.
    pub fn command(&self) -> Result<Command, ConfigError> {
        Ok(Command::from_bits_retain(self.region.read16(COMMAND)?))
    }

    /// Writes the command register. Devices may keep bits that they do not have at 0.
    ///
    /// # Errors
    /// [`ConfigError::Region`] when the access fails.
    pub fn set_command(&self, command: Command) -> Result<(), ConfigError> {
        Ok(self.region.write16(COMMAND, command.bits())?)
    }
}
