//! The subcommands, one file each.

mod doctor;
mod drivers;
mod list;
mod pci;
mod peek;
mod poke;
mod probe;
mod restore;
mod save;
mod show;
mod types;

use crate::arguments::Command;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

pub(crate) fn run(command: &Command, session: &Session) -> Result<Report, Failure> {
    match command {
        Command::List => list::run(session),
        Command::Types => types::run(session),
        Command::Drivers => drivers::run(session),
        Command::Doctor { device } => doctor::run(session, device.as_ref()),
        Command::Show { uuid } => show::run(session, uuid),
        Command::Probe { uuid } => probe::run(session, uuid),
        Command::Peek(peek) => peek::run(session, peek),
        Command::Poke(poke) => poke::run(session, poke),
        Command::Save { uuid, file } => save::run(session, uuid, file),
        Command::Restore { uuid, file } => restore::run(session, uuid, file),
        Command::Pci(command) => pci::run(session, command),
    }
}
