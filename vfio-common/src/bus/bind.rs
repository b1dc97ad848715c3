//! Binding one device: match, open, ask, probe.

use std::sync::Arc;

use super::bound::{Claimed, Slot};
use super::registry::Candidates;
use super::scan::KnownDevice;
use super::{
    BindError, Bus, BusType, DeviceIds, Fault, Outcome, ProbeDevice, ProbeError, SkipReason,
    UnbindReason, Unusable,
};
use crate::device::Device;
use crate::pci_config::PciIds;
use crate::route::OpenError;

impl<B: BusType> Bus<B> {
    pub(super) fn bind(&self, address: &B::Address, known: &KnownDevice<B>) -> Outcome {
        if !self.is_wanted(address) {
            return Outcome::Skipped(SkipReason::Blocked);
        }
        let claim = match self.bound.claim(address) {
            Claimed::Mine(claim) => claim,
            Claimed::Bound(driver) => return Outcome::Bound(driver),
            Claimed::Busy => return Outcome::Skipped(SkipReason::Busy),
        };
        match self.bind_claimed(address, &known.info) {
            Ok(Some(slot)) => {
                let driver = slot.driver_name;
                claim.bind(slot);
                // A scan that saw it go found no driver that it could have taken it from.
                if !self.is_usable(address, known.inode) {
                    self.bound.unbind(address, UnbindReason::Removed);
                    return Outcome::Skipped(SkipReason::Vanished);
                }
                tracing::info!(device = %address, driver, "bound");
                Outcome::Bound(driver)
            }
            Ok(None) => Outcome::NoDriver,
            Err(outcome) => outcome,
        }
    }

    /// The bound driver; `None` when none wants the device.
    fn bind_claimed(
        &self,
        address: &B::Address,
        info: &Arc<B::Info>,
    ) -> Result<Option<Slot>, Outcome> {
        let fault = B::fault(info);
        if let Some(Fault::Unsettled(fault)) = fault {
            return Err(Outcome::Skipped(SkipReason::Unsettled(fault)));
        }
        let candidates = self.registry.candidates(info, DeviceIds::Unread);
        if candidates.drivers.is_empty() && !candidates.ask_device {
            return Ok(None);
        }
        if let Some(Fault::Unusable(fault)) = fault {
            let device = address.to_string();
            return Err(Outcome::Failed(Unusable { device, fault }.into()));
        }
        let device = match self.opener.open(&B::target(info)) {
            Ok(device) => device,
            Err(OpenError::NoDevice { .. }) => {
                return Err(Outcome::Skipped(SkipReason::Vanished));
            }
            Err(error) => return Err(Outcome::Failed(error.into())),
        };
        if !candidates.ask_device {
            return offer(address, info, &device, B::pci_ids(info), &candidates);
        }
        let pci_ids = match read_ids(address, &device) {
            Ok(pci_ids) => pci_ids,
            Err(outcome) if candidates.drivers.is_empty() => return Err(outcome),
            Err(outcome) => {
                // Those that match without the ids need not suffer for those that want them.
                tracing::warn!(device = %address, ?outcome, "matched without PCI ids");
                return offer(address, info, &device, None, &candidates);
            }
        };
        let ids = pci_ids.map_or(DeviceIds::NotPci, DeviceIds::Pci);
        let candidates = self.registry.candidates(info, ids);
        offer(address, info, &device, pci_ids, &candidates)
    }
}

fn read_ids(address: &impl ToString, device: &Device) -> Result<Option<PciIds>, Outcome> {
    let read = || device.pci_config()?.map(|config| config.ids()).transpose();
    read().map_err(|source| Outcome::Failed(BindError::Ids { device: address.to_string(), source }))
}

/// Offers the device to the candidates, the most specific first, until one takes it.
fn offer<B: BusType>(
    address: &B::Address,
    info: &Arc<B::Info>,
    device: &Device,
    pci_ids: Option<PciIds>,
    candidates: &Candidates<'_, B>,
) -> Result<Option<Slot>, Outcome> {
    if candidates.drivers.is_empty() {
        return Ok(None);
    }
    let enabled = B::enable(info, device).map_err(|source| {
        Outcome::Failed(BindError::Enable { device: address.to_string(), source })
    })?;
    for candidate in &candidates.drivers {
        let offered = ProbeDevice { info: info.clone(), device: device.clone(), pci_ids };
        let driver = candidate.driver.name();
        match candidate.driver.probe(offered, candidate.id) {
            Ok(bound) => {
                return Ok(Some(Slot::new(driver, bound, Box::new(enabled), device.clone())));
            }
            Err(ProbeError::Declined(reason)) => {
                tracing::debug!(device = %address, driver, reason, "declined");
            }
            Err(source) => {
                let device = address.to_string();
                return Err(Outcome::Failed(BindError::Probe { device, driver, source }));
            }
        }
    }
    Ok(None)
}
