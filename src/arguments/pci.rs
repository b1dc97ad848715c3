//! What is asked of PCI functions.

use std::path::PathBuf;

use clap::Subcommand;
use pci_bus::Address;

#[derive(Debug, Subcommand)]
pub(crate) enum PciCommand {
    /// Bind functions to a kernel driver of VFIO, so that programs may open them.
    Bind {
        /// The functions, such as 0000:3b:00.0.
        #[arg(required = true)]
        bdf: Vec<Address>,
        /// The driver: vfio-pci, or one for this kind of device.
        #[arg(long, value_name = "NAME", default_value = "vfio-pci")]
        driver: String,
        #[command(flatten)]
        change: Change,
    },
    /// Unbind functions from their driver of VFIO, and leave them without any.
    Unbind {
        /// The functions.
        #[arg(required = true)]
        bdf: Vec<Address>,
        #[command(flatten)]
        change: Change,
    },
    /// Give functions back to the drivers that they had before `bind` and `unbind`.
    Restore {
        /// The functions; all that were changed if none is named.
        bdf: Vec<Address>,
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
