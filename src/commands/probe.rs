//! `mdevbus probe`: binds devices, runs the drivers' self-tests, and unbinds.

use std::collections::BTreeSet;

use mdev_bus::Address;
use serde::Serialize;
use vfio_common::bus::{BindError, Bus, Outcome, ProbeRow, SelfTest};

use crate::bus::{Name, Shown};
use crate::failure::{Failure, sentence};
use crate::report::{Report, Status};
use crate::session::Session;
use crate::table::{Table, cell};

#[derive(Debug, Serialize)]
struct Probed {
    devices: Vec<Row>,
    bound: usize,
    failed: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    name: Name,
    outcome: &'static str,
    driver: Option<&'static str>,
    detail: Option<String>,
    error: Option<String>,
}

const BOUND: &str = "bound";
const FAILED: &str = "failed";

pub(crate) fn run(session: &Session, wanted: &[Address]) -> Result<Report, Failure> {
    let bus = session.bus()?;
    let devices = if wanted.is_empty() { probe_all(&bus)? } else { probe_each(&bus, wanted) };
    let nothing = format!(
        "No mediated devices in {}/bus/mdev/devices: `mdevbus types` lists what can be created.\n",
        session.host.sysfs_root().display()
    );
    report(session, devices, nothing)
}

/// What became of devices; `nothing` is said if there are none.
pub(super) fn report(
    session: &Session,
    devices: Vec<Row>,
    nothing: String,
) -> Result<Report, Failure> {
    let count = |outcome| devices.iter().filter(|row| row.outcome == outcome).count();
    let probed = Probed { bound: count(BOUND), failed: count(FAILED), devices };
    let mut report = if session.json {
        Report::json(&probed)?
    } else if probed.devices.is_empty() {
        Report::of(nothing)
    } else {
        Report::of(text(&probed))
    };
    if probed.failed > 0 {
        report.status = Status::Failed;
    }
    let failed = probed.devices.into_iter().filter(|row| row.outcome == FAILED);
    Ok(report.complain(failed.filter_map(|row| row.error)))
}

fn probe_all<B: Shown>(bus: &Bus<B>) -> Result<Vec<Row>, Failure> {
    let scan = bus.scan()?;
    let mut rows: Vec<Row> = bus.probe().rows.iter().map(|row| test(bus, row)).collect();
    rows.extend(scan.failed.iter().map(|(address, error)| Row::failed::<B>(address, None, error)));
    rows.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    Ok(rows)
}

/// Those that were named, once each, in the order in which they were named.
pub(super) fn probe_each<B: Shown>(bus: &Bus<B>, wanted: &[B::Address]) -> Vec<Row> {
    let probe = |address: &B::Address| match bus.plug(address) {
        Ok(row) => test(bus, &row),
        Err(error) => Row::failed::<B>(address, None, &B::failure(error)),
    };
    let mut named = BTreeSet::new();
    wanted.iter().filter(|address| named.insert(*address)).map(probe).collect()
}

/// Runs the self-test of a device that was bound, and unbinds it.
fn test<B: Shown>(bus: &Bus<B>, row: &ProbeRow<B>) -> Row {
    let address = &row.address;
    let name = B::name(address);
    match &row.outcome {
        Outcome::Bound(driver) => {
            let tested = bus.self_test(address);
            bus.unbind(address);
            let driver = Some(*driver);
            let detail = match tested {
                Some(Ok(SelfTest::Passed(detail))) => Some(detail),
                Some(Err(error)) => return Row::failed::<B>(address, driver, &*error),
                Some(Ok(SelfTest::None)) | None => None,
            };
            Row { name, outcome: BOUND, driver, detail, error: None }
        }
        Outcome::NoDriver => {
            Row { name, outcome: "no-driver", driver: None, detail: None, error: None }
        }
        Outcome::Skipped(reason) => {
            let error = Some(reason.to_string());
            Row { name, outcome: "skipped", driver: None, detail: None, error }
        }
        Outcome::Failed(error) => {
            let driver = match error {
                BindError::Probe { driver, .. } => Some(*driver),
                _ => None,
            };
            Row::failed::<B>(address, driver, error)
        }
    }
}

impl Row {
    fn failed<B: Shown>(
        address: &B::Address,
        driver: Option<&'static str>,
        error: &dyn std::error::Error,
    ) -> Self {
        let name = B::name(address);
        let mut error = sentence(error);
        if !error.contains(name.as_str()) {
            error = format!("{name}: {error}");
        }
        Self { name, outcome: FAILED, driver, detail: None, error: Some(error) }
    }
}

fn text(probed: &Probed) -> String {
    let kind = probed.devices.first().map_or("", |row| row.name.kind());
    let mut table = Table::new([kind, "outcome", "driver", "detail"]);
    for row in &probed.devices {
        let detail = match row.outcome {
            // Said in full on standard error.
            FAILED => None,
            _ => row.detail.as_ref().or(row.error.as_ref()),
        };
        table.row([row.name.to_string(), row.outcome.into(), cell(row.driver), cell(detail)]);
    }
    let Probed { devices, bound, failed } = probed;
    let rest = devices.len().saturating_sub(*bound).saturating_sub(*failed);
    format!("{}\n{bound} bound, {failed} failed, {rest} left alone\n", table.render())
}
