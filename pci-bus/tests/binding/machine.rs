//! A machine of files: its sysfs, `/dev`, `/proc`, and a state directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pci_bus::Address;
use pci_bus::binding::{Binder, State};
use vfio_common::sysfs::Host;

use crate::kernel::Kernel;

/// A disk, bound to nvme.
pub(crate) const DISK: &str = "0000:00:06.0";
/// A network card, bound to e1000e.
pub(crate) const CARD: &str = "0000:01:02.0";
/// It has no driver.
pub(crate) const IDLE: &str = "0000:00:04.0";
pub(crate) const BRIDGE: &str = "0000:00:07.0";

#[derive(Debug)]
pub(crate) struct Machine {
    root: tempfile::TempDir,
    pub(crate) kernel: Arc<Kernel>,
}

pub(crate) fn at(address: &str) -> Address {
    address.parse().unwrap()
}

impl Machine {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let kernel = Arc::new(Kernel::new(&root.path().join("sys")));
        let machine = Self { root, kernel };
        for (driver, table) in [
            ("nvme", DISK),
            ("e1000e", CARD),
            ("vfio-pci", ""),
            ("other_vfio_pci", ""),
            ("pcieport", BRIDGE),
        ] {
            machine.add_driver(driver, table);
        }
        machine.write("sys/bus/pci/drivers_probe", "");
        machine.add(DISK, 6, "0x010802", Some("nvme"));
        machine.add(CARD, 7, "0x020000", Some("e1000e"));
        machine.add(IDLE, 4, "0x00ff00", None);
        machine.add(BRIDGE, 7, "0x060400", Some("pcieport"));
        machine.start();
        machine
    }

    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn host(&self) -> Host {
        Host::new(self.path("sys"), self.path("dev")).with_proc(self.path("proc"))
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("run/state")
    }

    pub(crate) fn binder(&self) -> Binder {
        Binder::new(self.host(), self.state_dir()).attributes(self.kernel.clone())
    }

    pub(crate) fn device(&self, address: &str) -> PathBuf {
        self.path("sys/devices/pci0000:00").join(address)
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.path(target), path).unwrap();
    }

    pub(crate) fn add_driver(&self, name: &str, table: &str) {
        for attribute in ["bind", "unbind"] {
            self.write(format!("sys/bus/pci/drivers/{name}/{attribute}"), "");
        }
        self.write(format!("sys/bus/pci/drivers/{name}/table"), table);
    }

    pub(crate) fn add(&self, address: &str, group: u32, class: &str, driver: Option<&str>) {
        let device = format!("sys/devices/pci0000:00/{address}");
        for (attribute, text) in [
            ("vendor", "0x1b36\n"),
            ("device", "0x0010\n"),
            ("subsystem_vendor", "0x1af4\n"),
            ("subsystem_device", "0x1100\n"),
            ("class", &format!("{class}\n")),
            ("driver_override", "(null)\n"),
        ] {
            self.write(format!("{device}/{attribute}"), text);
        }
        fs::create_dir_all(self.device(address).join("power")).unwrap();
        self.link(format!("sys/bus/pci/devices/{address}"), &device);
        let group = format!("sys/kernel/iommu_groups/{group}");
        self.link(format!("{group}/devices/{address}"), &device);
        self.link(format!("{device}/iommu_group"), group);
        if let Some(driver) = driver {
            let driver = format!("sys/bus/pci/drivers/{driver}");
            self.link(format!("{driver}/{address}"), &device);
            symlink(format!("../../../{}", &driver[4..]), self.device(address).join("driver"))
                .unwrap();
        }
    }

    /// Another device, or the same one anew, at an address.
    pub(crate) fn plug_again(&self, address: &str) {
        let device = self.device(address);
        let kept = self.path("old");
        fs::rename(&device, &kept).unwrap();
        copy(&kept, &device);
    }

    /// The machine starts, and forgets nothing of its files.
    pub(crate) fn start(&self) {
        let path = "proc/sys/kernel/random/boot_id";
        let old = fs::read_to_string(self.path(path)).unwrap_or_default();
        self.write(path, &format!("{old}1\n").replace("\n1", "1"));
    }

    pub(crate) fn state(&self, address: &str) -> State {
        let driver = fs::read_link(self.device(address).join("driver")).ok();
        let driver = driver.map(|link| link.file_name().unwrap().to_str().unwrap().to_owned());
        let text = fs::read_to_string(self.device(address).join("driver_override")).unwrap();
        let driver_override = Some(text.trim().to_owned()).filter(|name| name != "(null)");
        State { driver, driver_override }
    }

    pub(crate) fn set_override(&self, address: &str, name: &str) {
        fs::write(self.device(address).join("driver_override"), format!("{name}\n")).unwrap();
    }

    /// All of sysfs.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        read_tree(&self.path("sys"), &mut files);
        files
    }

    pub(crate) fn records(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.state_dir()) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "lock").collect();
        names.sort();
        names
    }

    pub(crate) fn record(&self, address: &str) -> PathBuf {
        self.state_dir().join(format!("pci-{address}.json"))
    }
}

pub(crate) fn bound(driver: Option<&str>, driver_override: Option<&str>) -> State {
    let owned = |name: Option<&str>| name.map(str::to_owned);
    State { driver: owned(driver), driver_override: owned(driver_override) }
}

fn read_tree(path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
            files.insert(path, target);
        } else if kind.is_dir() {
            read_tree(&path, files);
            files.insert(path, Vec::new());
        } else {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
}

/// A directory, as it is now, in place of another one.
pub(crate) fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            symlink(fs::read_link(path).unwrap(), copied).unwrap();
        } else if kind.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(path, copied).unwrap();
        }
    }
}
