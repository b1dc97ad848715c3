//! Writing the file.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;
use tempfile::{Builder, NamedTempFile};

use super::{Identity, StateFileError, head};

/// A file that is being written: it has a name of its own in the folder of the final one, is readable
/// for its owner alone, and is removed when dropped. The data is written to it as to any file.
#[derive(Debug)]
pub(crate) struct Draft {
    temporary: NamedTempFile,
    path: PathBuf,
    identity: Vec<u8>,
    hasher: Hasher,
    length: u64,
}

impl Draft {
    pub(crate) fn create(path: &Path, identity: &Identity) -> Result<Self, StateFileError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let failed = |source| StateFileError::Create { folder: folder.to_owned(), source };
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let prefix = format!(".{}.", name.to_string_lossy());
        let temporary = Builder::new().prefix(&prefix).suffix(".partial").tempfile_in(folder);
        let mut temporary = temporary.map_err(failed)?;
        let identity = serde_json::to_vec(identity).map_err(|error| failed(error.into()))?;
        let draft = temporary.write_all(&head(&identity, 0));
        draft.map_err(|source| StateFileError::Write { file: path.to_owned(), source })?;
        let hasher = Hasher::new();
        Ok(Self { temporary, path: path.to_owned(), identity, hasher, length: 0 })
    }

    /// Completes the file and gives it its name, in place of a file that may have it.
    pub(crate) fn finish(self) -> Result<(), StateFileError> {
        let Self { temporary, path, identity, hasher, length } = self;
        let failed = |source| StateFileError::Write { file: path.clone(), source };
        complete(temporary.as_file(), &head(&identity, length), hasher).map_err(failed)?;
        temporary.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The head tells the length of the data, which is known only now.
fn complete(mut file: &File, head: &[u8], data: Hasher) -> io::Result<()> {
    file.write_all_at(head, 0)?;
    let mut whole = Hasher::new();
    whole.update(head);
    whole.combine(&data);
    file.write_all(&whole.finalize().to_le_bytes())?;
    // A name must not come before what it names.
    file.sync_all()
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.temporary.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.length = self.length.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}
