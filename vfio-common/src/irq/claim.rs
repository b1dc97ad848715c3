//! Which interrupts of a device are on.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{IrqError, IrqId, pci};
use crate::device::{Device, DeviceFlags};

/// The indices that are on.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<BTreeSet<u32>>);

/// An index that is on, or about to be; nobody else gets it as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    device: Device,
    index: u32,
}

impl Claim {
    pub(super) fn take(device: &Device, index: u32) -> Result<Self, IrqError> {
        let name = || device.shared().name.clone();
        let flags = device.info().flags;
        let id = |index| IrqId::new(name(), flags, index);
        let mut claimed = device.shared().irqs.lock();
        if claimed.contains(&index) {
            return Err(IrqError::AlreadyEnabled { irq: id(index) });
        }
        let exclusive = [pci::INTX, pci::MSI, pci::MSIX];
        if flags.contains(DeviceFlags::PCI)
            && exclusive.contains(&index)
            && let Some(enabled) = exclusive.into_iter().find(|other| claimed.contains(other))
        {
            return Err(IrqError::Exclusive { irq: id(index), enabled: id(enabled) });
        }
        claimed.insert(index);
        drop(claimed);
        Ok(Self { device: device.clone(), index })
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.device.shared().irqs.lock().remove(&self.index);
    }
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
