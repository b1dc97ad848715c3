//! The steps from one state to another.

use std::path::Path;

use rustix::io::Errno;
use vfio_common::diagnosis::Holders;
use vfio_common::route::is_of_vfio;
use vfio_common::sysfs::{Host, SysfsError};

use super::BindingError;
use super::attributes::errno;
use super::function::{Function, State, place};
use super::kernel::{Kernel, NotDone};

/// Brings a function into a state, by at most four writes. After each of them the function is in a state
/// from which this leads to any other one. `holders` are those who have it open.
///
/// The override is first: whoever else has drivers probed in between then gets the right one. One that
/// keeps out the driver that it is to be bound to is last.
pub(super) fn settle(
    kernel: &Kernel,
    function: &Function,
    goal: &State,
    holders: Option<&Holders>,
) -> Result<(), BindingError> {
    let now = kernel.state(function)?;
    let is_bound = now.driver == goal.driver;
    let first = if is_bound { &goal.driver_override } else { goal.override_to_bind() };
    if now.driver_override != *first {
        set_override(kernel, function, first.as_deref())?;
    }
    if is_bound {
        return Ok(());
    }
    if let Some(driver) = &now.driver {
        unbind(kernel, function, driver, holders)?;
    }
    if let Some(driver) = &goal.driver {
        bind(kernel, function, driver)?;
    }
    let driver = function.driver()?;
    if driver != goal.driver {
        return Err(BindingError::TakenMeanwhile { address: function.address, driver });
    }
    if goal.driver_override != *first {
        set_override(kernel, function, goal.driver_override.as_deref())?;
    }
    Ok(())
}

fn set_override(
    kernel: &Kernel,
    function: &Function,
    name: Option<&str>,
) -> Result<(), BindingError> {
    let address = function.address;
    // An empty line clears it; nothing at all would be no write.
    let text = name.unwrap_or("\n");
    let written = kernel.write(place(address).join("driver_override"), text);
    written.map_err(|not_done| {
        let action = format!("set the driver_override of {address}");
        kernel.explain(action, not_done, || kernel.holders(function))
    })
}

/// Through the driver's own `unbind`, which leaves alone what another driver has meanwhile.
fn unbind(
    kernel: &Kernel,
    function: &Function,
    driver: &str,
    holders: Option<&Holders>,
) -> Result<(), BindingError> {
    let address = function.address;
    let attribute = Kernel::driver_attribute(driver, "unbind");
    match kernel.write(attribute, &address.to_string()) {
        Err(not_done) if !is_done(&not_done, function, None) => {
            let action = format!("unbind {address} from {driver}");
            Err(kernel.explain(action, not_done, || holders.cloned()))
        }
        _ => Ok(()),
    }
}

/// Through the driver's own `bind`: `drivers_probe` keeps the driver's error to itself.
fn bind(kernel: &Kernel, function: &Function, driver: &str) -> Result<(), BindingError> {
    let address = function.address;
    let attribute = Kernel::driver_attribute(driver, "bind");
    match kernel.write(attribute, &address.to_string()) {
        Err(NotDone::Failed(error))
            if errno(&error) == Some(Errno::INVAL)
                && is_of_vfio(driver)
                && function.iommu_group()?.is_none() =>
        {
            Err(no_group(&kernel.host, function)?)
        }
        Err(not_done) if !is_done(&not_done, function, Some(driver)) => {
            let action = format!("bind {address} to {driver}");
            // It may wait for an unbind that waits.
            Err(kernel.explain(action, not_done, || kernel.holders(function)))
        }
        _ => Ok(()),
    }
}

/// Whether somebody else has done meanwhile what failed.
fn is_done(not_done: &NotDone, function: &Function, wanted: Option<&str>) -> bool {
    let driver = || function.driver().is_ok_and(|driver| driver.as_deref() == wanted);
    matches!(not_done, NotDone::Failed(_)) && driver()
}

/// Why drivers of VFIO do not take a function that is in no group.
pub(super) fn no_group(host: &Host, function: &Function) -> Result<BindingError, SysfsError> {
    let groups = host.sysfs_dir("kernel/iommu_groups")?.map(|dir| dir.entries()).transpose()?;
    let is_iommu_off = groups.is_none_or(|groups| groups.is_empty());
    Ok(BindingError::NoIommuGroup { address: function.address, is_iommu_off })
}

/// Has the kernel look for a driver, where the one that is wanted is not there.
pub(super) fn probe(kernel: &Kernel, function: &Function) -> Result<(), BindingError> {
    let address = function.address;
    let written = kernel.write(Path::new("bus/pci/drivers_probe").into(), &address.to_string());
    written.map_err(|not_done| {
        let action = format!("have drivers probed for {address}");
        kernel.explain(action, not_done, || kernel.holders(function))
    })
}
