//! What the program is asked to do with PCI functions.

use std::path::PathBuf;

use clap::Subcommand;
use pci_bus::Address;

#[derive(Debug, Subcommand)]
pub(crate) enum PciCommand {
    /// List all PCI functions, without opening any.
    List,
    /// Open a function and show its regions and interrupts.
    Show {
        /// The function, as 0000:3b:00.1.
        #[arg(value_name = "BDF")]
        address: Address,
    },
    /// Bind functions to their drivers, run the drivers' self-tests, and unbind.
    Probe {
        /// The functions; if none is named, all that are offered through VFIO and that a driver
        /// matches.
        #[arg(value_name = "BDF")]
        address: Vec<Address>,
    },
    /// Bind functions to a kernel driver of VFIO, so that programs may open them.
    Bind {
        /// The functions, as 0000:3b:00.1.
        #[arg(required = true, value_name = "BDF")]
        address: Vec<Address>,
        /// The driver: vfio-pci, or one for this kind of device.
        #[arg(long, value_name = "NAME", default_value = "vfio-pci")]
        driver: String,
        #[command(flatten)]
        change: Change,
    },
    /// Unbind functions from their driver of VFIO, and leave them without any.
    Unbind {
        /// The functions.
        #[arg(required = true, value_name = "BDF")]
        address: Vec<Address>,
        #[command(flatten)]
        change: Change,
    },
    /// Give functions back to the drivers that they had before `bind` and `unbind`.
    Restore {
        /// The functions; all that were changed if none is named.
        #[arg(value_name = "BDF")]
        address: Vec<Address>,
        #[command(flatten)]
        change: Change,
    },
}

/// How drivers are changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// Go on where something is in use: a mounted disk, an interface that is up, a device that is open.
    #[arg(long)]
    pub(crate) force: bool,
    /// Where it is recorded what was changed.
    #[arg(long, value_name = "DIR", default_value = "/run/mdevbus")]
    pub(crate) state_dir: PathBuf,
}
