//! What was changed, in files that outlive the process.
//!
//! One file a device, `<bus>-<address>.json` in the state directory, written as a whole before the first
//! change and removed after the last one was undone. Whoever reads or writes one has the lock.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tempfile::Builder;

use super::DriverBus;
use super::device_dir::{Identity, State};

const VERSION: u32 = 1;
const SUFFIX: &str = ".json";
/// A file that is being written. Nobody else is at it under the lock, so one that is there is left over.
const PARTIAL: &str = ".partial";
const PAUSE: Duration = Duration::from_millis(20);

/// The record of what was changed cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The state directory cannot be used.
    #[error(
        "cannot {action} {}, where what is changed is recorded: run as root, or name another directory",
        path.display()
    )]
    Directory {
        /// What was to be done: "make", "lock", "list".
        action: &'static str,
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process is at it.
    #[error(
        "another process has {} locked and changes drivers: wait for it, or end it (fuser {})",
        lock.display(), lock.display()
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// A record cannot be read, written or removed.
    #[error("cannot {action} {}, the record of a device", file.display())]
    File {
        /// What was to be done: "read", "write", "remove".
        action: &'static str,
        /// The record.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record is not what was written.
    #[error(
        "{} is damaged ({fault}), and says nothing of where the device came from: give it its driver by \
         hand (driver_override, drivers_probe) and remove the file",
        file.display()
    )]
    Damaged {
        /// The record.
        file: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A record is of another version of this library.
    #[error(
        "{} is a record of version {found}, and this is known: {VERSION}; restore the device with the \
         program that bound it",
        file.display()
    )]
    Version {
        /// The record.
        file: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The kernel does not say which start of the machine this is.
    #[error("cannot read {}, which tells one start of the machine from another", path.display())]
    Boot {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a device came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    address: String,
    /// The start of the machine at which it was recorded: the next one forgets all bindings.
    boot: String,
    identity: Identity,
    /// How it was bound before the first change.
    pub(super) origin: State,
    /// The drivers that it was given since; what else it is bound to is somebody else's.
    drivers: Vec<String>,
}

impl Record {
    pub(super) fn new(address: String, boot: String, identity: Identity, origin: State) -> Self {
        Self { version: VERSION, address, boot, identity, origin, drivers: Vec::new() }
    }

    pub(super) fn is_same_boot(&self, other: &Self) -> bool {
        self.boot == other.boot
    }

    /// Whether it was there all the time between, and nothing took its place.
    pub(super) fn is_same_device(&self, other: &Self) -> bool {
        self.is_same_boot(other) && self.identity == other.identity
    }

    /// The device is about to be given this driver.
    pub(super) fn give(&mut self, driver: &str) {
        if !self.is_given(driver) {
            self.drivers.push(driver.to_owned());
        }
    }

    pub(super) fn is_given(&self, driver: &str) -> bool {
        self.drivers.iter().any(|given| given == driver)
    }

    /// The state to restore to. What is neither as it was nor as we left it stays.
    pub(super) fn goal(&self, now: &State) -> State {
        let is_ours =
            |name: &Option<String>| name.as_deref().is_some_and(|name| self.is_given(name));
        let is_free = now.driver.is_none() || is_ours(&now.driver);
        let driver = if is_free { &self.origin.driver } else { &now.driver };
        // The driver cannot be given back under each override, and then has one of its own for a moment.
        let is_passing =
            now.driver_override.is_some() && now.driver_override == *self.origin.override_to_bind();
        let is_free = is_ours(&now.driver_override) || is_passing;
        let name = if is_free { &self.origin.driver_override } else { &now.driver_override };
        State { driver: driver.clone(), driver_override: name.clone() }
    }

    /// The device is about to be changed: what somebody else has changed since is where it comes from now.
    pub(super) fn accept(&mut self, now: &State) {
        self.origin = self.goal(now);
    }

    /// Names from a file become paths and are written by root.
    fn fault(&self, address: &str) -> Option<String> {
        if self.address != address {
            return Some(format!("it is of {}", self.address));
        }
        let State { driver, driver_override } = &self.origin;
        let mut names = self.drivers.iter().chain(driver);
        if let Some(name) = names.find(|name| !is_name(name)) {
            return Some(format!("{name:?} is no name of a driver"));
        }
        let is_wrong = |name: &&String| name.is_empty() || name.contains(char::is_control);
        let name = driver_override.as_ref().filter(is_wrong);
        name.map(|name| format!("{name:?} is no name of a driver"))
    }
}

/// Whether a driver or a device may have this name: it is one of a directory.
pub(super) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(|c: char| c == '/' || c.is_control())
}

/// The records in a directory.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    /// What the names of records start with: several buses may have one directory.
    prefix: String,
}

/// The records, with the lock on them: it is held as long as this is.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    directory: &'a Path,
    prefix: &'a str,
    _lock: File,
}

impl Journal {
    pub(super) fn new(directory: PathBuf, bus: &str) -> Self {
        Self { directory, prefix: format!("{bus}-") }
    }

    /// Makes the directory if it is not there, and keeps other processes and threads out.
    pub(super) fn lock(&self, patience: Duration) -> Result<Locked<'_>, JournalError> {
        let directory = self.directory.as_path();
        let failed = |action, path: &Path, source| {
            let path = path.to_owned();
            JournalError::Directory { action, path, source }
        };
        // Whatever the umask: who writes here has root write to sysfs.
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(|error| failed("make", directory, error))?;
        let path = directory.join("lock");
        // Who may read a file may lock it.
        let mut options = careful();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(|error| failed("lock", &path, error))?;
        let start = Instant::now();
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::WouldBlock if start.elapsed() < patience => thread::sleep(PAUSE),
                TryLockError::WouldBlock => return Err(JournalError::Locked { lock: path }),
                TryLockError::Error(error) => return Err(failed("lock", &path, error)),
            }
        }
        let locked = Locked { directory, prefix: &self.prefix, _lock: lock };
        locked.remove_left_over().map_err(|error| failed("list", directory, error))?;
        Ok(locked)
    }

    /// The devices that are recorded, sorted; none where there is no directory.
    pub(super) fn addresses<B: DriverBus>(&self) -> Result<Vec<B::Address>, JournalError> {
        let failed = |source| {
            let path = self.directory.clone();
            JournalError::Directory { action: "list", path, source }
        };
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut addresses = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let name = name
                .to_str()
                .and_then(|name| name.strip_prefix(&self.prefix)?.strip_suffix(SUFFIX));
            addresses.extend(name.and_then(|name| B::address(name.as_ref())));
        }
        addresses.sort_unstable();
        Ok(addresses)
    }
}

impl Locked<'_> {
    fn remove_left_over(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_left_over = name.to_str().is_some_and(|name| {
                name.starts_with(&self.draft_prefix()) && name.ends_with(PARTIAL)
            });
            if is_left_over {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn file(&self, address: &str) -> PathBuf {
        self.directory.join(format!("{}{address}{SUFFIX}", self.prefix))
    }

    fn draft_prefix(&self) -> String {
        format!(".{}", self.prefix)
    }

    /// The record of a device; `None` when there is none.
    pub(super) fn find(&self, address: &str) -> Result<Option<Record>, JournalError> {
        let file = self.file(address);
        let text = match read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::File { action: "read", file, source }),
        };
        let damaged = |fault| JournalError::Damaged { file: file.clone(), fault };
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let found = value.get("version").and_then(serde_json::Value::as_u64);
        match found {
            Some(found) if found == u64::from(VERSION) => {}
            Some(found) => return Err(JournalError::Version { file, found }),
            None => return Err(damaged("it has no version".to_owned())),
        }
        let record: Record =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        match record.fault(address) {
            Some(fault) => Err(damaged(fault)),
            None => Ok(Some(record)),
        }
    }

    /// Writes a record, in place of the one that is there. It lasts when this returns, whole or not at all.
    pub(super) fn write(&self, address: &str, record: &Record) -> Result<(), JournalError> {
        let file = self.file(address);
        let written = self.write_to(&file, record);
        written.map_err(|source| JournalError::File { action: "write", file, source })
    }

    fn write_to(&self, file: &Path, record: &Record) -> io::Result<()> {
        let prefix = self.draft_prefix();
        let draft = Builder::new().prefix(&prefix).suffix(PARTIAL).tempfile_in(self.directory)?;
        let mut text = serde_json::to_vec_pretty(record)?;
        text.push(b'\n');
        draft.as_file().write_all(&text)?;
        draft.as_file().sync_all()?;
        draft.persist(file).map_err(|error| error.error)?;
        self.sync()
    }

    /// Forgets a device.
    pub(super) fn remove(&self, address: &str) -> Result<(), JournalError> {
        let file = self.file(address);
        let removed = match fs::remove_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync()),
        };
        removed.map_err(|source| JournalError::File { action: "remove", file, source })
    }

    /// A name lasts when its directory does.
    fn sync(&self) -> io::Result<()> {
        File::open(self.directory)?.sync_all()
    }
}

/// How files of the directory are opened: none is elsewhere, and none, such as a pipe, is waited for.
fn careful() -> OpenOptions {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = File::options();
    options.custom_flags(flags.cast_signed());
    options
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    careful().read(true).open(file)?.read_to_end(&mut text)?;
    Ok(text)
}

/// Which start of the machine this is (`Documentation/admin-guide/sysctl/kernel.rst`).
pub(super) fn boot(proc: &Path) -> Result<String, JournalError> {
    let path = proc.join("sys/kernel/random/boot_id");
    match fs::read_to_string(&path) {
        Ok(boot) => Ok(boot.trim().to_owned()),
        Err(source) => Err(JournalError::Boot { path, source }),
    }
}
