//! The files, directories and links that a tree is made of.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use tempfile::TempDir;

use super::TreeError;
use crate::errno::failed;

/// Memory, on every system that keeps to the Filesystem Hierarchy Standard.
const MEMORY: &str = "/dev/shm";
/// Bytes free there that are enough for any tree: 10,000 devices take a fifth of it.
const ROOM: u64 = 1 << 30;

/// A temporary directory with a `sys` and a `dev` in it. Paths are relative to `sys`, except where a
/// method says otherwise, and cannot leave it.
#[derive(Debug)]
pub(super) struct Files {
    _root: TempDir,
    sysfs: PathBuf,
    dev: PathBuf,
    /// Where entries are made ready, and kept when they are gone, so that their inode number is not
    /// given again: sysfs does not give one again soon, but some file systems do.
    attic: PathBuf,
    in_attic: AtomicU64,
    /// Where in the attic the file is of which constants with a text are links.
    constants: Mutex<BTreeMap<String, PathBuf>>,
}

impl Files {
    pub(super) fn new() -> Result<Self, TreeError> {
        let root = directory().map_err(|e| TreeError::new("create", &std::env::temp_dir(), e))?;
        let below = |name| root.path().join(name);
        let (sysfs, dev, attic) = (below("sys"), below("dev"), below("attic"));
        for path in [&sysfs, &dev.join("vfio/devices"), &attic] {
            fs::create_dir_all(path).map_err(|e| TreeError::new("create", path, e))?;
        }
        let (in_attic, constants) = Default::default();
        Ok(Self { _root: root, sysfs, dev, attic, in_attic, constants })
    }

    pub(super) fn sysfs(&self) -> &Path {
        &self.sysfs
    }

    pub(super) fn dev(&self) -> &Path {
        &self.dev
    }

    /// A directory that is not there, in one that is.
    pub(super) fn new_dir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        self.apply("create", path.as_ref(), |path| fs::create_dir(path))
    }

    /// A directory, with those that lead to it, where they are not there.
    pub(super) fn dirs(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        self.apply("create", path.as_ref(), |path| fs::create_dir_all(path))
    }

    /// An attribute that is not there.
    pub(super) fn attribute(
        &self,
        path: impl AsRef<Path>,
        mode: u32,
        text: &str,
    ) -> Result<(), TreeError> {
        self.apply("create", path.as_ref(), |path| new_file(path, mode, text.as_bytes()))
    }

    /// An attribute that is not there and that nobody writes. Those with one text share one file: a
    /// server has thousands of PCI functions with many attributes each.
    pub(super) fn constant(&self, path: impl AsRef<Path>, text: &str) -> Result<(), TreeError> {
        self.apply("create", path.as_ref(), |path| {
            let mut constants = self.constants.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = constants.get(text)
                && unless_too_many_links(fs::hard_link(file, path))?
            {
                return Ok(());
            }
            let file = self.attic_place();
            new_file(&file, 0o444, text.as_bytes())?;
            fs::hard_link(&file, path)?;
            constants.insert(text.to_owned(), file);
            Ok(())
        })
    }

    /// A link to another entry, relative as the kernel makes them.
    pub(super) fn link_to(
        &self,
        path: impl AsRef<Path>,
        entry: impl AsRef<Path>,
    ) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.link(path, relative(path, entry.as_ref()))
    }

    /// A link with any target.
    pub(super) fn link(&self, path: &Path, target: impl AsRef<Path>) -> Result<(), TreeError> {
        self.apply("link", path, |path| symlink(target, path))
    }

    /// Replaces an attribute in one step: no reader sees half of it.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), TreeError> {
        self.apply("write", path, |path| {
            let mode = fs::symlink_metadata(path).map_or(0o644, |found| mode_of(&found));
            let ready = self.attic_place();
            new_file(&ready, mode, bytes)?;
            fs::rename(ready, path)
        })
    }

    /// Removes an entry, and all that is in it if it is a directory. It is no error if it is not
    /// there.
    pub(super) fn remove(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        self.apply("remove", path.as_ref(), remove)
    }

    /// Removes an entry whose inode number must not be given again.
    pub(super) fn retire(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        self.apply("remove", path.as_ref(), |path| {
            unless_missing(fs::rename(path, self.attic_place()))
        })
    }

    /// A stand-in for a device node, named as below `/dev`: a plain file, for a real one takes root.
    pub(super) fn node(&self, name: &str, mode: u32) -> Result<(), TreeError> {
        let path = self.dev.join(name);
        new_file(&path, mode, b"").map_err(|e| TreeError::new("create", &path, e))
    }

    pub(super) fn remove_node(&self, name: &str) -> Result<(), TreeError> {
        let path = self.dev.join(name);
        remove(&path).map_err(|e| TreeError::new("remove", &path, e))
    }

    fn attic_place(&self) -> PathBuf {
        self.attic.join(self.in_attic.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn apply(
        &self,
        operation: &'static str,
        path: &Path,
        change: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), TreeError> {
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        let changed = if path.components().all(inside) && path != Path::new("") {
            change(&self.sysfs.join(path))
        } else {
            Err(failed(Errno::INVAL))
        };
        changed.map_err(|source| TreeError::new(operation, path, source))
    }
}

/// In memory if it can be, for speed; where `TMPDIR` says if it says so.
fn directory() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("vfio-sim-");
    // Containers often have little of it.
    let roomy = rustix::fs::statvfs(MEMORY)
        .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= ROOM);
    if std::env::var_os("TMPDIR").is_none()
        && roomy
        && let Ok(root) = builder.tempdir_in(MEMORY)
    {
        return Ok(root);
    }
    builder.tempdir()
}

fn new_file(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)
}

/// Whether a link was made; there may be as many as its file system allows.
fn unless_too_many_links(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::TooManyLinks => Ok(false),
        result => result.map(|()| true),
    }
}

fn mode_of(found: &fs::Metadata) -> u32 {
    if found.is_file() { found.permissions().mode() & 0o777 } else { 0o644 }
}

fn remove(path: &Path) -> io::Result<()> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    unless_missing(if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) })
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The target of a link at `link` that leads to `entry`, both from the same root. The last name is
/// always the entry's, also where the link lies below the entry.
fn relative(link: &Path, entry: &Path) -> PathBuf {
    let from: Vec<&OsStr> = link.parent().map_or_else(Vec::new, |dir| dir.iter().collect());
    let to: Vec<&OsStr> = entry.iter().collect();
    let most = to.len().saturating_sub(1);
    let shared = from.iter().zip(&to).take(most).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(shared).map(|_| OsStr::new(".."));
    up.chain(to.into_iter().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_those_that_the_kernel_makes() {
        let device = "devices/virtual/mtty/mtty/83b8";
        let target = |link: &str, entry: &str| relative(Path::new(link), Path::new(entry));
        assert_eq!(
            target("bus/mdev/devices/83b8", device),
            Path::new("../../../devices/virtual/mtty/mtty/83b8")
        );
        assert_eq!(
            target(
                "devices/virtual/mtty/mtty/83b8/mdev_type",
                "devices/virtual/mtty/mtty/mdev_supported_types/mtty-2"
            ),
            Path::new("../mdev_supported_types/mtty-2")
        );
        assert_eq!(
            target("devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/devices/83b8", device),
            Path::new("../../../83b8")
        );
    }

    #[test]
    fn nothing_outside_the_tree_can_be_touched() {
        let files = Files::new().unwrap();
        for path in ["/etc/hosts", "../dev/vfio/vfio", "a/../../b", ""] {
            let error = files.replace(Path::new(path), b"x").unwrap_err();
            assert_eq!(
                error.io_error().raw_os_error(),
                Some(Errno::INVAL.raw_os_error()),
                "{path}"
            );
        }
    }

    #[test]
    fn it_is_gone_when_it_is_dropped() {
        let files = Files::new().unwrap();
        files.attribute("locked", 0o444, "1\n").unwrap();
        let root = files._root.path().to_owned();
        assert!(root.join("sys/locked").exists());
        drop(files);
        assert!(!root.exists());
    }
}
