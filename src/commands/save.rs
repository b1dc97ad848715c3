//! `mdevbus save`: a device's state to a file.

use std::path::Path;

use mdev_bus::Address;
use serde::Serialize;

use crate::failure::Failure;
use crate::migratable::Migratable;
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::state_file::Draft;

/// Bytes that may be left when the device stops: to write them takes no time that matters.
const REST: u64 = 1 << 20;

/// What was moved, and where it is; `mdevbus restore` prints the same.
#[derive(Debug, Serialize)]
pub(super) struct Moved<'a> {
    pub(super) uuid: String,
    pub(super) file: &'a Path,
    pub(super) bytes: u64,
}

pub(crate) fn run(session: &Session, uuid: &Address, file: &Path) -> Result<Report, Failure> {
    let device = Migratable::open(session, uuid)?;
    // A file that cannot be written is found before the device stops.
    let mut draft = Draft::create(file, &device.identity)?;
    let was = device.make_ready()?;
    let mut progress = Progress::new("saving", device.migration.data_size()?);
    // What is written before the device stops shortens the stop.
    let saved =
        device.migration.save_with_pre_copy(&mut draft, REST, |bytes| progress.show(bytes))?;
    draft.finish()?;
    drop(progress);
    let bytes = saved.bytes;
    Ok(Moved { uuid: uuid.to_string(), file, bytes }.report(session, "saved", "to")?.complain(was))
}

impl Moved<'_> {
    pub(super) fn report(
        &self,
        session: &Session,
        done: &str,
        preposition: &str,
    ) -> Result<Report, Failure> {
        if session.json {
            return Report::json(self);
        }
        let Self { uuid, file, bytes } = self;
        let file = file.display();
        Ok(Report::of(format!("{done} {uuid} {preposition} {file}, {bytes} bytes of state\n")))
    }
}
