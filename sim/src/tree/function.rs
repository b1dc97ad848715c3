//! What a PCI function is.

use vfio_common::pci_config::PciIds;

use super::vfio::Group;

/// A PCI function in a mock tree. What is said of it is not checked.
///
/// ```
/// use vfio_sim::tree::{PciFunction, Tree};
///
/// let tree = Tree::new()?;
/// let bridge = PciFunction::new("0000:3a:00.0", 0x8086, 0x2030).class(0x06_0400);
/// tree.add_function(&bridge.kernel_driver("pcieport").numa_node(0))?;
/// let adapter = PciFunction::new("0000:3b:00.0", 0x15b3, 0x101d).class(0x02_0000).numa_node(0);
/// tree.add_function(&adapter.behind("0000:3a:00.0").virtual_functions(8).kernel_driver("mlx5_core"))?;
/// let part = PciFunction::new("0000:3b:00.2", 0x15b3, 0x101e).class(0x02_0000).numa_node(0);
/// tree.add_function(&part.virtual_of("0000:3b:00.0").vfio_driver("mlx5_vfio_pci"))?;
///
/// let devices = tree.host().sysfs_dir("bus/pci/devices")?.ok_or("no PCI bus")?;
/// assert_eq!(devices.link_name("0000:3b:00.2/physfn")?.as_deref(), Some("0000:3b:00.0"));
/// assert_eq!(devices.read("0000:3b:00.0/sriov_numvfs")?.as_deref(), Some("1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PciFunction {
    pub(super) address: String,
    pub(super) id: (u16, u16),
    pub(super) subsystem: (u16, u16),
    pub(super) class: u32,
    pub(super) revision: u8,
    pub(super) numa_node: i32,
    pub(super) place: Place,
    pub(super) group: Group,
    pub(super) kernel_driver: Option<KernelDriver>,
    pub(super) cdev: Option<(u32, u32)>,
    pub(super) virtual_functions: Option<u32>,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    /// On a bus of the machine itself.
    Root,
    /// Behind a bridge.
    Behind(String),
    /// Beside its physical function.
    VirtualOf(String),
}

#[derive(Debug, Clone)]
pub(super) struct KernelDriver {
    pub(super) name: String,
    /// Whether it offers the function through VFIO.
    pub(super) offers: bool,
}

impl PciFunction {
    /// A function on a bus of the machine itself, by its address as the kernel writes it, without
    /// kernel driver, alone in the lowest free group.
    pub fn new(address: impl Into<String>, vendor: u16, device: u16) -> Self {
        Self {
            address: address.into(),
            id: (vendor, device),
            subsystem: (0, 0),
            class: 0xff_0000,
            revision: 0,
            numa_node: -1,
            place: Place::Root,
            group: Group::Lowest,
            kernel_driver: None,
            cdev: None,
            virtual_functions: None,
        }
    }

    /// As [`PciFunction::new`], with all its ids.
    pub fn with_ids(address: impl Into<String>, ids: PciIds) -> Self {
        let PciIds { vendor, device, subsystem_vendor, subsystem_device, class, revision } = ids;
        Self::new(address, vendor, device)
            .subsystem(subsystem_vendor, subsystem_device)
            .class(class)
            .revision(revision)
    }

    /// Base class, subclass and programming interface, 24 bits; 0xff0000, which means none of those
    /// that have a number, if this is not called.
    #[must_use]
    pub fn class(mut self, class: u32) -> Self {
        self.class = class;
        self
    }

    /// Its revision; 0 if this is not called.
    #[must_use]
    pub fn revision(mut self, revision: u8) -> Self {
        self.revision = revision;
        self
    }

    /// Its subsystem; 0, which means none, if this is not called.
    #[must_use]
    pub fn subsystem(mut self, vendor: u16, device: u16) -> Self {
        self.subsystem = (vendor, device);
        self
    }

    /// Its NUMA node; -1, which means none, if this is not called.
    #[must_use]
    pub fn numa_node(mut self, node: i32) -> Self {
        self.numa_node = node;
        self
    }

    /// Places it behind a bridge, by its address, that was added before.
    #[must_use]
    pub fn behind(mut self, bridge: impl Into<String>) -> Self {
        self.place = Place::Behind(bridge.into());
        self
    }

    /// Makes it a virtual function of a function that was added before.
    #[must_use]
    pub fn virtual_of(mut self, physical: impl Into<String>) -> Self {
        self.place = Place::VirtualOf(physical.into());
        self
    }

    /// Lets it have this many virtual functions.
    #[must_use]
    pub fn virtual_functions(mut self, total: u32) -> Self {
        self.virtual_functions = Some(total);
        self
    }

    /// Puts it in this IOMMU group, which other devices may be in.
    #[must_use]
    pub fn group(mut self, number: u32) -> Self {
        self.group = Group::Number(number);
        self
    }

    /// Leaves it without IOMMU group, as where there is no IOMMU.
    #[must_use]
    pub fn without_group(mut self) -> Self {
        self.group = Group::None;
        self
    }

    /// Binds it to this driver of the host.
    #[must_use]
    pub fn kernel_driver(mut self, name: impl Into<String>) -> Self {
        self.kernel_driver = Some(KernelDriver { name: name.into(), offers: false });
        self
    }

    /// Binds it to this driver, which offers it through VFIO: `vfio-pci` or a variant of it.
    #[must_use]
    pub fn vfio_driver(mut self, name: impl Into<String>) -> Self {
        self.kernel_driver = Some(KernelDriver { name: name.into(), offers: true });
        self
    }

    /// Gives it a VFIO character device with this number whenever it is offered through VFIO, as
    /// kernels with `CONFIG_VFIO_DEVICE_CDEV` do.
    #[must_use]
    pub fn with_cdev(mut self, major: u32, minor: u32) -> Self {
        self.cdev = Some((major, minor));
        self
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn modalias(&self) -> String {
        let ((vendor, device), (subsystem_vendor, subsystem)) = (self.id, self.subsystem);
        let [_, base, sub, interface] = self.class.to_be_bytes();
        format!(
            "pci:v{vendor:08X}d{device:08X}sv{subsystem_vendor:08X}sd{subsystem:08X}\
             bc{base:02X}sc{sub:02X}i{interface:02X}"
        )
    }

    pub(super) fn uevent(&self, driver: Option<&str>) -> String {
        let driver = driver.map_or_else(String::new, |driver| format!("DRIVER={driver}\n"));
        let ((vendor, device), (subsystem_vendor, subsystem)) = (self.id, self.subsystem);
        let Self { address, class, .. } = self;
        let modalias = self.modalias();
        format!(
            "{driver}PCI_CLASS={class:04X}\nPCI_ID={vendor:04X}:{device:04X}\n\
             PCI_SUBSYS_ID={subsystem_vendor:04X}:{subsystem:04X}\nPCI_SLOT_NAME={address}\n\
             MODALIAS={modalias}\n"
        )
    }
}
