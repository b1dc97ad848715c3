//! Why a device does not open.

mod refusal;
mod step;

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::node::{DeviceNumber, is_of_device, udev_rule};
use super::{Member, kvm};
use crate::device::DeviceError;
use crate::holders::{Holders, OpenFiles};
use crate::sysfs::{Host, SysfsError};

pub use refusal::Need;
pub use step::OpenStep;

/// A device could not be opened. Nothing stays open after it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such device.
    #[error("{device} does not exist")]
    NoDevice {
        /// The device's name.
        device: String,
    },
    /// Its place in sysfs could not be read.
    #[error("cannot find the IOMMU group of {device}")]
    Sysfs {
        /// The device's name.
        device: String,
        /// What went wrong.
        source: SysfsError,
    },
    /// It is in no IOMMU group: no kernel driver offers it to user space.
    #[error(
        "{device} is in no IOMMU group, because no kernel driver that offers it through VFIO is \
         bound to it"
    )]
    NoGroup {
        /// The device's name.
        device: String,
    },
    /// It is in no IOMMU group, and no other device that does DMA is: there is no IOMMU at work.
    #[error(
        "{device} is in no IOMMU group, because no kernel driver that offers it through VFIO is bound to it; \
         and the IOMMU is off, without which none can be bound to a device that does DMA itself: switch it \
         on in the firmware (VT-d, AMD-Vi) and on the kernel's command line (intel_iommu=on)"
    )]
    IommuOff {
        /// The device's name.
        device: String,
    },
    /// It has no character device, and no other route was allowed.
    #[error(
        "{device} has no character device: no kernel driver that offers it through VFIO is bound to it, \
         or this kernel makes none (CONFIG_VFIO_DEVICE_CDEV, Linux 6.6; none without an IOMMU) and it \
         opens by its group"
    )]
    NoCdev {
        /// The device's name.
        device: String,
    },
    /// A device node could not be opened.
    #[error("cannot open {}{}", node.display(), node_advice(node, source))]
    Node {
        /// The node.
        node: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has the group and its node is not there.
    #[error(
        "cannot open {}: it is not there, though sysfs has its group as device {number}; pass \
         --device {} to the container, or let udev make it (udevadm trigger)",
        node.display(), node.display()
    )]
    NoNode {
        /// The node.
        node: PathBuf,
        /// Its device number in sysfs, as major:minor.
        number: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A group, or the device in it, is open already: it opens once.
    #[error("cannot open {}: {holders}, and it opens only once", node.display())]
    Busy {
        /// The node.
        node: PathBuf,
        /// Who has it open.
        holders: Holders,
        /// What the kernel said.
        source: io::Error,
    },
    /// The group does not give out the device.
    #[error(
        "cannot get {device} from group {group}: it went away or is going away; the group has {}",
        names(members)
    )]
    NotInGroup {
        /// The device's name.
        device: String,
        /// The group.
        group: u32,
        /// The members of the group now.
        members: Vec<Member>,
        /// What the kernel said.
        source: io::Error,
    },
    /// What lies at the node's path is something else.
    #[error("{} is not a device node of VFIO: name the directory that stands for /dev", node.display())]
    NotANode {
        /// The node.
        node: PathBuf,
    },
    /// The node belongs to a group that is gone, whose number was given again.
    #[error(
        "{} is stale: it is device {found}, and sysfs says {expected}; let udev make it again",
        node.display()
    )]
    StaleNode {
        /// The node.
        node: PathBuf,
        /// Its device number, as major:minor.
        found: String,
        /// The device number of the group.
        expected: String,
    },
    /// No IOMMU is in front of the group, and VFIO was told to go without.
    #[error(
        "group {group} has no IOMMU, so its devices could write to all memory: switch the IOMMU on \
         (intel_iommu=on, or in the firmware); devices without one are opened only after \
         `Vfio::allow_no_iommu`, which is unsafe"
    )]
    NoIommu {
        /// The group.
        group: u32,
    },
    /// It has no IOMMU, hence no character device, and no other route was allowed.
    #[error(
        "{device} has no IOMMU, and the kernel gives such a device no character device: open it by its group"
    )]
    NoIommuByCdev {
        /// The device's name.
        device: String,
    },
    /// The devices that are open have no IOMMU.
    #[error(
        "devices without an IOMMU have no address space: they reach physical addresses, which this \
         library does not hand out"
    )]
    NoAddressSpace,
    /// It does not open without something that it wants, and the kernel says no more than an error
    /// number.
    #[error("cannot open {device}: {needs}")]
    Needs {
        /// The device's name.
        device: String,
        /// What it wants.
        needs: Need,
        /// What the kernel said.
        source: io::Error,
    },
    /// A VF token was given for it, and the kernel refuses one where it checks none.
    #[error(
        "{device} takes no VF token: it is neither a physical function with SR-IOV nor a virtual \
         function of one that is bound to vfio-pci"
    )]
    TakesNoToken {
        /// The device's name.
        device: String,
    },
    /// The device or its group is open in this process, and not linked to this virtual machine.
    #[error(
        "{device} is already open in this process without this virtual machine: link it when it is \
         opened first"
    )]
    OtherVm {
        /// The device's name.
        device: String,
    },
    /// Another member of the group is in the hands of the host.
    #[error("group {group} is not viable: {}", viability_advice(members))]
    NotViable {
        /// The group.
        group: u32,
        /// All its members.
        members: Vec<Member>,
        /// What the kernel said to binding the device; `None` when the status of the group told.
        source: Option<io::Error>,
    },
    /// Another device of its group is in the hands of another program, or of another [`Vfio`](super::Vfio),
    /// by an iommufd that is not this one.
    #[error(
        "cannot open {device}: its group {group} has one owner at a time, and {holders}; close it there, or \
         open all devices of the group through one `Vfio`"
    )]
    OtherOwner {
        /// The device's name.
        device: String,
        /// Its group.
        group: u32,
        /// Who has devices of the group open.
        holders: Holders,
        /// What the kernel said.
        source: io::Error,
    },
    /// The group is open in this process with another container.
    #[error(
        "group {group} is already attached to another container of this process: open its devices \
         through one `Vfio`"
    )]
    OtherContainer {
        /// The group.
        group: u32,
    },
    /// The device is open in this process with another address space.
    #[error(
        "{device} is already attached to another address space of this process: open it through one \
         `Vfio`"
    )]
    OtherIoas {
        /// The device's name.
        device: String,
    },
    /// A step between opening the nodes and the device failed.
    #[error("cannot {step}{}", step.advice(source))]
    Step {
        /// The step.
        step: OpenStep,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel speaks another version of VFIO.
    #[error(
        "this kernel speaks version {found} of the VFIO interface, which is not known: update this program"
    )]
    ApiVersion {
        /// The version it answered.
        found: i32,
    },
    /// The kernel has no type 1 version 2 IOMMU.
    #[error("this kernel offers no type 1 IOMMU to VFIO: modprobe vfio_iommu_type1")]
    NoType1,
    /// The device opened and cannot describe itself.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl OpenError {
    /// Adds what sysfs and `/proc` say of the node of a group that does not open.
    pub(super) fn explained(self, host: &Host, group: u32) -> Self {
        let Self::Node { node, source } = self else { return self };
        match errno(&source) {
            Some(Errno::BUSY) => {
                let holders = OpenFiles::read(host).holders_of_group(host, group);
                Self::Busy { node, holders, source }
            }
            Some(Errno::NOENT) => {
                let name = Path::new("class/vfio").join(node.file_name().unwrap_or_default());
                match DeviceNumber::in_sysfs(host, name) {
                    Some(number) => Self::NoNode { node, number: number.to_string(), source },
                    None => Self::Node { node, source },
                }
            }
            _ => Self::Node { node, source },
        }
    }
}

pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn node_advice(node: &Path, source: &io::Error) -> String {
    if let Some(advice) = kvm::node_advice(node, source) {
        return advice;
    }
    let is_container = node.ends_with("vfio/vfio");
    let is_iommufd = node.ends_with("iommu");
    let name = node.file_name().unwrap_or_default().to_string_lossy();
    match errno(source) {
        Some(Errno::ACCESS) if is_container => format!(
            "{}, which anybody may open on most machines; udevadm trigger /dev/vfio/vfio",
            ownership(node)
        ),
        Some(Errno::ACCESS) => format!(
            "{}; run as root, or let a udev rule give it to your group ({})",
            ownership(node),
            udev_rule(node)
        ),
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) if is_container => {
            ": modprobe vfio, or pass the node into this container (--device /dev/vfio/vfio)".into()
        }
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) if is_iommufd => {
            ": modprobe iommufd, or pass the node into this container (--device /dev/iommu)".into()
        }
        // A device's own node is looked for only where sysfs has it.
        Some(Errno::NOENT) if is_of_device(node) => format!(
            ": it is not there, though sysfs has it; pass --device {} to the container, or let udev \
             make it (udevadm trigger)",
            node.display()
        ),
        Some(Errno::NOENT) => {
            ": no kernel driver offers it yet, udev has not made the node, or this is a container \
             without it (--device /dev/vfio/...)"
                .into()
        }
        Some(Errno::BUSY) => ": another program has the group or its device open".into(),
        Some(Errno::PERM) if name.starts_with("noiommu-") => {
            ": a device without an IOMMU needs the capability CAP_SYS_RAWIO".into()
        }
        Some(Errno::PERM) => format!(
            ": the device cgroup of this container forbids it; pass --device {} to it",
            node.display()
        ),
        Some(Errno::NODEV | Errno::NXIO) => ": its device went away".into(),
        _ => String::new(),
    }
}

fn names(members: &[Member]) -> String {
    if members.is_empty() {
        return "no devices".into();
    }
    members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) fn ownership(node: &Path) -> String {
    rustix::fs::stat(node).map_or_else(
        |_| String::new(),
        |stat| {
            let mode = stat.st_mode & 0o7777;
            format!(" (owner {}:{}, mode {mode:04o})", stat.st_uid, stat.st_gid)
        },
    )
}

fn viability_advice(members: &[Member]) -> String {
    let mut in_the_way = members.iter().filter(|member| member.is_in_the_way()).peekable();
    if in_the_way.peek().is_none() {
        return "the kernel does not say which member is in the way, see `ls -l \
                /sys/kernel/iommu_groups/*/devices/*/driver`"
            .into();
    }
    let named: Vec<_> = in_the_way.map(Member::to_string).collect();
    format!("{}; bind to vfio-pci or unbind what is in the way", named.join(", "))
}

#[cfg(test)]
mod tests;
