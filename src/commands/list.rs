//! `mdevbus list`: every mediated device. None is opened.

use std::collections::BTreeMap;

use mdev_bus::{MdevInfo, Parent, Parents, parents};
use serde::Serialize;

use crate::bus::left_out_of;
use crate::failure::{Failure, left_out, sentence};
use crate::report::Report;
use crate::session::Session;
use crate::table::{Table, cell};

#[derive(Debug, Serialize)]
struct Row {
    uuid: String,
    parent: String,
    mdev_type: Option<String>,
    name: Option<String>,
    device_api: Option<String>,
    iommu_group: Option<u32>,
    vfio_dev: Option<String>,
    numa_node: Option<u32>,
    kernel_driver: Option<String>,
    driver: Option<&'static str>,
}

pub(crate) fn run(session: &Session) -> Result<Report, Failure> {
    let bus = session.bus()?;
    let scan = bus.scan()?;
    let Parents { parents, failed, .. } = parents(&session.host)?;
    let mut failures: Vec<_> = failed.iter().map(|error| left_out(error)).collect();
    let (unread, ignored) = left_out_of(session, &scan);
    failures.extend(unread);
    let parents: BTreeMap<_, _> =
        parents.iter().map(|parent| (parent.name.as_str(), parent)).collect();
    let mut rows = Vec::new();
    for info in bus.devices() {
        let vfio_dev = info.vfio_dev(&session.host).unwrap_or_else(|error| {
            failures.push(sentence(&error));
            None
        });
        let driver = bus.registry().best(&info).map(|driver| driver.name());
        let parent = parents.get(info.parent.as_str()).copied();
        rows.push(Row { vfio_dev, driver, ..row(&info, parent) });
    }
    let report = if session.json {
        Report::json(&rows)?
    } else if rows.is_empty() {
        Report::of(nothing(session))
    } else {
        Report::of(table(&rows))
    };
    Ok(report.fail(failures).complain(ignored))
}

fn row(info: &MdevInfo, parent: Option<&Parent>) -> Row {
    let mdev_type = parent.and_then(|parent| {
        parent.types.iter().find(|mdev_type| Some(&mdev_type.id) == info.mdev_type.as_ref())
    });
    Row {
        uuid: info.address.to_string(),
        parent: info.parent.clone(),
        mdev_type: info.mdev_type.clone(),
        name: mdev_type.and_then(|mdev_type| mdev_type.name.clone()),
        device_api: info.device_api.as_ref().map(ToString::to_string),
        iommu_group: info.iommu_group,
        vfio_dev: None,
        numa_node: parent.and_then(|parent| parent.numa_node),
        kernel_driver: info.kernel_driver.clone(),
        driver: None,
    }
}

fn nothing(session: &Session) -> String {
    let sysfs = session.host.sysfs_root().display();
    format!(
        "No mediated devices in {sysfs}/bus/mdev/devices.\n\
         Create one: echo UUID > {sysfs}/class/mdev_bus/PARENT/mdev_supported_types/TYPE/create\n\
         `mdevbus types` lists parents and types, `uuidgen` makes a UUID.\n"
    )
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new([
        "uuid",
        "parent",
        "type",
        "name",
        "api",
        "group",
        "vfio-dev",
        "numa",
        "kernel driver",
        "driver",
    ]);
    for row in rows {
        table.row([
            row.uuid.clone(),
            row.parent.clone(),
            cell(row.mdev_type.as_ref()),
            cell(row.name.as_ref()),
            cell(row.device_api.as_ref()),
            cell(row.iommu_group),
            cell(row.vfio_dev.as_ref()),
            cell(row.numa_node),
            cell(row.kernel_driver.as_ref()),
            cell(row.driver),
        ]);
    }
    table.render()
}
