//! `mdevbus pci list`: every PCI function. None is opened, and none is woken.

use pci_bus::{PciInfo, Sriov};
use serde::Serialize;

use crate::bus::left_out_of;
use crate::failure::{Failure, sentence};
use crate::report::Report;
use crate::session::Session;
use crate::table::{Table, cell};

#[derive(Debug, Serialize)]
struct Row {
    address: String,
    vendor: Option<u16>,
    device: Option<u16>,
    subsystem_vendor: Option<u16>,
    subsystem_device: Option<u16>,
    class: Option<u32>,
    revision: Option<u8>,
    numa_node: Option<u32>,
    iommu_group: Option<u32>,
    kernel_driver: Option<String>,
    driver_override: Option<String>,
    offered: bool,
    vfio_dev: Option<String>,
    sriov: Option<Part>,
    driver: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Part {
    Physical { total: u32, current: u32 },
    Virtual { physical: String },
}

pub(crate) fn run(session: &Session) -> Result<Report, Failure> {
    let bus = session.pci_bus()?;
    let scan = bus.scan()?;
    let (mut failures, ignored) = left_out_of(session, &scan);
    let mut rows = Vec::new();
    for info in bus.devices() {
        let driver = bus.registry().best(&info).map(|driver| driver.name());
        let vfio_dev = if info.offered { info.vfio_dev(&session.host) } else { Ok(None) };
        let vfio_dev = vfio_dev.unwrap_or_else(|error| {
            failures.push(sentence(&error));
            None
        });
        rows.push(Row { vfio_dev, driver, ..row(&info) });
    }
    let report = if session.json {
        Report::json(&rows)?
    } else if rows.is_empty() {
        let directory = session.host.sysfs_root().join("bus/pci/devices");
        Report::of(format!("No PCI functions in {}.\n", directory.display()))
    } else {
        Report::of(table(&rows))
    };
    Ok(report.fail(failures).complain(ignored))
}

fn row(info: &PciInfo) -> Row {
    let sriov = |part| match part {
        Sriov::Physical { total, current } => Part::Physical { total, current },
        Sriov::Virtual { physical } => Part::Virtual { physical: physical.to_string() },
    };
    Row {
        address: info.address.to_string(),
        vendor: info.vendor,
        device: info.device,
        subsystem_vendor: info.subsystem_vendor,
        subsystem_device: info.subsystem_device,
        class: info.class,
        revision: info.revision,
        numa_node: info.numa_node,
        iommu_group: info.iommu_group,
        kernel_driver: info.kernel_driver.clone(),
        driver_override: info.driver_override.clone(),
        offered: info.offered,
        vfio_dev: None,
        sriov: info.sriov.map(sriov),
        driver: None,
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new([
        "address",
        "ids",
        "class",
        "rev",
        "numa",
        "group",
        "kernel driver",
        "vfio-dev",
        "sr-iov",
        "driver",
    ]);
    for row in rows {
        let ids = row.vendor.zip(row.device);
        // Before Linux 6.1 it has no name.
        let vfio_dev = row.vfio_dev.as_deref().or(row.offered.then_some("yes"));
        table.row([
            row.address.clone(),
            cell(ids.map(|(vendor, device)| format!("{vendor:04x}:{device:04x}"))),
            cell(row.class.map(|class| format!("{class:06x}"))),
            cell(row.revision.map(|revision| format!("{revision:02x}"))),
            cell(row.numa_node),
            cell(row.iommu_group),
            cell(row.kernel_driver.as_ref()),
            cell(vfio_dev),
            cell(row.sriov.as_ref().map(part)),
            cell(row.driver),
        ]);
    }
    table.render()
}

fn part(part: &Part) -> String {
    match part {
        Part::Physical { total, current } => format!("{current} of {total}"),
        Part::Virtual { physical } => format!("part of {physical}"),
    }
}
