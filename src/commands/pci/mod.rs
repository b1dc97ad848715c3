//! `mdevbus pci`: PCI functions, one file a subcommand.

mod bind;
mod changed;
mod restore;
mod unbind;

use crate::arguments::PciCommand;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

pub(crate) fn run(session: &Session, command: &PciCommand) -> Result<Report, Failure> {
    match command {
        PciCommand::Bind { bdf, driver, change } => bind::run(session, bdf, driver, change),
        PciCommand::Unbind { bdf, change } => unbind::run(session, bdf, change),
        PciCommand::Restore { bdf, change } => restore::run(session, bdf, change),
    }
}
