//! What a device is in SR-IOV, as sysfs has it (`Documentation/ABI/testing/sysfs-bus-pci`).

use super::{OpenError, Target, is_of_vfio};
use crate::sysfs::{Dir, Host, SysfsError};

/// What a device is in SR-IOV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Function {
    /// Neither of the others.
    Plain,
    /// A function that can have virtual functions.
    Physical,
    /// A virtual function.
    Virtual {
        /// The name of its physical function.
        of: String,
        /// Whether that is bound to a driver of VFIO.
        on_vfio: bool,
    },
}

impl Function {
    pub(super) fn of(host: &Host, target: &Target) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Sysfs { device: target.name.clone(), source };
        let no_device = || OpenError::NoDevice { device: target.name.clone() };
        let dir = host.sysfs_dir(&target.sysfs).map_err(failed)?.ok_or_else(no_device)?;
        Self::read(&dir).map_err(failed)
    }

    /// From the directory of the device.
    pub(crate) fn read(dir: &Dir) -> Result<Self, SysfsError> {
        if let Some(of) = dir.link_name("physfn")? {
            // Before Linux 6.1 there is no `vfio-dev`; then the driver's name tells.
            let driver = dir.link_name("physfn/driver")?;
            let on_vfio = driver.is_some_and(|driver| is_of_vfio(&driver))
                || dir.inode("physfn/vfio-dev")?.is_some();
            return Ok(Self::Virtual { of, on_vfio });
        }
        let is_physical = dir.inode("sriov_totalvfs")?.is_some();
        Ok(if is_physical { Self::Physical } else { Self::Plain })
    }

    /// Whether the kernel takes a VF token for it. For any other device one is an error.
    pub(super) fn takes_token(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Physical => true,
            Self::Virtual { on_vfio, .. } => *on_vfio,
        }
    }
}
