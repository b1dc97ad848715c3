//! `mdevbus pci restore`: functions to the drivers that they came from.

use pci_bus::Address;

use super::changed::{Changed, Changer};
use crate::arguments::Change;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

pub(crate) fn run(session: &Session, bdf: &[Address], change: &Change) -> Result<Report, Failure> {
    let Changer { binder, force } = Changer::new(session, change)?;
    let recorded = if bdf.is_empty() { binder.recorded()? } else { Vec::new() };
    if bdf.is_empty() && recorded.is_empty() && !session.json {
        return Ok(Report::of(format!(
            "Nothing to restore: no function is recorded in {}.\n",
            change.state_dir.display()
        )));
    }
    let bdf = if bdf.is_empty() { &recorded } else { bdf };
    Changed::each(bdf, |address| binder.restore(address, force)).report(session)
}
