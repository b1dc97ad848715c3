//! Kernel drivers of PCI functions: taken from the host for VFIO, and given back.
//!
//! [`vfio_common::binding`] does it; here is what only PCI knows. Bridges are refused, for drivers of VFIO
//! take only functions of header type 0. In use is also a function that has virtual functions, and the
//! display that the machine started with.
//!
//! ```no_run
//! use pci_bus::binding::{Binder, Force};
//! use vfio_common::sysfs::Host;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let binder = Binder::new(Host::system(), "/run/my-program");
//! let address = "0000:3b:00.0".parse()?;
//! let change = binder.bind(address, "vfio-pci", Force::No)?;
//! println!("{change}"); // 0000:3b:00.0: nvme -> vfio-pci
//! binder.restore(address, Force::No)?;
//! # Ok(()) }
//! ```

use std::borrow::Cow;

use vfio_common::binding::DriverBus;
use vfio_common::sysfs::{Dir, SysfsError};

use crate::Pci;

pub use vfio_common::binding::{
    Attributes, BindingError, Change, Force, JournalError, Remark, State, Sysfs, Use, Uses,
};

/// Gives PCI functions of a machine other kernel drivers, and restores what they had.
pub type Binder = vfio_common::binding::Binder<Pci>;

impl DriverBus for Pci {
    const NAME: &'static str = "pci";
    const IDENTITY: &'static [&'static str] =
        &["vendor", "device", "subsystem_vendor", "subsystem_device"];

    /// A bridge has buses of its own, and drivers of VFIO take only functions of header type 0.
    fn refusal(function: &Dir) -> Result<Option<Cow<'static, str>>, SysfsError> {
        const BRIDGE: &str = "is a bridge, which no driver of VFIO takes: bind the functions behind it; \
                              it may stay with its driver";
        let class = function.read("class")?;
        let is_bridge = class.is_some_and(|class| class.starts_with("0x0604"))
            || function.inode("secondary_bus_number")?.is_some();
        Ok(is_bridge.then_some(BRIDGE.into()))
    }

    /// Virtual functions go with the driver of the function that has made them of itself (SR-IOV).
    fn uses_by_any(function: &Dir) -> Result<Vec<Cow<'static, str>>, SysfsError> {
        let mut functions = Vec::new();
        for entry in function.entries()? {
            let link = entry.name.to_string_lossy();
            if link.starts_with("virtfn")
                && let Some(name) = function.link_name(&*link)?
            {
                let driver = function.link_name(format!("{link}/driver"))?;
                functions.push((name, driver));
            }
        }
        functions.sort_unstable();
        let text = |(name, driver): (String, Option<String>)| {
            let driver = driver.as_deref().unwrap_or("no driver");
            format!(
                "it has the virtual function {name} ({driver}; 0 in its sriov_numvfs removes them, for \
                 good)"
            )
            .into()
        };
        Ok(functions.into_iter().map(text).collect())
    }

    /// The display that the firmware started with, on which the console is.
    fn uses_by_host(function: &Dir) -> Result<Vec<Cow<'static, str>>, SysfsError> {
        let is_boot_display = function.read("boot_vga")?.as_deref() == Some("1");
        let used =
            is_boot_display.then_some("it is the display that the machine started with".into());
        Ok(used.into_iter().collect())
    }
}
