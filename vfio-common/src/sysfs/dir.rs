//! One open directory of sysfs.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::SysfsError;

/// The kernel hands out an attribute in one page at most.
const ATTRIBUTE_LIMIT: usize = 4096;
/// Room for about 500 entries a system call.
const LISTING_BUFFER: usize = 32 * 1024;

/// An open directory below a [`Host`](super::Host)'s sysfs. Names are relative to it and may hold
/// slashes and links.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// The inode number of the entry itself, not of what it links to. Two entries of one name with
    /// different numbers are two devices: the first was removed and another one created.
    pub inode: u64,
    /// Whether it is a directory. A link to one is not.
    pub is_dir: bool,
}

/// The names in a directory, without `.` and `..`, in the kernel's order.
pub type Entries = Vec<Entry>;

impl Dir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// The path it was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory below this one; `None` when it is not there (any more).
    ///
    /// # Errors
    /// [`SysfsError::Io`] when it is there and cannot be opened.
    pub fn dir(&self, name: impl AsRef<Path>) -> Result<Option<Self>, SysfsError> {
        let name = name.as_ref();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        let fd = present(opened).map_err(|errno| self.error("open", name, errno))?;
        Ok(fd.map(|fd| Self::new(fd, self.path.join(name))))
    }

    /// Lists this directory: one system call for some 500 entries.
    ///
    /// # Errors
    /// [`SysfsError::Io`] when the kernel fails the listing.
    pub fn entries(&self) -> Result<Entries, SysfsError> {
        let mut buffer = [MaybeUninit::uninit(); LISTING_BUFFER];
        // A second listing of the same descriptor would otherwise start at the end of the first.
        let rewound = rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0));
        rewound.map_err(|errno| self.error("list", "", errno))?;
        let mut listing = RawDir::new(&self.fd, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = listing.next() {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        let name = OsString::from_vec(name.to_vec());
                        let is_dir = entry.file_type() == FileType::Directory;
                        entries.push(Entry { name, inode: entry.ino(), is_dir });
                    }
                }
                // The directory itself is gone: what was read so far is what there was.
                Err(errno) if vanished(errno) => break,
                Err(errno) => return Err(self.error("list", "", errno)),
            }
        }
        Ok(entries)
    }

    /// The target of a link, as the kernel wrote it; `None` when there is no such link.
    ///
    /// # Errors
    /// [`SysfsError::Io`] when the entry is there and is not a link, or cannot be read.
    pub fn link(&self, name: impl AsRef<Path>) -> Result<Option<PathBuf>, SysfsError> {
        let name = name.as_ref();
        let target = present(rustix::fs::readlinkat(&self.fd, name, Vec::with_capacity(256)))
            .map_err(|errno| self.error("resolve", name, errno))?;
        Ok(target.map(|target| PathBuf::from(OsString::from_vec(target.into_bytes()))))
    }

    /// The last name in the target of a link: the group, the driver, the type it points to.
    ///
    /// # Errors
    /// As [`Dir::link`], and [`SysfsError::Malformed`] when the target has no readable last name.
    pub fn link_name(&self, name: impl AsRef<Path>) -> Result<Option<String>, SysfsError> {
        let name = name.as_ref();
        let Some(target) = self.link(name)? else { return Ok(None) };
        match super::base_name(&target) {
            Some(last) => Ok(Some(last.to_owned())),
            None => {
                let found = target.to_string_lossy();
                let path = self.path.join(name);
                Err(SysfsError::malformed(path, &found, "a link with a name at its end"))
            }
        }
    }

    /// The inode number of an entry itself, not of what it links to; `None` when it is not there.
    ///
    /// # Errors
    /// [`SysfsError::Io`] when the kernel fails the look-up.
    pub fn inode(&self, name: impl AsRef<Path>) -> Result<Option<u64>, SysfsError> {
        let name = name.as_ref();
        let found = present(rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|errno| self.error("look up", name, errno))?;
        Ok(found.map(|stat| stat.st_ino))
    }

    /// An attribute's text without the newline at its end; `None` when there is no such attribute.
    /// At most one page (4096 bytes) is read, which is all that sysfs gives. Bytes that are not
    /// UTF-8 become replacement characters.
    ///
    /// # Errors
    /// [`SysfsError::Io`] when the attribute is there and cannot be read.
    pub fn read(&self, name: impl AsRef<Path>) -> Result<Option<String>, SysfsError> {
        let name = name.as_ref();
        // Not to wait for ever for whatever else somebody put there.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        let opened = present(opened).map_err(|errno| self.error("open", name, errno))?;
        let Some(fd) = opened else { return Ok(None) };
        let mut text = vec![0; ATTRIBUTE_LIMIT];
        let read = present(rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut *text)))
            .map_err(|errno| self.error("read", name, errno))?;
        let Some(length) = read else { return Ok(None) };
        text.truncate(length);
        let text = String::from_utf8_lossy(&text);
        Ok(Some(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
    }

    /// An attribute parsed as `T`, surrounding white space aside; `None` when there is none.
    ///
    /// # Errors
    /// As [`Dir::read`], and [`SysfsError::Malformed`] when the text is not a `T`; `expected` says
    /// in the message what it should be ("a decimal number").
    pub fn parse<T: FromStr>(
        &self,
        name: impl AsRef<Path>,
        expected: &'static str,
    ) -> Result<Option<T>, SysfsError> {
        let name = name.as_ref();
        let Some(text) = self.read(name)? else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(SysfsError::malformed(self.path.join(name), &text, expected)),
        }
    }

    /// Writes an attribute: the text as it stands, in one `write(2)`, as the kernel wants it. Nothing is
    /// created, cut off or followed by a newline. Some attributes return only when what they were asked
    /// for is done, which may be never.
    ///
    /// # Errors
    /// [`SysfsError::Io`]: of "open" when there is no such attribute or it must not be written, of
    /// "write" with what the attribute says to the text, and with `EMSGSIZE` when it took only a part.
    pub fn write(&self, name: impl AsRef<Path>, text: &str) -> Result<(), SysfsError> {
        let name = name.as_ref();
        // Not to wait for ever for a reader of whatever else somebody put there.
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        let fd = opened.map_err(|errno| self.error("open", name, errno))?;
        // Not repeated when a signal ends it: it may have had its effect.
        match rustix::io::write(&fd, text.as_bytes()) {
            Ok(length) if length == text.len() => Ok(()),
            Ok(_) => Err(self.error("write", name, Errno::MSGSIZE)),
            Err(errno) => Err(self.error("write", name, errno)),
        }
    }

    fn error(&self, operation: &'static str, name: impl AsRef<Path>, errno: Errno) -> SysfsError {
        let name = name.as_ref();
        let path = if name.as_os_str().as_bytes().is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        };
        SysfsError::io(operation, path, errno)
    }
}

/// Whether an error means that the entry was removed, before or while it was read.
fn vanished(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV | Errno::NXIO)
}

fn present<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(errno) if vanished(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::Mode;

    use super::super::{Host, SysfsError};

    #[test]
    fn reads_links_and_attributes_and_says_none_for_what_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("bus/some/devices")).unwrap();
        fs::create_dir_all(root.path().join("devices/a")).unwrap();
        fs::write(root.path().join("devices/a/numa_node"), "3\n").unwrap();
        fs::write(root.path().join("devices/a/odd"), b"\xff\xfe\n").unwrap();
        symlink("../../../devices/a", root.path().join("bus/some/devices/a")).unwrap();
        let host = Host::new(root.path(), "/dev");
        let dir = host.sysfs_dir("bus/some/devices").unwrap().unwrap();

        assert_eq!(dir.link("a").unwrap().unwrap().to_str(), Some("../../../devices/a"));
        assert_eq!(dir.link_name("a").unwrap().as_deref(), Some("a"));
        assert_eq!(dir.parse::<i32>("a/numa_node", "a number").unwrap(), Some(3));
        assert_eq!(dir.read("a/absent").unwrap(), None);
        assert_eq!(dir.link("b").unwrap(), None);
        assert!(host.sysfs_dir("bus/other").unwrap().is_none());
        assert_eq!(dir.read("a/odd").unwrap().as_deref(), Some("\u{fffd}\u{fffd}"));

        let first = dir.entries().unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(dir.entries().unwrap(), first, "a listing can be repeated");

        let error = dir.parse::<i32>("a/odd", "a decimal number").unwrap_err();
        assert!(error.to_string().contains("which is not a decimal number"), "{error}");
        assert!(matches!(dir.link("a/numa_node"), Err(SysfsError::Io { .. })));
    }

    #[test]
    fn a_write_changes_what_is_there_and_makes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("driver_override");
        fs::write(&path, "(null)\n").unwrap();
        fs::create_dir(root.path().join("power")).unwrap();
        let dir = Host::new(root.path(), "/dev").sysfs().unwrap();
        dir.write("driver_override", "nvme").unwrap();
        // What a file would have lost to O_TRUNC; an attribute starts anew at each write.
        assert_eq!(fs::read_to_string(&path).unwrap(), "nvmel)\n");
        dir.write("driver_override", "").unwrap();

        let errors = |name: &str| match dir.write(name, "1").unwrap_err() {
            SysfsError::Io { operation, source, path } => {
                assert_eq!(path, root.path().join(name));
                (operation, source.kind())
            }
            error => panic!("{error}"),
        };
        assert_eq!(errors("absent"), ("open", std::io::ErrorKind::NotFound));
        assert!(!root.path().join("absent").exists());
        assert_eq!(errors("power"), ("open", std::io::ErrorKind::IsADirectory));
        symlink("/dev/full", root.path().join("full")).unwrap();
        assert_eq!(errors("full"), ("write", std::io::ErrorKind::StorageFull));
        rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("pipe"), Mode::RWXU).unwrap();
        assert_eq!(errors("pipe").0, "open", "nobody reads it");
    }

    #[test]
    fn directories_are_told_from_links_to_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dir")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        symlink("dir", root.path().join("link")).unwrap();
        let entries = Host::new(root.path(), "/dev").sysfs().unwrap().entries().unwrap();
        let dirs: Vec<_> = entries.iter().filter(|entry| entry.is_dir).collect();
        assert!(matches!(dirs.as_slice(), [dir] if dir.name == "dir"), "{entries:?}");
    }

    #[test]
    fn a_missing_sysfs_is_named_with_the_way_out() {
        let host = Host::new("/nonexistent-sysfs", "/dev");
        let error = host.sysfs().unwrap_err();
        assert!(matches!(error, SysfsError::NoSysfs { .. }));
        assert!(error.to_string().contains("mount -t sysfs sysfs /nonexistent-sysfs"), "{error}");
    }
}
