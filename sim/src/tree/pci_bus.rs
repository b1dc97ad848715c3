//! How PCI functions come and go, and how kernel drivers bind them.

use std::path::{Path, PathBuf};

use super::function::{KernelDriver, PciFunction, Place};
use super::numbers::Numbers;
use super::{State, Tree, TreeError};

const DEVICES: &str = "bus/pci/devices";
const DRIVERS: &str = "bus/pci/drivers";

/// What a tree remembers of a function.
#[derive(Debug)]
pub(super) struct PlacedFunction {
    function: PciFunction,
    dir: PathBuf,
    group: Option<u32>,
    /// The entry with the kernel driver that is bound.
    of_driver: Option<PathBuf>,
    vfio_dev: Option<u32>,
    /// What it is of a physical function.
    part: Option<Part>,
    /// Its own virtual functions.
    parts: Numbers,
}

/// A virtual function, as its physical function knows it.
#[derive(Debug)]
struct Part {
    physical: String,
    number: u32,
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
        let part = match &function.place {
            Place::VirtualOf(physical) => Some(self.add_to_physical(&mut state, physical, &dir)?),
            _ => None,
        };
        self.files.link_to(bus_entry(&function.address), &dir)?;
        let group = self.join_group(&mut state, function.group, &function.address, &dir)?;
        let (of_driver, vfio_dev, parts) = Default::default();
        let function = function.clone();
        let mut placed = PlacedFunction { function, dir, group, of_driver, vfio_dev, part, parts };
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
        state: &mut State,
        physical: &str,
        dir: &Path,
    ) -> Result<Part, TreeError> {
        let placed = state.functions.get_mut(physical);
        let whole = placed.ok_or_else(|| TreeError::missing("open", bus_entry(physical)))?;
        self.files.link_to(dir.join("physfn"), &whole.dir)?;
        let number = whole.parts.take();
        self.files.link_to(virtfn(&whole.dir, number), dir)?;
        self.count_parts(whole)?;
        Ok(Part { physical: physical.to_owned(), number })
    }

    fn take_from_physical(&self, state: &mut State, part: &Part) -> Result<(), TreeError> {
        let Some(whole) = state.functions.get_mut(&part.physical) else { return Ok(()) };
        whole.parts.give_back(part.number);
        self.files.remove(virtfn(&whole.dir, part.number))?;
        self.count_parts(whole)
    }

    fn count_parts(&self, whole: &PlacedFunction) -> Result<(), TreeError> {
        let count = format!("{}\n", whole.parts.in_use());
        self.files.replace(&whole.dir.join("sriov_numvfs"), count.as_bytes())
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
        if let Some(part) = &placed.part {
            self.take_from_physical(&mut state, part)?;
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

fn virtfn(physical: &Path, number: u32) -> PathBuf {
    physical.join(format!("virtfn{number}"))
}

fn bus_entry(address: &str) -> PathBuf {
    Path::new(DEVICES).join(address)
}
