//! How the devices of a machine are opened and closed.

use std::sync::Arc;

use rustix::io::Errno;
use vfio_common::device::Device;
use vfio_common::iommu::Attachment;
use vfio_common::route::{OpenError, OpenStep, Opener, Target};

use super::{BusKind, Machine};
use crate::errno::failed;
use crate::fault::Faulty;

impl Opener for Machine {
    /// Finds the device's group in the tree, as the kernel would, and then the device by its name.
    fn open(&self, target: &Target) -> Result<Device, OpenError> {
        let device = || target.name.clone();
        let group = target.iommu_group(&self.host())?;
        let step = || OpenStep::GetDevice { device: device(), group };
        let refused = |source| OpenError::Step { step: step(), source };
        self.shared.faults.call().map_err(refused)?;

        let soft = {
            let mut state = self.state();
            let entry = state.devices.get_mut(&target.name);
            let entry = entry.ok_or_else(|| OpenError::NoDevice { device: device() })?;
            let is_hidden = entry.bus == BusKind::Pci && !self.tree().offers(&target.name);
            if entry.leaving || is_hidden {
                return Err(refused(failed(Errno::NODEV)));
            }
            entry.open = entry.open.saturating_add(1);
            entry.device.clone()
        };
        let attachment = self.shared.attach.device();
        let open = Open { machine: self.clone(), name: device(), _attachment: attachment };
        let backend = Faulty::new(soft, self.shared.faults.clone()).holding(open);
        Ok(Device::new(target.name.as_str(), Arc::new(backend))?)
    }
}

/// One opening of a device. It keeps the machine, and so the tree, as long as the device is open.
struct Open {
    machine: Machine,
    name: String,
    _attachment: Attachment,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.machine.state();
        if let Some(entry) = state.devices.get_mut(&self.name) {
            entry.open = entry.open.saturating_sub(1);
            if entry.open == 0 {
                entry.device.closed();
            }
            // Nobody is left to tell if the tree cannot be changed; it goes with the machine.
            let _ = self.machine.finish_removal(&mut state, &self.name);
        }
    }
}
