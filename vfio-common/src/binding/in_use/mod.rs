//! What the machine uses a device for.

mod parts;
mod tables;

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::iter;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};

use rustix::fs::OFlags;
use rustix::io::Errno;

use self::parts::{Block, Interface, Parts};
use self::tables::{DefaultRoutes, Mounts, Swaps};
use super::device_dir::DeviceDir;
use crate::sysfs::{Host, SysfsError};

/// One thing that a device is used for. It prints as a part of a sentence, with the way to end it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Use {
    /// A file system is mounted from a disk, a partition, or what is made of them (LVM, RAID, encryption).
    Mounted {
        /// The block device.
        device: String,
        /// Where it is mounted.
        at: String,
    },
    /// A mounted file system that spans disks has one of them.
    FileSystem {
        /// The block device.
        device: String,
        /// The file system's UUID.
        uuid: String,
    },
    /// Swap space.
    Swap {
        /// The block device.
        device: String,
    },
    /// Somebody has a disk to himself: ZFS, another mount namespace, a virtual machine.
    Claimed {
        /// The block device.
        device: String,
    },
    /// A network interface is up.
    InterfaceUp {
        /// The interface.
        interface: String,
    },
    /// A network interface carries the default route, or a bond, bridge or VLAN that it is a part of.
    DefaultRoute {
        /// The interface that the route names.
        interface: String,
    },
    /// A network interface is in another network namespace, as containers have them.
    InterfaceElsewhere,
    /// A display shows a picture.
    Display {
        /// The connector.
        connector: String,
    },
    /// What only the bus knows of, as it prints.
    OfBus(Cow<'static, str>),
}

/// All that a device is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses(pub Vec<Use>);

/// What the host uses a device for that its driver has.
pub(super) fn by_host(host: &Host, device: &DeviceDir) -> Result<Vec<Use>, SysfsError> {
    let mut uses = Vec::new();
    let parts = Parts::below(host, &device.dir)?;
    uses.extend(parts.connectors.into_iter().map(|connector| Use::Display { connector }));
    let routes = DefaultRoutes::read(host.proc_root());
    for Interface { name, is_up, uppers } in parts.interfaces {
        let routed = iter::once(&name).chain(&uppers).find(|interface| routes.pass(interface));
        if let Some(interface) = routed.cloned() {
            uses.push(Use::DefaultRoute { interface });
        } else if is_up {
            uses.push(Use::InterfaceUp { interface: name });
        }
    }
    if parts.has_hidden_interfaces {
        uses.push(Use::InterfaceElsewhere);
    }
    uses.extend(of_blocks(host, &parts.blocks)?);
    Ok(uses)
}

fn of_blocks(host: &Host, blocks: &[Block]) -> Result<Vec<Use>, SysfsError> {
    if blocks.is_empty() {
        return Ok(Vec::new());
    }
    let mut uses = Vec::new();
    let (mounts, swaps) = (Mounts::read(host.proc_root()), Swaps::read(host.proc_root()));
    for block in blocks {
        let device = || block.name.clone();
        let mounted = mounts.of(&block.number);
        uses.extend(mounted.map(|at| Use::Mounted { device: device(), at: at.to_owned() }));
        if swaps.has(&block.name) {
            uses.push(Use::Swap { device: device() });
        }
    }
    uses.extend(of_spanning(host, blocks)?);
    if uses.is_empty() {
        let claimed = blocks.iter().filter(|block| is_claimed(host, block));
        uses.extend(claimed.map(|block| Use::Claimed { device: block.name.clone() }));
    }
    Ok(uses)
}

/// Btrfs mounts have a device number of their own; its directory is there while it is mounted.
fn of_spanning(host: &Host, blocks: &[Block]) -> Result<Vec<Use>, SysfsError> {
    let mut uses = Vec::new();
    let Some(dir) = host.sysfs_dir("fs/btrfs")? else { return Ok(uses) };
    for entry in dir.entries()?.into_iter().filter(|entry| entry.is_dir) {
        let uuid = entry.name.to_string_lossy().into_owned();
        let devices = format!("{uuid}/devices");
        for block in blocks {
            if dir.inode(format!("{devices}/{}", block.sysfs_name))?.is_some() {
                uses.push(Use::FileSystem { device: block.name.clone(), uuid: uuid.clone() });
            }
        }
    }
    Ok(uses)
}

/// Whether the kernel would let nobody else have the disk: it is asked, by opening it so.
fn is_claimed(host: &Host, block: &Block) -> bool {
    let node = host.device_node(&block.name);
    let is_it = fs::metadata(&node).is_ok_and(|found| {
        let number = found.rdev();
        let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        found.file_type().is_block_device() && number == block.number
    });
    // Without O_CREAT, O_EXCL is a claim (open(2)). O_NONBLOCK starts no drive.
    let Ok(flags) = i32::try_from((OFlags::EXCL | OFlags::NONBLOCK).bits()) else { return false };
    is_it
        && OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(node)
            .is_err_and(|error| error.raw_os_error() == Some(Errno::BUSY.raw_os_error()))
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { device, at } => write!(f, "{device} is mounted on {at} (umount {at})"),
            Self::FileSystem { device, uuid } => {
                write!(f, "{device} is part of the mounted btrfs {uuid} (umount it)")
            }
            Self::Swap { device } => write!(f, "{device} is swap space (swapoff /dev/{device})"),
            Self::Claimed { device } => {
                write!(
                    f,
                    "{device} is taken by another program or by the kernel (fuser /dev/{device})"
                )
            }
            Self::InterfaceUp { interface } => {
                write!(f, "{interface} is up (ip link set {interface} down)")
            }
            Self::DefaultRoute { interface } => {
                write!(
                    f,
                    "{interface} carries the default route (ip route del default dev {interface})"
                )
            }
            Self::InterfaceElsewhere => write!(
                f,
                "an interface of it is in another network namespace (ip netns, or a container has it)"
            ),
            Self::Display { connector } => write!(f, "{connector} shows a picture"),
            Self::OfBus(text) => write!(f, "{text}"),
        }
    }
}

impl fmt::Display for Uses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, one) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{one}")?;
        }
        Ok(())
    }
}
