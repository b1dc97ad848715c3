//! What the program is asked to do with PCI functions.

use clap::Subcommand;
use pci_bus::Address;

#[derive(Debug, Subcommand)]
pub(crate) enum PciCommand {
    /// List all PCI functions, without opening any.
    List,
    /// Open a function and show its regions and interrupts.
    Show {
        /// The function, as 0000:3b:00.1.
        address: Address,
    },
    /// Bind functions to their drivers, run the drivers' self-tests, and unbind.
    Probe {
        /// The functions; if none is named, all that are offered through VFIO and that a driver
        /// matches.
        address: Vec<Address>,
    },
}
