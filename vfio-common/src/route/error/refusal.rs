//! What a kernel driver refuses: the last step on either route, which the kernel answers with an error
//! number that means several things.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::{OpenError, OpenStep, errno};
use crate::holders::OpenFiles;
use crate::route::sriov::Function;
use crate::route::{Member, OpenWith, Target, kvm};
use crate::sysfs::Host;

/// What a device wants before it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// A KVM virtual machine that it is linked to.
    Kvm {
        /// Its kernel driver, if sysfs has one.
        driver: Option<String>,
        /// That is known; it may be something else otherwise.
        is_certain: bool,
    },
    /// The VF token that was set.
    VfToken {
        /// The physical function, whose token it is; `None` when it is this device itself.
        physical: Option<String>,
        /// A token was given, and is another.
        is_wrong: bool,
    },
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kvm { driver, is_certain } => {
                f.write_str("its kernel driver")?;
                if let Some(driver) = driver {
                    write!(f, " {driver}")?;
                }
                match is_certain {
                    true => f.write_str(
                        " wants a KVM virtual machine that it is linked to: give it one (`Vfio::kvm`)",
                    ),
                    false => f.write_str(
                        " refuses it: see the kernel log (dmesg); if it wants a KVM virtual machine, \
                         give it one (`Vfio::kvm`)",
                    ),
                }
            }
            Self::VfToken { physical: Some(physical), is_wrong: false } => write!(
                f,
                "it is a virtual function of {physical}, which is bound to vfio-pci: give the token \
                 that was set there (`Vfio::vf_token`, `mdevbus --vf-token`)"
            ),
            Self::VfToken { physical: Some(physical), is_wrong: true } => write!(
                f,
                "the VF token is not that of its physical function {physical}: get it from the \
                 program that set it there, or set it anew (`Device::set_vf_token`)"
            ),
            Self::VfToken { physical: None, is_wrong: false } => f.write_str(
                "its virtual functions are in use: give the token that they were opened with \
                 (`Vfio::vf_token`, `mdevbus --vf-token`)",
            ),
            Self::VfToken { physical: None, is_wrong: true } => f.write_str(
                "its virtual functions are in use, and the VF token is not the one that they were \
                 opened with",
            ),
        }
    }
}

impl OpenError {
    /// A device that could not be bound to an iommufd. One that is bound already is refused as invalid;
    /// whoever has its group open is in the way, too. This process must have closed it again.
    pub(in crate::route) fn bind(
        host: &Host,
        target: &Target,
        with: &OpenWith,
        node: PathBuf,
        source: io::Error,
    ) -> Self {
        let errno = errno(&source);
        let driver = driver(host, target);
        let wants_kvm = driver.as_deref().is_some_and(kvm::is_wanted_by) && with.kvm.is_none();
        if errno == Some(Errno::BUSY) || errno == Some(Errno::INVAL) && !wants_kvm {
            let files = OpenFiles::read(host);
            let holders = target.iommu_group(host).map(|group| files.holders_of_group(host, group));
            // Who has it bound is always seen, if the process can be looked into.
            if let Ok(holders) = holders
                && (errno == Some(Errno::BUSY)
                    || !holders.certain.is_empty()
                    || holders.unreadable > 0)
            {
                return Self::Busy { node, holders, source };
            }
        }
        if errno == Some(Errno::PERM)
            && let Ok(group) = target.iommu_group(host)
        {
            return Self::owned(host, target, group, source);
        }
        Self::refused(host, target, with, source, || OpenStep::BindIommufd {
            device: target.name.clone(),
        })
    }

    /// A device whose group has another owner, or that is let in only with interrupt remapping: the kernel
    /// says the same to both (`iommufd_device_bind`).
    fn owned(host: &Host, target: &Target, group: u32, source: io::Error) -> Self {
        let device = target.name.clone();
        let members = Member::of_group(host, group).unwrap_or_default();
        if members.iter().any(Member::is_in_the_way) {
            return Self::NotViable { group, members, source: Some(source) };
        }
        let holders = OpenFiles::read(host).holders_of_group(host, group);
        if holders.certain.is_empty() {
            return Self::Step { step: OpenStep::BindIommufd { device }, source };
        }
        Self::OtherOwner { device, group, holders, source }
    }

    /// A group that did not give out a device.
    pub(in crate::route) fn get_device(
        host: &Host,
        target: &Target,
        with: &OpenWith,
        group: u32,
        source: io::Error,
    ) -> Self {
        let device = target.name.clone();
        if errno(&source) == Some(Errno::NODEV) {
            let members = Member::of_group(host, group).unwrap_or_default();
            return Self::NotInGroup { device, group, members, source };
        }
        Self::refused(host, target, with, source, || OpenStep::GetDevice { device, group })
    }

    fn refused(
        host: &Host,
        target: &Target,
        with: &OpenWith,
        source: io::Error,
        step: impl FnOnce() -> OpenStep,
    ) -> Self {
        let needs = match errno(&source) {
            Some(Errno::SRCH | Errno::INVAL) if with.kvm.is_none() => {
                let driver = driver(host, target);
                let is_known = driver.as_deref().is_some_and(kvm::is_wanted_by);
                let is_certain = is_known || errno(&source) == Some(Errno::SRCH);
                Some(Need::Kvm { driver, is_certain })
            }
            Some(Errno::ACCESS) => {
                let is_wrong = with.vf_token.is_some();
                match Function::of(host, target) {
                    Ok(Function::Virtual { of, .. }) => {
                        Some(Need::VfToken { physical: Some(of), is_wrong })
                    }
                    Ok(Function::Physical) => Some(Need::VfToken { physical: None, is_wrong }),
                    _ => None,
                }
            }
            _ => None,
        };
        match needs {
            Some(needs) => Self::Needs { device: target.name.clone(), needs, source },
            None => Self::Step { step: step(), source },
        }
    }
}

/// The kernel driver of a device, as far as sysfs has it.
fn driver(host: &Host, target: &Target) -> Option<String> {
    host.sysfs_dir(&target.sysfs).ok().flatten()?.link_name("driver").ok().flatten()
}

#[cfg(test)]
mod tests;
