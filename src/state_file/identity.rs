//! What kind of device a state is of.

use std::fmt;

use mdev_bus::MdevInfo;
use serde::{Deserialize, Serialize};
use vfio_common::pci_config::PciIds;

/// What two devices must have in common for the state of one to be restored to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device_api: Option<String>,
    mdev_type: Option<String>,
    pci: Option<Ids>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ids {
    vendor: u16,
    device: u16,
    subsystem_vendor: u16,
    subsystem_device: u16,
}

impl Identity {
    pub(crate) fn new(info: &MdevInfo, ids: Option<PciIds>) -> Self {
        Self {
            device_api: info.device_api.as_ref().map(|api| api.name().to_owned()),
            mdev_type: info.mdev_type.clone(),
            pci: ids.map(|ids| Ids {
                vendor: ids.vendor,
                device: ids.device,
                subsystem_vendor: ids.subsystem_vendor,
                subsystem_device: ids.subsystem_device,
            }),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever a file has in it, a terminal shows it as text.
        let text = |value: &Option<String>| {
            let value = value.as_deref().unwrap_or("unknown");
            value.escape_debug().to_string()
        };
        write!(f, "type {} ({}", text(&self.mdev_type), text(&self.device_api))?;
        if let Some(Ids { vendor, device, subsystem_vendor, subsystem_device }) = &self.pci {
            write!(f, ", PCI {vendor:04x}:{device:04x}")?;
            write!(f, ", subsystem {subsystem_vendor:04x}:{subsystem_device:04x}")?;
        }
        f.write_str(")")
    }
}
