//! PCI functions: how they come and go, and how kernel drivers bind them.

use std::path::{Path, PathBuf};

use super::vfio::Group;
use super::{State, Tree, TreeError};

const DEVICES: &str = "bus/pci/devices";
const DRIVERS: &str = "bus/pci/drivers";

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
    address: String,
    id: (u16, u16),
    subsystem: (u16, u16),
    class: u32,
    revision: u8,
    numa_node: i32,
    place: Place,
    group: Group,
    kernel_driver: Option<KernelDriver>,
    cdev: Option<(u32, u32)>,
    virtual_functions: Option<u32>,
}

#[derive(Debug, Clone)]
enum Place {
    /// On a bus of the machine itself.
    Root,
    /// Behind a bridge.
    Behind(String),
    /// Beside its physical function.
    VirtualOf(String),
}

#[derive(Debug, Clone)]
struct KernelDriver {
    name: String,
    /// Whether it offers the function through VFIO.
    offers: bool,
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

    fn modalias(&self) -> String {
        let ((vendor, device), (subsystem_vendor, subsystem)) = (self.id, self.subsystem);
        let [_, base, sub, interface] = self.class.to_be_bytes();
        format!(
            "pci:v{vendor:08X}d{device:08X}sv{subsystem_vendor:08X}sd{subsystem:08X}\
             bc{base:02X}sc{sub:02X}i{interface:02X}"
        )
    }

    fn uevent(&self, driver: Option<&str>) -> String {
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

/// What a tree remembers of a function.
#[derive(Debug)]
pub(super) struct PlacedFunction {
    function: PciFunction,
    dir: PathBuf,
    group: Option<u32>,
    /// The entry with the kernel driver that is bound.
    of_driver: Option<PathBuf>,
    vfio_dev: Option<u32>,
    /// The link in its physical function that leads to it.
    virtfn: Option<PathBuf>,
}

impl Tree {
    /// Adds a function, and the PCI bus if it was absent, in the order in which the kernel does: who
    /// looks meanwhile sees it without group or driver.
    ///
    /// # Errors
    /// [`TreeError`], with `ENOENT` when there is no such bridge or physical function, with `EEXIST`
    /// when there is such a function.
    pub fn add_function(&self, function: &PciFunction) -> Result<(), TreeError> {
        let mut state = self.state();
        let dir = dir_of(&state, function)?;
        if state.functions.contains_key(&function.address) {
            return Err(TreeError::exists("create", dir));
        }
        self.add_pci_bus()?;
        if let Some(parent) = dir.parent() {
            self.files.dirs(parent)?;
        }
        self.files.new_dir(&dir)?;
        self.add_attributes(function, &dir)?;
        self.files.link_to(dir.join("subsystem"), "bus/pci")?;
        let virtfn = match &function.place {
            Place::VirtualOf(physical) => Some(self.add_to_physical(&state, physical, &dir)?),
            _ => None,
        };
        self.files.link_to(bus_entry(&function.address), &dir)?;
        let group = self.join_group(&mut state, function.group, &function.address, &dir)?;
        let (of_driver, vfio_dev) = (None, None);
        let function = function.clone();
        let mut placed = PlacedFunction { function, dir, group, of_driver, vfio_dev, virtfn };
        let bound = match placed.function.kernel_driver.clone() {
            Some(driver) => self.bind(&mut state, &mut placed, &driver),
            None => Ok(()),
        };
        state.functions.insert(placed.function.address.clone(), placed);
        bound
    }

    fn add_pci_bus(&self) -> Result<(), TreeError> {
        if self.sysfs().join(DEVICES).exists() {
            return Ok(());
        }
        self.files.dirs(DEVICES)?;
        self.files.dirs(DRIVERS)?;
        self.files.attribute("bus/pci/drivers_probe", 0o200, "")
    }

    fn add_attributes(&self, function: &PciFunction, dir: &Path) -> Result<(), TreeError> {
        let ((vendor, device), (subsystem_vendor, subsystem)) = (function.id, function.subsystem);
        self.files.attribute(dir.join("uevent"), 0o644, &function.uevent(None))?;
        for (name, text) in [
            ("vendor", format!("{vendor:#06x}\n")),
            ("device", format!("{device:#06x}\n")),
            ("subsystem_vendor", format!("{subsystem_vendor:#06x}\n")),
            ("subsystem_device", format!("{subsystem:#06x}\n")),
            ("class", format!("{:#08x}\n", function.class)),
            ("revision", format!("{:#04x}\n", function.revision)),
            ("modalias", function.modalias() + "\n"),
        ] {
            self.files.constant(dir.join(name), &text)?;
        }
        let numa_node = format!("{}\n", function.numa_node);
        self.files.attribute(dir.join("numa_node"), 0o644, &numa_node)?;
        self.files.attribute(dir.join("driver_override"), 0o644, "(null)\n")?;
        if let Some(total) = function.virtual_functions {
            self.files.constant(dir.join("sriov_totalvfs"), &format!("{total}\n"))?;
            self.files.attribute(dir.join("sriov_numvfs"), 0o644, "0\n")?;
        }
        Ok(())
    }

    /// Links a virtual function with its physical one, which counts it.
    fn add_to_physical(
        &self,
        state: &State,
        physical: &str,
        dir: &Path,
    ) -> Result<PathBuf, TreeError> {
        let physical = dir.with_file_name(physical);
        self.files.link_to(dir.join("physfn"), &physical)?;
        let mut links = (0..).map(|number: usize| physical.join(format!("virtfn{number}")));
        let is_free = |link: &PathBuf| !self.sysfs().join(link).exists();
        // There are no more links than functions.
        let link = links.by_ref().take(state.functions.len().saturating_add(1)).find(is_free);
        let link = link.ok_or_else(|| TreeError::missing("link", &physical))?;
        self.files.link_to(&link, dir)?;
        self.count_virtual(&physical)?;
        Ok(link)
    }

    fn count_virtual(&self, physical: &Path) -> Result<(), TreeError> {
        let entries = std::fs::read_dir(self.sysfs().join(physical));
        let entries = entries.map_err(|source| TreeError::new("list", physical, source))?;
        let is_virtfn = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("virtfn");
        let count = entries.flatten().filter(|entry| is_virtfn(&entry.file_name())).count();
        self.files.replace(&physical.join("sriov_numvfs"), format!("{count}\n").as_bytes())
    }

    /// Binds a function to this driver of the host, in place of the one that it is bound to.
    ///
    /// # Errors
    /// [`TreeError`], with `ENOENT` when there is no such function.
    pub fn bind_function(&self, address: &str, driver: &str) -> Result<(), TreeError> {
        self.rebind(address, Some(KernelDriver { name: driver.to_owned(), offers: false }))
    }

    /// Binds a function to this driver, which offers it through VFIO, in place of the one that it is
    /// bound to.
    ///
    /// # Errors
    /// As [`Tree::bind_function`].
    pub fn bind_function_to_vfio(&self, address: &str, driver: &str) -> Result<(), TreeError> {
        self.rebind(address, Some(KernelDriver { name: driver.to_owned(), offers: true }))
    }

    /// Leaves a function without kernel driver.
    ///
    /// # Errors
    /// As [`Tree::bind_function`].
    pub fn unbind_function(&self, address: &str) -> Result<(), TreeError> {
        self.rebind(address, None)
    }

    fn rebind(&self, address: &str, driver: Option<KernelDriver>) -> Result<(), TreeError> {
        let mut state = self.state();
        let placed = state.functions.remove(address);
        let mut placed = placed.ok_or_else(|| TreeError::missing("bind", bus_entry(address)))?;
        let bound = self.unbind(&mut state, &mut placed).and_then(|()| match driver {
            Some(driver) => self.bind(&mut state, &mut placed, &driver),
            None => Ok(()),
        });
        state.functions.insert(address.to_owned(), placed);
        bound
    }

    fn bind(
        &self,
        state: &mut State,
        placed: &mut PlacedFunction,
        driver: &KernelDriver,
    ) -> Result<(), TreeError> {
        let PlacedFunction { function, dir, .. } = &*placed;
        let KernelDriver { name, offers } = driver;
        let place = Path::new(DRIVERS).join(name);
        if !self.sysfs().join(&place).exists() {
            self.files.dirs(&place)?;
            for attribute in ["bind", "unbind", "new_id", "remove_id"] {
                self.files.attribute(place.join(attribute), 0o200, "")?;
            }
        }
        let entry = place.join(&function.address);
        self.files.link_to(&entry, dir)?;
        self.files.link_to(dir.join("driver"), place)?;
        self.files.replace(&dir.join("uevent"), function.uevent(Some(name)).as_bytes())?;
        let (dir, cdev) = (dir.clone(), function.cdev);
        placed.of_driver = Some(entry);
        if *offers {
            placed.vfio_dev = Some(self.add_vfio_dev(state, &dir, cdev)?);
            placed.group.map_or(Ok(()), |group| self.add_group_node(state, group))?;
        }
        Ok(())
    }

    fn unbind(&self, state: &mut State, placed: &mut PlacedFunction) -> Result<(), TreeError> {
        let Some(entry) = placed.of_driver.take() else { return Ok(()) };
        let PlacedFunction { function, dir, group, vfio_dev, .. } = placed;
        self.files.remove(entry)?;
        self.files.remove(dir.join("driver"))?;
        if let Some(number) = vfio_dev.take() {
            self.remove_vfio_dev(state, number, dir)?;
            group.map_or(Ok(()), |group| self.remove_group_node(state, group))?;
        }
        self.files.replace(&dir.join("uevent"), function.uevent(None).as_bytes())
    }

    /// Whether a function is offered through VFIO.
    pub(crate) fn offers(&self, address: &str) -> bool {
        self.state().functions.get(address).is_some_and(|placed| placed.vfio_dev.is_some())
    }

    /// Removes a function, wholly. What is behind a bridge is removed before it.
    ///
    /// # Errors
    /// [`TreeError`], with `ENOENT` when there is no such function.
    pub fn remove_function(&self, address: &str) -> Result<(), TreeError> {
        self.unbind_function(address)?;
        let mut state = self.state();
        let placed = state.functions.remove(address);
        let placed = placed.ok_or_else(|| TreeError::missing("remove", bus_entry(address)))?;
        if let Some(number) = placed.group {
            self.leave_group(&mut state, number, address, &placed.dir)?;
        }
        self.files.retire(bus_entry(address))?;
        if let Some(virtfn) = &placed.virtfn {
            self.files.remove(virtfn)?;
            virtfn.parent().map_or(Ok(()), |physical| self.count_virtual(physical))?;
        }
        self.files.remove(placed.dir)
    }
}

fn dir_of(state: &State, function: &PciFunction) -> Result<PathBuf, TreeError> {
    let address = &function.address;
    let placed = |other: &str| {
        let placed = state.functions.get(other).map(|placed| &placed.dir);
        placed.ok_or_else(|| TreeError::missing("open", bus_entry(other)))
    };
    match &function.place {
        Place::Root => {
            // A root is named by its domain and its bus.
            let root = address.rsplit_once(':').map_or(address.as_str(), |(root, _)| root);
            Ok(Path::new("devices").join(format!("pci{root}")).join(address))
        }
        Place::Behind(bridge) => Ok(placed(bridge)?.join(address)),
        Place::VirtualOf(physical) => Ok(placed(physical)?.with_file_name(address)),
    }
}

fn bus_entry(address: &str) -> PathBuf {
    Path::new(DEVICES).join(address)
}
