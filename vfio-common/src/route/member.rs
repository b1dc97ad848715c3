//! The devices of an IOMMU group, which are let in or kept out together.

use std::fmt;
use std::path::Path;

use crate::sysfs::{Host, SysfsError};

/// A device in an IOMMU group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name on its bus.
    pub name: String,
    /// The kernel driver that is bound to it.
    pub driver: Option<String>,
    /// Whether that driver offers it through VFIO, as far as sysfs shows (`vfio-dev`, from Linux 6.1).
    pub offered: bool,
}

impl Member {
    /// The members of a group.
    ///
    /// # Errors
    /// [`SysfsError`] when the group's directory cannot be read. Members that vanish are left out.
    pub fn of_group(host: &Host, group: u32) -> Result<Vec<Self>, SysfsError> {
        let path = Path::new("kernel/iommu_groups").join(group.to_string()).join("devices");
        let Some(dir) = host.sysfs_dir(path)? else { return Ok(Vec::new()) };
        let mut members = Vec::new();
        for entry in dir.entries()? {
            let member = Path::new(&entry.name);
            // One member that cannot be read must not hide the others.
            let driver = dir.link_name(member.join("driver")).ok().flatten();
            let offered = dir.inode(member.join("vfio-dev")).ok().flatten().is_some();
            members.push(Self { name: entry.name.to_string_lossy().into_owned(), driver, offered });
        }
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(members)
    }

    /// Whether this member keeps its group from being viable. Unbound members, members bound to a
    /// driver of VFIO, and bridges do not (`vfio_dev_viable` and its successor in the kernel, which
    /// look whether the driver does DMA of its own).
    #[must_use]
    pub fn is_in_the_way(&self) -> bool {
        match self.driver.as_deref() {
            None | Some("pci-stub" | "pcieport") => false,
            Some(driver) => !(self.offered || is_of_vfio(driver)),
        }
    }
}

/// Whether no group has an IOMMU behind it. VFIO makes groups for devices without, and calls them all
/// the same.
///
/// # Errors
/// [`SysfsError`] when the groups cannot be read.
pub(crate) fn is_iommu_off(host: &Host) -> Result<bool, SysfsError> {
    const MADE_BY_VFIO: &str = "vfio-noiommu";
    let Some(groups) = host.sysfs_dir("kernel/iommu_groups")? else { return Ok(true) };
    for group in groups.entries()? {
        let name = groups.read(Path::new(&group.name).join("name"))?;
        if name.is_none_or(|name| name.trim() != MADE_BY_VFIO) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a kernel driver is one of VFIO's, by its name. A driver of another name may offer devices
/// through VFIO all the same; from Linux 6.1 on these have a directory `vfio-dev` in sysfs.
#[must_use]
pub fn is_of_vfio(driver: &str) -> bool {
    driver.starts_with("vfio") || driver.ends_with("vfio_pci")
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.driver {
            Some(driver) => write!(f, "{} is bound to {driver}", self.name),
            None => write!(f, "{} is not bound", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Member;

    #[test]
    fn members_are_in_the_way_when_a_driver_of_the_host_uses_them() {
        let is_in_the_way = |driver: Option<&str>, offered| {
            let driver = driver.map(str::to_owned);
            Member { name: "0000:01:02.0".into(), driver, offered }.is_in_the_way()
        };
        for harmless in ["vfio-pci", "mlx5_vfio_pci", "vfio_ap", "pci-stub", "pcieport"] {
            assert!(!is_in_the_way(Some(harmless), false), "{harmless}");
        }
        assert!(!is_in_the_way(None, false));
        assert!(is_in_the_way(Some("nvme"), false));
        assert!(!is_in_the_way(Some("nvidia"), true), "it has a folder vfio-dev");
    }
}
