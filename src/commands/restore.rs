//! `mdevbus restore`: a file's state to a device.

use std::path::Path;

use mdev_bus::Address;

use super::save::Moved;
use crate::failure::Failure;
use crate::migratable::Migratable;
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::state_file::{Saved, StateFileError};

pub(crate) fn run(session: &Session, uuid: &Address, file: &Path) -> Result<Report, Failure> {
    // All that can be wrong with the file is found before the device is opened.
    let mut saved = Saved::open(file)?;
    let device = Migratable::open(session, uuid)?;
    if *saved.identity() != device.identity {
        return Err(Failure::OtherKind {
            file: file.to_owned(),
            uuid: *uuid,
            saved: saved.identity().to_string(),
            found: device.identity.to_string(),
        });
    }
    let was = device.make_ready()?;
    let mut progress = Progress::new("restoring", Some(saved.length()));
    let data = saved.data();
    let mut data = data.map_err(|source| StateFileError::Read { file: file.to_owned(), source })?;
    let bytes = device.migration.restore(&mut data, |bytes| progress.show(bytes))?;
    drop(progress);
    let moved = Moved { uuid: uuid.to_string(), file, bytes };
    Ok(moved.report(session, "restored", "from")?.complain(was))
}
