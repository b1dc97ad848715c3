//! What sysfs says of a PCI function.

use std::path::{Path, PathBuf};

use vfio_common::bus::BusType as _;
use vfio_common::pci_config::PciIds;
use vfio_common::sysfs::{Dir, Host, SysfsError};

use crate::address::hex;
use crate::{Address, Pci, Reach};

/// The identity of a PCI function, read from sysfs when it was scanned. No descriptor is behind it, and
/// the function is not woken if it sleeps. What is `None` was not there, or not as the kernel writes it
/// (`Documentation/ABI/testing/sysfs-bus-pci`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciInfo {
    /// Where it is.
    pub address: Address,
    /// Vendor.
    pub vendor: Option<u16>,
    /// Device, within the vendor's numbers.
    pub device: Option<u16>,
    /// Vendor of the subsystem; 0 if there is none.
    pub subsystem_vendor: Option<u16>,
    /// Subsystem, within its vendor's numbers; 0 if there is none.
    pub subsystem_device: Option<u16>,
    /// Base class, subclass and programming interface, 24 bits.
    pub class: Option<u32>,
    /// Revision.
    pub revision: Option<u8>,
    /// The NUMA node it is nearest to; `None` also when the kernel does not know.
    pub numa_node: Option<u32>,
    /// Its IOMMU group, by number. `None` when the IOMMU is off.
    pub iommu_group: Option<u32>,
    /// The kernel driver that is bound to it.
    pub kernel_driver: Option<String>,
    /// Whether that driver offers it through VFIO, whatever its name is.
    pub offered: bool,
    /// What it is in SR-IOV, if it takes part.
    pub sriov: Option<Sriov>,
    /// The only kernel driver that may bind it from now on.
    pub driver_override: Option<String>,
}

/// What a function is in SR-IOV (`Documentation/PCI/pci-iov-howto.rst` of the kernel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sriov {
    /// A physical function, which can be split.
    Physical {
        /// How many virtual functions it can have.
        total: u32,
        /// How many it had when it was read.
        current: u32,
    },
    /// A virtual function.
    Virtual {
        /// The physical function that it is a part of.
        physical: Address,
    },
}

impl PciInfo {
    /// Its directory, below the root of sysfs.
    #[must_use]
    pub fn sysfs_path(&self) -> PathBuf {
        Path::new(crate::bus::DEVICES).join(self.address.to_string())
    }

    /// The name of its VFIO character device, as in `/dev/vfio/devices/<name>`; `None` on kernels
    /// before 6.1 and when no kernel driver of VFIO is bound. The name is there also on kernels that
    /// are built without the character device.
    ///
    /// # Errors
    /// [`SysfsError`] when its directory is there and cannot be read.
    pub fn vfio_dev(&self, host: &Host) -> Result<Option<String>, SysfsError> {
        Pci::target(self).vfio_dev(host)
    }

    /// What drivers are matched by; `None` unless vendor, device and class are known.
    #[must_use]
    pub fn ids(&self) -> Option<PciIds> {
        Some(PciIds {
            vendor: self.vendor?,
            device: self.device?,
            subsystem_vendor: self.subsystem_vendor.unwrap_or(0),
            subsystem_device: self.subsystem_device.unwrap_or(0),
            class: self.class?,
            revision: self.revision.unwrap_or(0),
        })
    }

    /// 16 system calls, or one less without a kernel driver.
    pub(crate) fn read(
        reach: &mut Reach,
        devices: &Dir,
        address: Address,
    ) -> Result<Option<Self>, SysfsError> {
        let name = address.to_string();
        let name = Path::new(&name);
        // One attribute has most of it, and does not wake the function as `config` does.
        let Some(uevent) = devices.read(name.join("uevent"))? else { return Ok(None) };
        let Uevent { kernel_driver, class, id, subsystem } = Uevent::parse(&uevent);
        let iommu_group = devices.link_name(name.join("iommu_group"))?;
        let iommu_group = iommu_group.and_then(|group| group.parse().ok());
        let offered = kernel_driver.is_some() && reach.offers(devices, name, iommu_group)?;
        let text = |attribute| text(devices, name, attribute);
        let revision = text("revision")
            .and_then(|text| u8::try_from(hex(text.strip_prefix("0x")?, 1..=2)?).ok());
        Ok(Some(Self {
            address,
            vendor: id.map(|(vendor, _)| vendor),
            device: id.map(|(_, device)| device),
            subsystem_vendor: subsystem.map(|(vendor, _)| vendor),
            subsystem_device: subsystem.map(|(_, device)| device),
            class,
            revision,
            // -1 stands for no node.
            numa_node: text("numa_node").and_then(|text| text.parse().ok()),
            iommu_group,
            kernel_driver,
            offered,
            sriov: Sriov::read(devices, name)?,
            // What the kernel's printf makes of a null pointer.
            driver_override: text("driver_override").filter(|name| name != "(null)"),
        }))
    }
}

impl Sriov {
    fn read(devices: &Dir, name: &Path) -> Result<Option<Self>, SysfsError> {
        if let Some(physical) = devices.link_name(name.join("physfn"))? {
            return Ok(physical.parse().ok().map(|physical| Self::Virtual { physical }));
        }
        let number = |attribute| text(devices, name, attribute)?.parse().ok();
        let Some(total) = number("sriov_totalvfs") else { return Ok(None) };
        Ok(Some(Self::Physical { total, current: number("sriov_numvfs").unwrap_or(0) }))
    }
}

/// What is of interest in a function's `uevent` (`pci_uevent` and `dev_uevent` of the kernel).
#[derive(Debug, Default)]
struct Uevent {
    kernel_driver: Option<String>,
    class: Option<u32>,
    id: Option<(u16, u16)>,
    subsystem: Option<(u16, u16)>,
}

impl Uevent {
    fn parse(text: &str) -> Self {
        let mut uevent = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "DRIVER" => uevent.kernel_driver = Some(value.to_owned()),
                "PCI_CLASS" => {
                    uevent.class = hex(value, 1..=6).and_then(|class| u32::try_from(class).ok());
                }
                "PCI_ID" => uevent.id = pair(value),
                "PCI_SUBSYS_ID" => uevent.subsystem = pair(value),
                _ => {}
            }
        }
        uevent
    }
}

/// Two ids, as `1AF4:1100`.
fn pair(text: &str) -> Option<(u16, u16)> {
    let id = |text| u16::try_from(hex(text, 1..=4)?).ok();
    let (vendor, device) = text.split_once(':')?;
    Some((id(vendor)?, id(device)?))
}

/// An attribute that says nothing when it is empty or cannot be read: one that fails must not hide the
/// function.
fn text(devices: &Dir, name: &Path, attribute: &str) -> Option<String> {
    match devices.read(name.join(attribute)) {
        Ok(text) => text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
        Err(error) => {
            tracing::debug!(%error, "an attribute is left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uevent_is_read_as_the_kernel_writes_it() {
        let uevent = Uevent::parse(
            "DRIVER=nvme\nPCI_CLASS=10802\nPCI_ID=144D:A808\nPCI_SUBSYS_ID=144D:A801\n\
             PCI_SLOT_NAME=0000:01:00.0\nMODALIAS=pci:v0000144Dd0000A808sv0000144Dsd0000A801",
        );
        assert_eq!(uevent.kernel_driver.as_deref(), Some("nvme"));
        assert_eq!(uevent.class, Some(0x01_0802));
        assert_eq!(uevent.id, Some((0x144d, 0xa808)));
        assert_eq!(uevent.subsystem, Some((0x144d, 0xa801)));
    }

    #[test]
    fn a_line_that_is_not_as_the_kernel_writes_it_costs_no_more_than_itself() {
        for wrong in ["", "PCI_ID", "PCI_ID=", "PCI_ID=8086", "PCI_ID=+086:1", "PCI_ID=80860:1"] {
            let uevent = Uevent::parse(&format!("{wrong}\nPCI_CLASS=0\nDRIVER=a=b"));
            assert_eq!((uevent.id, uevent.class), (None, Some(0)), "{wrong:?}");
            assert_eq!(uevent.kernel_driver.as_deref(), Some("a=b"));
        }
        assert_eq!(Uevent::parse("PCI_CLASS=1000000").class, None);
    }
}
