//! `mdevbus types`: what can be created.

use mdev_bus::{Parents, parents};
use serde::Serialize;

use crate::failure::{Failure, left_out};
use crate::report::Report;
use crate::session::Session;
use crate::table::{Table, cell};

#[derive(Debug, Serialize)]
struct Row {
    parent: String,
    mdev_type: String,
    name: Option<String>,
    description: Option<String>,
    device_api: Option<String>,
    available_instances: Option<u32>,
}

pub(crate) fn run(session: &Session) -> Result<Report, Failure> {
    session.check_bus()?;
    let mut rows = Vec::new();
    let Parents { parents, failed, .. } = parents(&session.host)?;
    let complaints: Vec<_> = failed.iter().map(|error| left_out(error)).collect();
    for parent in parents {
        rows.extend(parent.types.into_iter().map(|mdev_type| Row {
            parent: parent.name.clone(),
            mdev_type: mdev_type.id,
            name: mdev_type.name,
            description: mdev_type.description,
            device_api: mdev_type.device_api.map(|api| api.to_string()),
            available_instances: mdev_type.available_instances,
        }));
    }
    if session.json {
        return Ok(Report::json(&rows)?.fail(complaints));
    }
    if rows.is_empty() {
        return Ok(Report::of(format!(
            "No device in {}/class/mdev_bus can be split.\n\
             Load the module of its vendor (kvmgt with i915.enable_gvt=1, mtty, ...).\n",
            session.host.sysfs_root().display()
        ))
        .fail(complaints));
    }
    let mut table = Table::new(["parent", "type", "name", "api", "available", "description"]);
    for row in rows {
        table.row([
            row.parent,
            row.mdev_type,
            cell(row.name),
            cell(row.device_api),
            cell(row.available_instances),
            cell(row.description),
        ]);
    }
    Ok(Report::of(table.render()).fail(complaints))
}
