//! `mdevbus pci bind`: functions to a driver of VFIO.

use pci_bus::Address;

use super::changed::{Changed, Changer};
use crate::arguments::Change;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

pub(crate) fn run(
    session: &Session,
    bdf: &[Address],
    driver: &str,
    change: &Change,
) -> Result<Report, Failure> {
    let Changer { binder, force } = Changer::new(session, change)?;
    Changed::each(bdf, |address| binder.bind(address, driver, force)).report(session)
}
