//! `mdevbus drivers`: what is registered.

use serde::Serialize;

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
    let bus = session.bus_without_check()?;
    let rows: Vec<Row> = bus
        .registry()
        .drivers()
        .map(|driver| Row {
            name: driver.name(),
            bus: "mdev",
            ids: driver.ids().map(ToString::to_string).collect(),
        })
        .collect();
    if session.json {
        return Report::json(&rows);
    }
    let mut table = Table::new(["name", "bus", "ids"]);
    for row in rows {
        table.row([row.name.into(), row.bus.into(), row.ids.join(", ")]);
    }
    Ok(Report::of(table.render()))
}
