//! Reading the file.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Take};
use std::path::Path;

use crc32fast::Hasher;

use super::{CHECKSUM, FIXED, Fault, Identity, LONGEST_IDENTITY, MAGIC, StateFileError, VERSION};

/// A file that was read once from end to end and is right.
#[derive(Debug)]
pub(crate) struct Saved {
    file: File,
    identity: Identity,
    start: u64,
    length: u64,
}

impl Saved {
    pub(crate) fn open(path: &Path) -> Result<Self, StateFileError> {
        // A pipe would be waited for, and cannot be read twice.
        let opened = match path.metadata() {
            Ok(found) if !found.is_file() => Err(Wrong::Fault(Fault::Foreign)),
            _ => File::open(path).map_err(Wrong::Io).and_then(check),
        };
        opened.map_err(|wrong| match wrong {
            Wrong::Io(source) => StateFileError::Read { file: path.to_owned(), source },
            Wrong::Fault(fault) => StateFileError::Faulty { file: path.to_owned(), fault },
        })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes of the data.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The data, from its beginning.
    pub(crate) fn data(&mut self) -> io::Result<impl Read> {
        self.file.seek(SeekFrom::Start(self.start))?;
        Ok(Data((&self.file).take(self.length)))
    }
}

/// Data that ends early is an error: what was checked may be cut off before it is read again, and a device
/// that is given a part would load it.
struct Data<'a>(Take<&'a File>);

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        if read == 0 && self.0.limit() > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }
}

enum Wrong {
    Io(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn check(mut file: File) -> Result<Saved, Wrong> {
    let found = file.metadata()?.len();
    let truncated = |whole: u64| Fault::Truncated { found, whole };

    let mut fixed = Vec::new();
    (&mut file).take(FIXED as u64).read_to_end(&mut fixed)?;
    if !fixed.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic) {
        return Err(Fault::Foreign.into());
    }
    // Magic, version and length of the identity.
    let [_, _, version, identity] = fixed.as_chunks::<4>().0 else {
        return Err(truncated(FIXED as u64).into());
    };
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(Fault::Version { found: version, known: VERSION }.into());
    }
    let identity_length = u32::from_le_bytes(*identity);
    if identity_length > LONGEST_IDENTITY {
        return Err(Fault::Damaged.into());
    }
    let start = (FIXED as u64).saturating_add(u64::from(identity_length)).saturating_add(8);

    let mut rest = Vec::new();
    (&mut file).take(start.saturating_sub(FIXED as u64)).read_to_end(&mut rest)?;
    let Some((identity, length)) = rest.split_last_chunk::<8>().filter(|(identity, _)| {
        u32::try_from(identity.len()).is_ok_and(|length| length == identity_length)
    }) else {
        return Err(truncated(start.saturating_add(CHECKSUM)).into());
    };
    let length = u64::from_le_bytes(*length);
    let whole = start.checked_add(length).and_then(|end| end.checked_add(CHECKSUM));
    match whole {
        None => return Err(Fault::Damaged.into()),
        Some(whole) if found < whole => return Err(truncated(whole).into()),
        Some(whole) if found > whole => {
            return Err(Fault::TooLong { extra: found.saturating_sub(whole) }.into());
        }
        Some(_) => {}
    }

    let mut hasher = Hasher::new();
    hasher.update(&fixed);
    hasher.update(&rest);
    hash(&mut (&mut file).take(length), &mut hasher)?;
    let mut checksum = [0; 4];
    file.read_exact(&mut checksum)?;
    if u32::from_le_bytes(checksum) != hasher.finalize() {
        return Err(Fault::Damaged.into());
    }
    let identity = serde_json::from_slice(identity).map_err(|_| Fault::Damaged)?;
    Ok(Saved { file, identity, start, length })
}

fn hash(from: &mut impl Read, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::state_file::Draft;

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for path in [pipe.as_path(), folder.path()] {
            let error = Saved::open(path).unwrap_err();
            assert!(
                matches!(error, StateFileError::Faulty { fault: Fault::Foreign, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn data_that_is_cut_off_after_it_was_checked_does_not_end_as_if_it_were_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let identity = r#"{"device_api":null,"mdev_type":"a-1","pci":null}"#;
        let mut draft = Draft::create(&path, &serde_json::from_str(identity).unwrap()).unwrap();
        draft.write_all(&[7; 100]).unwrap();
        draft.finish().unwrap();
        let mut saved = Saved::open(&path).unwrap();
        let mut data = Vec::new();
        assert_eq!(saved.data().unwrap().read_to_end(&mut data).unwrap(), 100);

        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(saved.start + 60).unwrap();
        let error = saved.data().unwrap().read_to_end(&mut data).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(data.len(), 160);
    }
}
