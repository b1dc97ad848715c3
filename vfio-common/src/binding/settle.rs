//! The steps from one state to another.

use rustix::io::Errno;

use super::BindingError;
use super::attributes::errno;
use super::device_dir::{DeviceDir, State};
use super::kernel::{Kernel, NotDone};
use crate::diagnosis::Holders;
use crate::route::is_of_vfio;
use crate::sysfs::{Host, SysfsError};

/// Brings a device into a state, by at most four writes. After each of them the device is in a state
/// from which this leads to any other one. `holders` are those who have it open.
///
/// `now` is the state that was decided on: a driver that the device got since was not looked at, so it is
/// not taken from that one, and a write fails.
///
/// The override is first: whoever else has drivers probed in between then gets the right one. One that
/// keeps out the driver that it is to be bound to is last.
pub(super) fn settle(
    kernel: &Kernel,
    device: &DeviceDir,
    now: &State,
    goal: &State,
    holders: Option<&Holders>,
) -> Result<(), BindingError> {
    let is_bound = now.driver == goal.driver;
    let first = if is_bound { &goal.driver_override } else { goal.override_to_bind() };
    if now.driver_override != *first {
        set_override(kernel, device, first.as_deref())?;
    }
    if is_bound {
        return Ok(());
    }
    if let Some(driver) = &now.driver {
        unbind(kernel, device, driver, holders)?;
    }
    if let Some(driver) = &goal.driver {
        bind(kernel, device, driver)?;
    }
    let driver = device.driver()?;
    if driver != goal.driver {
        return Err(BindingError::TakenMeanwhile { address: device.address.clone(), driver });
    }
    if goal.driver_override != *first {
        set_override(kernel, device, goal.driver_override.as_deref())?;
    }
    Ok(())
}

fn set_override(
    kernel: &Kernel,
    device: &DeviceDir,
    name: Option<&str>,
) -> Result<(), BindingError> {
    let address = &device.address;
    // An empty line clears it; nothing at all would be no write.
    let text = name.unwrap_or("\n");
    let written = kernel.write(device.place.join("driver_override"), text);
    written.map_err(|not_done| {
        let action = format!("set the driver_override of {address}");
        kernel.explain(action, not_done, || kernel.holders(device))
    })
}

/// Through the driver's own `unbind`, which leaves alone what another driver has meanwhile.
fn unbind(
    kernel: &Kernel,
    device: &DeviceDir,
    driver: &str,
    holders: Option<&Holders>,
) -> Result<(), BindingError> {
    let address = &device.address;
    let attribute = kernel.driver_attribute(driver, "unbind");
    match kernel.write(attribute, address) {
        Err(not_done) if !is_done(&not_done, device, None) => {
            let action = format!("unbind {address} from {driver}");
            Err(kernel.explain(action, not_done, || holders.cloned()))
        }
        _ => Ok(()),
    }
}

/// Through the driver's own `bind`: `drivers_probe` keeps the driver's error to itself.
fn bind(kernel: &Kernel, device: &DeviceDir, driver: &str) -> Result<(), BindingError> {
    let address = &device.address;
    let attribute = kernel.driver_attribute(driver, "bind");
    match kernel.write(attribute, address) {
        Err(NotDone::Failed(error))
            if errno(&error) == Some(Errno::INVAL)
                && is_of_vfio(driver)
                && device.iommu_group()?.is_none() =>
        {
            Err(no_group(&kernel.host, device)?)
        }
        Err(not_done) if !is_done(&not_done, device, Some(driver)) => {
            let action = format!("bind {address} to {driver}");
            // It may wait for an unbind that waits.
            Err(kernel.explain(action, not_done, || kernel.holders(device)))
        }
        _ => Ok(()),
    }
}

/// Whether somebody else has done meanwhile what failed.
fn is_done(not_done: &NotDone, device: &DeviceDir, wanted: Option<&str>) -> bool {
    let driver = || device.driver().is_ok_and(|driver| driver.as_deref() == wanted);
    matches!(not_done, NotDone::Failed(_)) && driver()
}

/// Why drivers of VFIO do not take a device that is in no group.
pub(super) fn no_group(host: &Host, device: &DeviceDir) -> Result<BindingError, SysfsError> {
    let groups = host.sysfs_dir("kernel/iommu_groups")?.map(|dir| dir.entries()).transpose()?;
    let is_iommu_off = groups.is_none_or(|groups| groups.is_empty());
    Ok(BindingError::NoIommuGroup { address: device.address.clone(), is_iommu_off })
}

/// Has the kernel look for a driver, where the one that is wanted is not there.
pub(super) fn probe(kernel: &Kernel, device: &DeviceDir) -> Result<(), BindingError> {
    let address = &device.address;
    let written = kernel.write(kernel.of_bus("drivers_probe"), address);
    written.map_err(|not_done| {
        let action = format!("have drivers probed for {address}");
        kernel.explain(action, not_done, || kernel.holders(device))
    })
}
