//! `mdevbus doctor`: what keeps devices from being opened. None is opened.

use std::path::Path;

use mdev_bus::{Bus, diagnosis};
use serde::Serialize;
use vfio_common::diagnosis::{Examination, Finding, Severity};
use vfio_common::route::Target;

use crate::arguments::Device;
use crate::failure::Failure;
use crate::report::{Report, Status};
use crate::session::Session;
use crate::table::on_one_line;

#[derive(Debug, Serialize)]
struct Diagnosed {
    works: bool,
    machine: Vec<Row>,
    devices: Vec<Examined>,
}

#[derive(Debug, Serialize)]
struct Examined {
    device: String,
    works: bool,
    findings: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    severity: &'static str,
    subject: String,
    problem: String,
    remedy: Option<String>,
}

pub(crate) fn run(session: &Session, wanted: Option<&Device>) -> Result<Report, Failure> {
    let examination = session.examination();
    let mut machine = examination.machine();
    if !matches!(wanted, Some(Device::Pci(_))) && session.host.sysfs().is_ok() {
        machine.extend(diagnosis::bus(&session.host));
    }
    if session.is_software() {
        let problem = "are software: no node, kernel or process can be in their way";
        machine.push(Finding::note("the devices", problem));
    }
    let is_ready = works(&machine);
    let devices = match wanted {
        Some(Device::Pci(address)) => vec![pci(&examination, address)],
        _ if session.host.sysfs().is_err() => Vec::new(),
        Some(Device::Mdev(address)) => {
            let bus = session.bus_without_check()?;
            let findings = with_driver(&bus, address, diagnosis::device(&examination, address));
            vec![(address.to_string(), findings)]
        }
        None => all(session, &examination)?,
    };
    let devices: Vec<_> = devices
        .into_iter()
        .map(|(device, findings)| Examined {
            device,
            works: is_ready && works(&findings),
            findings: findings.into_iter().map(Row::from).collect(),
        })
        .collect();
    let works = is_ready && devices.iter().all(|device| device.works);
    let machine = machine.into_iter().map(Row::from).collect();
    let diagnosed = Diagnosed { works, machine, devices };
    let mut report =
        if session.json { Report::json(&diagnosed)? } else { Report::of(text(&diagnosed)) };
    if !diagnosed.works {
        report.status = Status::Failed;
    }
    Ok(report)
}

fn all(
    session: &Session,
    examination: &Examination,
) -> Result<Vec<(String, Vec<Finding>)>, Failure> {
    let bus = session.bus_without_check()?;
    let scan = bus.scan()?;
    let known = bus.devices();
    let mut addresses: Vec<_> = known.iter().map(|info| info.address).collect();
    addresses.extend(scan.failed.iter().map(|(address, _)| *address));
    addresses.sort_unstable();
    let examine = |address: mdev_bus::Address| {
        let findings = diagnosis::device(examination, &address);
        (address.to_string(), with_driver(&bus, &address, findings))
    };
    Ok(addresses.into_iter().map(examine).collect())
}

/// A device that no driver wants opens all the same.
fn with_driver(bus: &Bus, address: &mdev_bus::Address, mut findings: Vec<Finding>) -> Vec<Finding> {
    // A device that cannot be read was complained about.
    if bus.find(address).is_ok_and(|info| bus.registry().best(&info).is_none()) {
        findings.push(
            Finding::note(address, "has no driver in this program, so `probe` leaves it alone")
                .remedy("`mdevbus drivers` lists what the drivers match"),
        );
    }
    findings
}

fn pci(examination: &Examination, address: &pci_bus::Address) -> (String, Vec<Finding>) {
    let name = address.to_string();
    let sysfs = Path::new("bus/pci/devices").join(&name);
    let findings = examination.device(&Target { name: name.clone(), sysfs });
    (name, findings)
}

fn works(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity < Severity::Error)
}

impl From<Finding> for Row {
    fn from(finding: Finding) -> Self {
        let Finding { severity, subject, problem, remedy } = finding;
        let severity = match severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        Self { severity, subject, problem, remedy }
    }
}

fn text(diagnosed: &Diagnosed) -> String {
    let mut text = String::new();
    section(&mut text, "this machine", "nothing in the way", &diagnosed.machine);
    for Examined { device, works, findings } in &diagnosed.devices {
        text.push('\n');
        let verdict = match works {
            true => "should open",
            false if findings.iter().any(|row| row.severity == "error") => "does not open",
            false => "does not open, see above",
        };
        section(&mut text, device, verdict, findings);
    }
    text
}

fn section(text: &mut String, heading: &str, verdict: &str, rows: &[Row]) {
    text.push_str(heading);
    if rows.is_empty() || heading != "this machine" {
        text.push_str(": ");
        text.push_str(verdict);
    }
    text.push('\n');
    for Row { severity, subject, problem, remedy } in rows {
        let line = on_one_line(&format!("{severity:7}  {subject} {problem}"));
        text.push_str(&format!("  {line}\n"));
        if let Some(remedy) = remedy {
            text.push_str(&format!("           -> {}\n", on_one_line(remedy)));
        }
    }
}
