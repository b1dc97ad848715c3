//! The steps on the way to a device, and what to do when one fails.

use std::fmt;
use std::io;

use rustix::io::Errno;

use super::errno;
use crate::route::kvm;

/// A step on the way from the nodes to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenStep {
    /// `VFIO_GET_API_VERSION`, `VFIO_CHECK_EXTENSION`.
    AskContainer,
    /// `VFIO_GROUP_GET_STATUS`.
    AskGroup {
        /// The group.
        group: u32,
    },
    /// `VFIO_GROUP_SET_CONTAINER`.
    SetContainer {
        /// The group.
        group: u32,
    },
    /// `VFIO_SET_IOMMU`.
    SetIommu {
        /// The group.
        group: u32,
    },
    /// `VFIO_GROUP_SET_CONTAINER` and `VFIO_SET_IOMMU` for a group without an IOMMU.
    AttachNoIommu {
        /// The group.
        group: u32,
    },
    /// `KVM_GET_API_VERSION`, `KVM_CREATE_VM`.
    CreateVm,
    /// `KVM_CREATE_DEVICE`.
    CreateKvmDevice,
    /// `KVM_DEV_VFIO_FILE_ADD`.
    LinkKvm {
        /// The device's name.
        device: String,
    },
    /// `IOMMU_IOAS_ALLOC`.
    AllocateIoas,
    /// `VFIO_DEVICE_BIND_IOMMUFD`.
    BindIommufd {
        /// The device's name.
        device: String,
    },
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
    AttachIoas {
        /// The device's name.
        device: String,
    },
    /// `VFIO_GROUP_GET_DEVICE_FD`.
    GetDevice {
        /// The device's name.
        device: String,
        /// Its group.
        group: u32,
    },
}

impl fmt::Display for OpenStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AskContainer => write!(f, "ask the container what it can do"),
            Self::AskGroup { group } => write!(f, "read the status of group {group}"),
            Self::SetContainer { group } => write!(f, "attach group {group} to a container"),
            Self::SetIommu { group } => {
                write!(f, "set the IOMMU of the container of group {group} to type 1 version 2")
            }
            Self::AttachNoIommu { group } => {
                write!(f, "attach group {group}, which has no IOMMU, to a container")
            }
            Self::CreateVm => write!(f, "make a KVM virtual machine"),
            Self::CreateKvmDevice => write!(f, "make the VFIO device of a KVM virtual machine"),
            Self::LinkKvm { device } => write!(f, "link {device} to a KVM virtual machine"),
            Self::AllocateIoas => write!(f, "make an I/O address space"),
            Self::BindIommufd { device } => write!(f, "bind {device} to an iommufd"),
            Self::AttachIoas { device } => write!(f, "attach {device} to an I/O address space"),
            Self::GetDevice { device, group } => write!(f, "get {device} from group {group}"),
        }
    }
}

impl OpenStep {
    pub(super) fn advice(&self, source: &io::Error) -> &'static str {
        match (self, errno(source)) {
            (Self::AskContainer | Self::AskGroup { .. }, Some(Errno::NOTTY)) => {
                ": the node is not one of VFIO"
            }
            (Self::SetContainer { .. }, Some(Errno::INVAL)) => {
                ": memory may be mapped at addresses that its devices do not reach, such as those of \
                 interrupts, so unmap it or open them first; or firmware may demand a fixed IOMMU mapping \
                 for it, see the kernel log (dmesg)"
            }
            (Self::SetContainer { .. }, Some(Errno::PERM)) => {
                ": another member of the group was bound to a driver of the host meanwhile, or the \
                 container has groups with and without an IOMMU, which do not mix"
            }
            (Self::SetContainer { .. }, Some(Errno::BADFD))
            | (Self::SetIommu { .. }, Some(Errno::INVAL)) => {
                ": this is a defect of this program, report it"
            }
            (Self::SetIommu { .. }, Some(Errno::PERM)) => {
                ": the machine has no interrupt remapping, so the device could send any interrupt; \
                 enable it in the firmware (VT-d, AMD-Vi), or switch \
                 vfio_iommu_type1.allow_unsafe_interrupts on if you trust the device"
            }
            (Self::SetIommu { .. }, Some(Errno::NODEV)) => ": modprobe vfio_iommu_type1",
            (Self::AttachNoIommu { .. }, Some(Errno::PERM)) => {
                ": it needs the capability CAP_SYS_RAWIO"
            }
            (Self::BindIommufd { .. }, Some(Errno::BUSY)) => {
                ": another program has it or its group open"
            }
            (Self::BindIommufd { .. } | Self::GetDevice { .. }, Some(Errno::INVAL)) => {
                ": its kernel driver refuses it, see the kernel log (dmesg)"
            }
            (Self::BindIommufd { .. }, Some(Errno::NODEV)) => ": it went away, or is going away",
            (Self::BindIommufd { .. }, Some(Errno::PERM)) => {
                ": the machine has no interrupt remapping, so the device could send any interrupt; \
                 enable it in the firmware (VT-d, AMD-Vi), or switch iommufd.allow_unsafe_interrupts \
                 on if you trust the device"
            }
            (Self::BindIommufd { .. }, Some(Errno::IO)) => {
                ": its kernel driver failed, see the kernel log (dmesg)"
            }
            (Self::AttachIoas { .. }, Some(Errno::BUSY)) => ": it is being reset, try again",
            (Self::AttachIoas { .. }, Some(Errno::ADDRINUSE)) => {
                ": memory is mapped at addresses that it does not reach, such as those of interrupts: \
                 unmap it, or open the device first"
            }
            (Self::GetDevice { .. }, Some(Errno::IO)) => {
                ": its kernel driver failed, see the kernel log (dmesg)"
            }
            (Self::GetDevice { .. }, Some(Errno::BUSY | Errno::EXIST)) => {
                ": another program has it open"
            }
            _ => kvm::step_advice(self, source),
        }
    }
}
