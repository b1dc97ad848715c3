//! A machine in software: a mock tree with devices behind it.

mod builtin;
mod error;
mod open;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use vfio_common::iommu::{AddressSpace, Attach};
use vfio_common::route::Opener;
use vfio_common::sysfs::Host;

use self::builtin::{Builtin, Pool, Pools};
use crate::errno::failed;
use crate::fault::Faults;
use crate::iommu::SoftIommu;
use crate::model::Model;
use crate::pci::{Edu, Ivshmem, TestDevice};
use crate::soft_device::SoftDevice;
use crate::tree::{MdevDevice, PciFunction, Tree, TreeError};

pub use self::error::SimError;

/// A machine with mediated devices and PCI functions in software. Clones are handles to the same one;
/// its tree is removed when the last of them, its openers and its open devices is dropped.
///
/// PCI functions are plugged in with a model ([`Machine::plug`]). Mediated devices of these types it
/// creates by itself, with the parent if it is missing. Types that share a pool count the same instances,
/// as in the kernel.
///
/// | parent | type | pool | model |
/// |---|---|---|---|
/// | `mtty` | `mtty-1`, `mtty-2` | 24 ports | [`Mtty`](crate::mtty::Mtty) |
/// | `mdevtest` | `mdevtest-sparse` | 8 instances | [`Sparse`](crate::mdevtest::Sparse) |
/// | `mdevtest-soc` | `mdevtest-platform` | the same 8 | [`Platform`](crate::mdevtest::Platform) |
///
/// Devices come and go while others use them: all methods take `&self` and may be called from several
/// threads.
///
/// ```
/// use vfio_common::route::{Opener as _, Target};
/// use vfio_sim::Machine;
///
/// let machine = Machine::new()?;
/// let name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned();
/// let soft = machine.create(&name, "mdevtest", "mdevtest-sparse")?;
/// let sysfs = format!("bus/mdev/devices/{name}").into();
/// let device = machine.opener().open(&Target { name, sysfs })?;
/// assert_eq!(device.region(0)?.read32(0)?, 0x7370_6172);
/// assert_eq!((soft.counters().reads, machine.open_devices()), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Machine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tree: Tree,
    faults: Arc<Faults>,
    space: AddressSpace,
    attach: Attach,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    devices: BTreeMap<String, Entry>,
    pools: Pools,
}

#[derive(Debug)]
struct Entry {
    device: Arc<SoftDevice>,
    bus: BusKind,
    /// How often it is open.
    open: usize,
    /// It is being removed, and somebody still has it open.
    leaving: bool,
    /// What it took of a pool.
    taken: Option<(Pool, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BusKind {
    Mdev,
    Pci,
}

impl Machine {
    /// A machine with the mdev bus, without parents.
    ///
    /// # Errors
    /// [`SimError::Tree`] when the temporary directory cannot be made.
    pub fn new() -> Result<Self, SimError> {
        Ok(Self::with_tree(Tree::new()?))
    }

    /// A machine with this tree. What is in it already has no device behind it.
    #[must_use]
    pub fn with_tree(tree: Tree) -> Self {
        let faults = Arc::new(Faults::new());
        let iommu = SoftIommu::new(faults.clone());
        let (space, attach) = AddressSpace::with_devices(iommu);
        let shared = Shared { tree, faults, space, attach, state: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// A machine with a device of each type that it knows and three PCI functions, each in a group of its
    /// own.
    ///
    /// | UUID or address | type or model |
    /// |---|---|
    /// | `83b8f4f2-509f-382f-3c1e-e6bfe0fa1001` | `mtty-2` |
    /// | `83b8f4f2-509f-382f-3c1e-e6bfe0fa1002` | `mtty-1` |
    /// | `83b8f4f2-509f-382f-3c1e-e6bfe0fa1003` | `mdevtest-sparse` |
    /// | `83b8f4f2-509f-382f-3c1e-e6bfe0fa1004` | `mdevtest-platform` |
    /// | `0000:00:04.0` | [`Edu`] |
    /// | `0000:00:05.0` | [`Ivshmem`] |
    /// | `0000:00:09.0` | [`TestDevice`] |
    ///
    /// # Errors
    /// As [`Machine::new`].
    pub fn demo() -> Result<Self, SimError> {
        let machine = Self::new()?;
        for (uuid, parent, mdev_type) in [
            ("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "mtty", "mtty-2"),
            ("83b8f4f2-509f-382f-3c1e-e6bfe0fa1002", "mtty", "mtty-1"),
            ("83b8f4f2-509f-382f-3c1e-e6bfe0fa1003", "mdevtest", "mdevtest-sparse"),
            ("83b8f4f2-509f-382f-3c1e-e6bfe0fa1004", "mdevtest-soc", "mdevtest-platform"),
        ] {
            machine.create(uuid, parent, mdev_type)?;
        }
        let edu = Edu::function("0000:00:04.0").vfio_driver("vfio-pci");
        machine.plug(&edu, Edu::new())?;
        let shared = Ivshmem::function("0000:00:05.0").vfio_driver("vfio-pci");
        machine.plug(&shared, Ivshmem::new())?;
        let test_device = TestDevice::function("0000:00:09.0").vfio_driver("vfio-pci");
        machine.plug(&test_device, TestDevice::new())?;
        Ok(machine)
    }

    /// The machine, for what reads sysfs.
    #[must_use]
    pub fn host(&self) -> Host {
        self.shared.tree.host()
    }

    /// Its tree, for what a machine does not do by itself.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.shared.tree
    }

    /// What opens its devices, those too that are created later.
    #[must_use]
    pub fn opener(&self) -> Arc<dyn Opener> {
        Arc::new(self.clone())
    }

    /// The address space that all its devices share. It behaves as that of a container that has only
    /// mediated devices: see [`SoftIommu`].
    #[must_use]
    pub fn address_space(&self) -> AddressSpace {
        self.shared.space.clone()
    }

    fn in_space(&self, soft: SoftDevice) -> SoftDevice {
        soft.in_space(self.address_space())
    }

    /// Creates a device of a type that the machine knows, as a write of `uuid` to the type's `create`
    /// does. From then on its name is `uuid` in lower case.
    ///
    /// # Errors
    /// [`SimError::Create`] with `ENOENT` when it does not know the type, `EINVAL` when `uuid` is not
    /// one, `EEXIST` when there is such a device, also while it is being removed, `ENOSPC` when no
    /// instances are left; [`SimError::Tree`] when the tree cannot be changed.
    pub fn create(
        &self,
        uuid: &str,
        parent: &str,
        mdev_type: &str,
    ) -> Result<Arc<SoftDevice>, SimError> {
        let device = MdevDevice::new(uuid.to_lowercase(), parent, mdev_type);
        let refused = |errno| create_error(&device, failed(errno));
        let found = Builtin::find(parent, mdev_type);
        let (builtin, kind) = found.ok_or_else(|| refused(Errno::NOENT))?;
        if !is_uuid(uuid) {
            return Err(refused(Errno::INVAL));
        }
        let mut state = self.state();
        if !self.tree().has_parent(parent) {
            self.tree().add_parent(&builtin.parent(&state.pools))?;
        }
        if state.devices.contains_key(device.uuid()) {
            return Err(refused(Errno::EXIST));
        }
        if !state.pools.take(builtin.pool, kind.units) {
            return Err(refused(Errno::NOSPC));
        }
        let taken = (builtin.pool, kind.units);
        let placed = device.clone().kernel_driver(builtin.kernel_driver);
        let added = (kind.device)().map_err(|source| create_error(&device, source));
        let added = added.and_then(|soft| {
            self.tree().add_device(&placed)?;
            Ok(state.add(placed.uuid(), BusKind::Mdev, self.in_space(soft), Some(taken)))
        });
        if added.is_err() {
            state.pools.give_back(builtin.pool, kind.units);
        }
        self.show_instances(&state, builtin.pool)?;
        added
    }

    /// Creates a device with a model of one's own. Its parent and type are in the tree before
    /// ([`Tree::add_parent`]); `available_instances` stays as it is.
    ///
    /// # Errors
    /// [`SimError::Create`] with `EEXIST` when there is such a device, or with what
    /// [`SoftDevice::new`] says; [`SimError::Tree`] when it has no place in the tree.
    pub fn create_with(
        &self,
        device: &MdevDevice,
        model: impl Model,
    ) -> Result<Arc<SoftDevice>, SimError> {
        let soft = SoftDevice::new(model).map_err(|source| create_error(device, source))?;
        let mut state = self.state();
        if state.devices.contains_key(device.uuid()) {
            return Err(create_error(device, failed(Errno::EXIST)));
        }
        self.tree().add_device(device)?;
        Ok(state.add(device.uuid(), BusKind::Mdev, self.in_space(soft), None))
    }

    /// Plugs in a PCI function with a model behind it. It can be opened as long as the kernel driver that
    /// it is bound to offers it through VFIO ([`PciFunction::vfio_driver`],
    /// [`Tree::bind_function_to_vfio`]).
    ///
    /// ```
    /// use vfio_common::route::{Opener as _, Target};
    /// use vfio_sim::Machine;
    /// use vfio_sim::pci::TestDevice;
    ///
    /// let machine = Machine::new()?;
    /// let function = TestDevice::function("0000:3b:00.0").numa_node(1).vfio_driver("vfio-pci");
    /// machine.plug(&function, TestDevice::new())?;
    ///
    /// let name = "0000:3b:00.0".to_owned();
    /// let sysfs = format!("bus/pci/devices/{name}").into();
    /// let device = machine.opener().open(&Target { name, sysfs })?;
    /// assert_eq!(device.pci_config()?.ok_or("no PCI device")?.ids()?.vendor, 0x1b36);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SimError::Plug`] with what [`SoftDevice::new`] says; [`SimError::Tree`] when it has no place in
    /// the tree, with `EEXIST` when there is such a function.
    pub fn plug(
        &self,
        function: &PciFunction,
        model: impl Model,
    ) -> Result<Arc<SoftDevice>, SimError> {
        let address = function.address();
        let soft = SoftDevice::new(model)
            .map_err(|source| SimError::Plug { address: address.to_owned(), source })?;
        let mut state = self.state();
        self.tree().add_function(function)?;
        Ok(state.add(address, BusKind::Pci, self.in_space(soft), None))
    }

    /// Removes a device, as a write of `1` to its `remove` does; a PCI function by its address. While
    /// somebody has it open it keeps working, cannot be opened again, and keeps its directory, its group
    /// and its instance; they go with the last close. Who has it open is asked once to let go of it, through
    /// the interrupt for that ([`removal_request`](vfio_common::irq::removal_request)). The kernel lets the writer wait until
    /// the last close and asks again every 10 s, this method does not.
    ///
    /// # Errors
    /// [`SimError::Remove`] with `ENOENT` when there is no such device or it is being removed,
    /// [`SimError::Tree`] when the tree cannot be changed.
    pub fn remove(&self, name: &str) -> Result<(), SimError> {
        let mut state = self.state();
        let entry = state.devices.get_mut(name).filter(|entry| !entry.leaving);
        let Some(entry) = entry else {
            let (name, source) = (name.to_owned(), failed(Errno::NOENT));
            return Err(SimError::Remove { name, source });
        };
        entry.leaving = true;
        entry.device.request_removal();
        match entry.bus {
            BusKind::Mdev => self.tree().begin_removal(name)?,
            // The kernel takes it from its driver first, which waits.
            BusKind::Pci => self.tree().unbind_function(name)?,
        }
        Ok(self.finish_removal(&mut state, name)?)
    }

    /// Removes the rest of a device that is being removed and that nobody has open any more.
    fn finish_removal(&self, state: &mut State, name: &str) -> Result<(), TreeError> {
        if state.devices.get(name).is_none_or(|entry| !entry.leaving || entry.open > 0) {
            return Ok(());
        }
        let Some(entry) = state.devices.remove(name) else { return Ok(()) };
        match entry.bus {
            BusKind::Mdev => self.tree().finish_removal(name)?,
            BusKind::Pci => self.tree().remove_function(name)?,
        }
        if let Some((pool, units)) = entry.taken {
            state.pools.give_back(pool, units);
            self.show_instances(state, pool)?;
        }
        Ok(())
    }

    /// A device, by its UUID or its address, for a look at it from behind.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<Arc<SoftDevice>> {
        self.state().devices.get(name).map(|entry| entry.device.clone())
    }

    /// How many devices are open now; one that was opened twice counts twice. A device closes when
    /// the last handle, region and window of it is dropped.
    #[must_use]
    pub fn open_devices(&self) -> usize {
        self.state().devices.values().map(|entry| entry.open).sum()
    }

    /// Lets the `n`-th call from now fail with error number `errno`, once, whichever device it goes
    /// to; 1 is the next call. Calls are those of [`Backend`](vfio_common::device::Backend) and of
    /// [`Iommu`](vfio_common::iommu::Iommu), and the opening of a device. It replaces what was said before, and 0 takes it back.
    pub fn fail_call(&self, n: u64, errno: i32) {
        self.shared.faults.fail_call(n, errno);
    }

    /// How many calls there were so far, as [`Machine::fail_call`] counts them.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.faults.calls()
    }

    /// Writes what is left of a pool to all types that share it.
    fn show_instances(&self, state: &State, pool: Pool) -> Result<(), TreeError> {
        for builtin in Builtin::of_pool(pool).filter(|of| self.tree().has_parent(of.name)) {
            for mdev_type in builtin.types {
                let types = format!("class/mdev_bus/{}/mdev_supported_types", builtin.name);
                let path = format!("{types}/{}/available_instances", mdev_type.id);
                let left = state.pools.instances(pool, mdev_type);
                self.tree().write(path, format!("{left}\n"))?;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts a device behind what is in the tree.
    fn add(
        &mut self,
        name: &str,
        bus: BusKind,
        soft: SoftDevice,
        taken: Option<(Pool, u32)>,
    ) -> Arc<SoftDevice> {
        let device = Arc::new(soft);
        let entry = Entry { device: device.clone(), bus, open: 0, leaving: false, taken };
        self.devices.insert(name.to_owned(), entry);
        device
    }
}

fn create_error(device: &MdevDevice, source: io::Error) -> SimError {
    SimError::Create {
        uuid: device.uuid().to_owned(),
        parent: device.parent().to_owned(),
        mdev_type: device.mdev_type().to_owned(),
        source,
    }
}

/// What the kernel takes for a UUID: 36 characters, in upper or lower case.
fn is_uuid(text: &str) -> bool {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let fits = |(at, byte): (usize, u8)| {
        if HYPHENS.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests;
