//! Who has a node or a device open (`Documentation/filesystems/proc.rst`).
//!
//! A group node and the node of a VFIO character device are told by their device number, whatever they
//! are called where they were opened. A device that was got from its group is `anon_inode:[vfio-device]`
//! and nothing more, in `fd` and in `maps`; only from Linux 6.18 on does `fdinfo` name it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::sysfs::{Dir, Host, base_name};

const DEVICE: &str = "anon_inode:[vfio-device]";
const DEVICE_PATH: &str = "vfio-device-syspath:";

/// A process that has something open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its command, as in `/proc/<pid>/comm`: at most 15 bytes.
    pub command: String,
    /// Whether it is the process that asks.
    pub is_self: bool,
}

/// Who has a device or one of its nodes open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holders {
    /// Those that have, by process id.
    pub certain: Vec<Holder>,
    /// Those that have a VFIO device open of which the kernel does not say which it is, and no node
    /// of another one.
    pub possible: Vec<Holder>,
    /// How many processes could not be looked into, because they are another user's.
    pub unreadable: usize,
}

/// What the processes of a machine have open of VFIO, at one moment.
#[derive(Debug, Clone, Default)]
pub struct OpenFiles {
    processes: Vec<Process>,
    unreadable: usize,
}

#[derive(Debug, Clone)]
struct Process {
    holder: Holder,
    /// Device numbers of nodes.
    numbers: BTreeSet<u64>,
    /// File system and inode, for mappings, and for mock nodes, which are plain files.
    inodes: BTreeSet<(u64, u64)>,
    /// Names of VFIO devices.
    devices: BTreeSet<String>,
    has_unnamed: bool,
    has_node: bool,
}

impl OpenFiles {
    /// Looks into all processes of `host`. Those that end meanwhile are left out, a missing `/proc` has
    /// none.
    #[must_use]
    pub fn read(host: &Host) -> Self {
        let root = host.proc_root();
        let own = fs::read_link(root.join("self")).ok();
        let own = own.and_then(|own| base_name(&own)?.parse().ok());
        let mut files = Self::default();
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let Some(pid) = base_name(&entry.file_name()).and_then(|name| name.parse().ok()) else {
                continue;
            };
            match Process::read(&entry.path(), host, pid, own == Some(pid)) {
                Ok(process) => files.processes.extend(process),
                Err(error) if is_gone(&error) => {}
                Err(_) => files.unreadable = files.unreadable.saturating_add(1),
            }
        }
        files.processes.sort_unstable_by_key(|process| process.holder.pid);
        files
    }

    /// How many processes could not be looked into.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Who has an IOMMU group open: its node, the node of one of its devices, or one of its devices.
    #[must_use]
    pub fn holders_of_group(&self, host: &Host, group: u32) -> Holders {
        let path = Path::new("kernel/iommu_groups").join(group.to_string()).join("devices");
        let members = host.sysfs_dir(path).ok().flatten();
        let names = |dir: &Dir| -> Vec<_> {
            let entries = dir.entries().unwrap_or_default().into_iter();
            entries.map(|entry| entry.name.to_string_lossy().into_owned()).collect()
        };
        let devices = members.as_ref().map(names).unwrap_or_default();
        let mut nodes: Vec<_> = ["", "noiommu-"]
            .map(|prefix| host.device_node(&format!("vfio/{prefix}{group}")))
            .into();
        for device in &devices {
            let vfio_dev = members
                .as_ref()
                .and_then(|dir| dir.dir(Path::new(device).join("vfio-dev")).ok().flatten());
            let of_device = vfio_dev.as_ref().map(names).unwrap_or_default();
            let devices = of_device.iter().map(|name| format!("vfio/devices/{name}"));
            nodes.extend(devices.map(|name| host.device_node(&name)));
        }
        self.holders(&nodes, &devices)
    }

    /// Who has one of these nodes open, or one of the devices that sysfs knows by these names.
    #[must_use]
    pub fn holders(&self, nodes: &[PathBuf], devices: &[String]) -> Holders {
        let found: Vec<_> = nodes.iter().filter_map(|node| fs::metadata(node).ok()).collect();
        let mut holders = Holders { unreadable: self.unreadable, ..Holders::default() };
        for process in &self.processes {
            let holds_node = found.iter().any(|node| {
                (node.file_type().is_char_device() && process.numbers.contains(&node.rdev()))
                    || process.inodes.contains(&(node.dev(), node.ino()))
            });
            if holds_node || devices.iter().any(|device| process.devices.contains(device)) {
                holders.certain.push(process.holder.clone());
            } else if process.has_unnamed && !process.has_node {
                holders.possible.push(process.holder.clone());
            }
        }
        holders
    }
}

impl Process {
    /// `None` when it has nothing of VFIO open.
    fn read(path: &Path, host: &Host, pid: u32, is_self: bool) -> io::Result<Option<Self>> {
        let command = fs::read(path.join("comm")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).trim_end().to_owned();
        let mut process = Self {
            holder: Holder { pid, command, is_self },
            numbers: BTreeSet::new(),
            inodes: BTreeSet::new(),
            devices: BTreeSet::new(),
            has_unnamed: false,
            has_node: false,
        };
        for entry in fs::read_dir(path.join("fd"))? {
            let Ok(entry) = entry else { break };
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            if target.as_os_str() == DEVICE {
                process.add_device(&path.join("fdinfo").join(entry.file_name()));
            } else if target.starts_with("/dev") || target.starts_with(host.dev_root()) {
                // Only these are looked at: a file elsewhere may be on a file system that hangs.
                process.add_node(&entry.path(), &target);
            }
        }
        let maps = fs::read(path.join("maps")).unwrap_or_default();
        String::from_utf8_lossy(&maps).lines().for_each(|line| process.add_mapping(line));
        let has_any = process.has_unnamed || process.has_node || !process.devices.is_empty();
        Ok(has_any.then_some(process))
    }

    fn add_device(&mut self, info: &Path) {
        let info = fs::read_to_string(info).unwrap_or_default();
        let named = info.lines().find_map(|line| line.strip_prefix(DEVICE_PATH));
        match named.and_then(|path| base_name(path.trim()).map(str::to_owned)) {
            Some(name) => {
                self.devices.insert(name);
            }
            None => self.has_unnamed = true,
        }
    }

    fn add_node(&mut self, fd: &Path, target: &Path) {
        let Ok(found) = fs::metadata(fd) else { return };
        self.has_node |= is_device_of_vfio(target);
        if found.file_type().is_char_device() {
            self.numbers.insert(found.rdev());
        } else {
            self.inodes.insert((found.dev(), found.ino()));
        }
    }

    /// A line is `address permissions offset major:minor inode path`.
    fn add_mapping(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(number), Some(inode), Some(path)) = (words.nth(3), words.next(), words.next())
        else {
            return;
        };
        if path == DEVICE {
            // A descriptor of it may have named it.
            self.has_unnamed |= self.devices.is_empty();
        } else if is_device_of_vfio(Path::new(path)) {
            let hex = |digits| u32::from_str_radix(digits, 16).ok();
            let number = number.split_once(':').and_then(|(a, b)| Some((hex(a)?, hex(b)?)));
            if let (Some((major, minor)), Ok(inode)) = (number, inode.parse()) {
                self.inodes.insert((rustix::fs::makedev(major, minor), inode));
                self.has_node = true;
            }
        }
    }
}

/// Whether this is a node in `/dev/vfio`, other than the container's.
fn is_device_of_vfio(path: &Path) -> bool {
    let mut names = path.iter().rev().filter_map(|name| name.to_str());
    let last = names.next();
    last != Some("vfio") && matches!(names.next(), Some("vfio" | "devices"))
}

fn is_gone(error: &io::Error) -> bool {
    let gone = [rustix::io::Errno::NOENT, rustix::io::Errno::SRCH];
    gone.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Holders {
    /// The holders as a list for a sentence; `None` when nobody is known to have it open.
    #[must_use]
    pub fn list(&self) -> Option<String> {
        let list = |holders: &[Holder]| {
            holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(", ")
        };
        (!self.certain.is_empty()).then(|| list(&self.certain))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, command, is_self } = self;
        // A process names itself as it likes.
        let command = command.replace(char::is_control, "?");
        if *is_self {
            return write!(f, "this process ({pid}, {command})");
        }
        write!(f, "process {pid} ({command})")
    }
}

impl fmt::Display for Holders {
    /// Who has it open, as far as is known: the way out of EBUSY.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(certain) = self.list() {
            return write!(f, "{certain} has it open");
        }
        match self.possible.as_slice() {
            [] => write!(f, "another program has it open")?,
            possible => {
                let names: Vec<_> = possible.iter().map(Holder::to_string).collect();
                write!(f, "{} has a device of VFIO open, maybe this one", names.join(", "))?;
            }
        }
        match self.unreadable {
            0 => Ok(()),
            count => {
                write!(f, "; run as root to see which ({count} processes cannot be looked into)")
            }
        }
    }
}

#[cfg(test)]
mod tests;
