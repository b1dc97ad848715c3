//! The command register of a function that is bound.

use vfio_common::device::Device;
use vfio_common::pci_config::{Command, ConfigError, PciConfig};
use vfio_common::process::Doer;

/// A function that answers: its command register (`PCI_COMMAND`) has what a driver needs. Its drop takes
/// back what was not set before, and nothing else; in a child of `fork`, whose parent uses the function on,
/// it takes nothing back.
#[derive(Debug)]
pub struct Enabled {
    config: PciConfig,
    switched_on: Command,
    /// Who switched it on.
    doer: Doer,
}

/// The command register of a function could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// An access to configuration space failed.
    #[error("cannot {step}")]
    Config {
        /// What was being done.
        step: &'static str,
        /// What went wrong.
        source: ConfigError,
    },
    /// The kernel does not describe the device as a PCI function.
    #[error("it has no PCI configuration space: its kernel driver does not offer it as PCI device")]
    NotPci,
}

impl Enabled {
    /// Lets a function answer accesses to its BARs and start DMA and message-signalled interrupts.
    pub(crate) fn new(device: &Device) -> Result<Self, CommandError> {
        let failed = |step| move |source| CommandError::Config { step, source };
        let config = device.pci_config().map_err(failed("reach configuration space"))?;
        let config = config.ok_or(CommandError::NotPci)?;
        let found = config.command().map_err(failed("read the command register"))?;
        let mut wanted = Command::MEMORY | Command::BUS_MASTER;
        // A display adapter without I/O BARs may still answer to the ports of VGA.
        if config.has_io_bar().map_err(failed("read the BARs"))? {
            wanted |= Command::IO;
        }
        let switched_on = wanted - found;
        // A write that fails may have reached the device, and is taken back, too.
        let enabled = Self { config, switched_on, doer: Doer::here() };
        if !switched_on.is_empty() {
            let step = "switch on memory and bus mastering in the command register";
            enabled.config.set_command(found | switched_on).map_err(failed(step))?;
        }
        Ok(enabled)
    }

    fn take_back(&self) -> Result<(), ConfigError> {
        // The driver may have changed other bits.
        let now = self.config.command()?;
        self.config.set_command(now - self.switched_on)
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        if self.switched_on.is_empty() || !self.doer.is_here() {
            return;
        }
        if let Err(error) = self.take_back() {
            let switched_on = self.switched_on;
            tracing::warn!(%error, ?switched_on, "the command register stays as it was set");
        }
    }
}

#[cfg(test)]
mod tests {
    use vfio_common::route::Target;

    use super::*;

    #[test]
    fn what_was_switched_on_is_taken_back_by_the_process_that_did_it() {
        let machine = vfio_sim::Machine::demo().unwrap();
        let name = "0000:00:04.0".to_owned();
        let sysfs = format!("bus/pci/devices/{name}").into();
        let device = machine.opener().open(&Target { name, sysfs }).unwrap();
        let master = || {
            let command = device.pci_config().unwrap().unwrap().command().unwrap();
            command.contains(Command::BUS_MASTER)
        };
        for (is_child, expected) in [(false, false), (true, true)] {
            let mut enabled = Enabled::new(&device).unwrap();
            assert!(master());
            if is_child {
                enabled.doer = Doer::of(0);
            }
            drop(enabled);
            assert_eq!(master(), expected);
        }
    }
}
