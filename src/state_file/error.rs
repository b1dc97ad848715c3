//! What can be wrong with the file of a saved device.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StateFileError {
    #[error("cannot make a file for the state in {}", folder.display())]
    Create { folder: PathBuf, source: io::Error },
    #[error("cannot write {}", file.display())]
    Write { file: PathBuf, source: io::Error },
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} {fault}", file.display())]
    Faulty { file: PathBuf, fault: Fault },
}

/// Why a file is not restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("is no saved device: `mdevbus save` makes such files")]
    Foreign,
    #[error(
        "is a saved device of format {found}, and this program knows format {known}: restore it with \
         the version that saved it"
    )]
    Version { found: u32, known: u32 },
    #[error(
        "is cut short: it has {found} bytes of {whole}; save the device or copy the file again"
    )]
    Truncated { found: u64, whole: u64 },
    #[error("has {extra} bytes behind its end: it was changed; copy the file again")]
    TooLong { extra: u64 },
    #[error("is damaged: its checksum is wrong; copy the file or save the device again")]
    Damaged,
}
