//! `mdevbus drivers`: what is registered.

use serde::Serialize;
use vfio_common::bus::{BusType, Registry};

use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    bus: &'static str,
    ids: Vec<String>,
}

pub(crate) fn run(session: &Session) -> Result<Report, Failure> {
    let (mdev, pci) = (session.bus_without_check()?, session.pci_bus_without_check()?);
    let mut rows: Vec<Row> = on("mdev", mdev.registry()).chain(on("pci", pci.registry())).collect();
    rows.sort_by_key(|row| (row.name, row.bus));
    if session.json {
        return Report::json(&rows);
    }
    let mut table = Table::new(["name", "bus", "ids"]);
    for row in rows {
        table.row([row.name.into(), row.bus.into(), row.ids.join(", ")]);
    }
    Ok(Report::of(table.render()))
}

fn on<B: BusType<Id: ToString>>(
    bus: &'static str,
    registry: &Registry<B>,
) -> impl Iterator<Item = Row> {
    registry.drivers().map(move |driver| Row {
        name: driver.name(),
        bus,
        ids: driver.ids().map(ToString::to_string).collect(),
    })
}
