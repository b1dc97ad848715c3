//! The subcommands of `mdevbus pci`, one file each; `show` is that of mediated devices.

mod bind;
mod changed;
mod list;
mod probe;
mod restore;
mod unbind;

use super::show;
use crate::arguments::{Device, PciCommand};
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

pub(crate) fn run(command: &PciCommand, session: &Session) -> Result<Report, Failure> {
    match command {
        PciCommand::List => list::run(session),
        PciCommand::Show { address } => show::run(session, &Device::Pci(*address)),
        PciCommand::Probe { address } => probe::run(session, address),
        PciCommand::Bind { address, driver, change } => bind::run(session, address, driver, change),
        PciCommand::Unbind { address, change } => unbind::run(session, address, change),
        PciCommand::Restore { address, change } => restore::run(session, address, change),
    }
}
