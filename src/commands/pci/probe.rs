//! `mdevbus pci probe`: binds functions, runs the drivers' self-tests, and unbinds.

use pci_bus::{Address, Bus};

use crate::bus::left_out_of;
use crate::commands::probe::{probe_each, report};
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

pub(crate) fn run(session: &Session, wanted: &[Address]) -> Result<Report, Failure> {
    let bus = session.pci_bus()?;
    let (mut failures, mut found) = (Vec::new(), Vec::new());
    if wanted.is_empty() {
        let scan = bus.scan()?;
        (failures, _) = left_out_of(session, &scan);
        found = ours(&bus);
    }
    let rows = probe_each(&bus, if wanted.is_empty() { &found } else { wanted });
    let nothing = "No PCI function is offered through VFIO and matched by a driver of this program: \
                   `mdevbus pci list` shows both.\n";
    Ok(report(session, rows, nothing.to_owned())?.fail(failures))
}

/// The functions that are anybody's to use: whatever else the machine has is left alone.
fn ours(bus: &Bus) -> Vec<Address> {
    let devices = bus.devices().into_iter();
    let ours = devices.filter(|info| info.offered && bus.registry().best(info).is_some());
    ours.map(|info| info.address).collect()
}
