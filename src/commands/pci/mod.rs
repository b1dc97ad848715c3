//! The subcommands of `mdevbus pci`, one file each; `show` is that of mediated devices.

mod list;
mod probe;

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
    }
}
