//! The nodes in `/dev/vfio`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::OpenError;
use crate::sysfs::Host;

/// Opens a device node for reading and writing; close-on-exec, as all files of the standard library.
pub(super) fn open(node: &Path) -> Result<File, OpenError> {
    let opened = OpenOptions::new().read(true).write(true).open(node);
    opened.map_err(|source| OpenError::Node { node: node.into(), source })
}

/// The device number of a node.
pub(super) fn device_number(node: &Path) -> Result<u64, OpenError> {
    let metadata =
        std::fs::metadata(node).map_err(|source| OpenError::Node { node: node.into(), source })?;
    if !metadata.file_type().is_char_device() {
        return Err(OpenError::NotANode { node: node.into() });
    }
    Ok(metadata.rdev())
}

/// Refuses a node that was left behind by a group which had the same number. Says nothing where
/// sysfs has no device number to compare with.
pub(super) fn check_group(
    host: &Host,
    number: u32,
    node: &Path,
    device_number: u64,
) -> Result<(), OpenError> {
    let found = rustix::fs::major(device_number).to_string()
        + ":"
        + &rustix::fs::minor(device_number).to_string();
    let attribute = host.sysfs_dir(format!("class/vfio/{number}"));
    let expected = attribute.ok().flatten().and_then(|dir| dir.read("dev").ok().flatten());
    match expected {
        Some(expected) if expected.trim() != found => {
            let expected = expected.trim().to_owned();
            Err(OpenError::StaleNode { node: node.into(), found, expected })
        }
        _ => Ok(()),
    }
}
