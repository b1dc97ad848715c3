//! A simulated kernel behind a mock sysfs.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard};

use pci_bus::binding::Attributes;
use rustix::io::Errno;
use vfio_common::sysfs::SysfsError;

use crate::machine::copy;

/// Acts on writes to `driver_override`, `bind`, `unbind` and `drivers_probe` as Linux does.
#[derive(Debug)]
pub(crate) struct Kernel {
    sysfs: PathBuf,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    writes: usize,
    fail: Option<(usize, Errno)>,
    fail_all_after: bool,
    death: Option<Death>,
    wait: Option<(usize, Receiver<()>)>,
    steal: Option<(usize, String)>,
}

/// The process is killed before its `write`th write: what it does afterwards has no effect, and the state
/// directory is as it was then.
#[derive(Debug)]
struct Death {
    write: usize,
    state: PathBuf,
    copy: PathBuf,
    is_dead: bool,
}

impl Kernel {
    pub(crate) fn new(sysfs: &Path) -> Self {
        Self { sysfs: sysfs.to_owned(), plan: Mutex::default() }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap()
    }

    /// Writes are counted from 1, anew.
    pub(crate) fn fail_at(&self, write: usize, errno: Errno) {
        *self.plan() = Plan { fail: Some((write, errno)), ..Plan::default() };
    }

    pub(crate) fn fail_from(&self, write: usize, errno: Errno) {
        let fail = Some((write, errno));
        *self.plan() = Plan { fail, fail_all_after: true, ..Plan::default() };
    }

    pub(crate) fn die_at(&self, write: usize, state: &Path, copy: &Path) {
        let death = Death { write, state: state.into(), copy: copy.into(), is_dead: false };
        *self.plan() = Plan { death: Some(death), ..Plan::default() };
    }

    /// The write returns only when something is sent.
    pub(crate) fn wait_at(&self, write: usize, until: Receiver<()>) {
        *self.plan() = Plan { wait: Some((write, until)), ..Plan::default() };
    }

    /// Before this write, another program gives its device to a driver.
    pub(crate) fn steal_at(&self, write: usize, driver: &str) {
        *self.plan() = Plan { steal: Some((write, driver.to_owned())), ..Plan::default() };
    }

    pub(crate) fn heal(&self) -> usize {
        std::mem::take(&mut *self.plan()).writes
    }

    /// Whether the process was killed meanwhile; then its state directory is what the copy is.
    pub(crate) fn has_died(&self) -> bool {
        self.plan().death.as_ref().is_some_and(|death| death.is_dead)
    }

    fn device(&self, address: &str) -> Result<PathBuf, Errno> {
        let device = self.sysfs.join("bus/pci/devices").join(address);
        device.canonicalize().map_err(|_| Errno::NODEV)
    }

    fn act(&self, path: &Path, text: &str) -> Result<(), Errno> {
        let mut names = path.iter().rev().map(|name| name.to_str().unwrap());
        let (attribute, owner) = (names.next().unwrap(), names.next().unwrap());
        match attribute {
            "driver_override" => {
                let name = text.trim_end_matches('\n');
                let name = if name.is_empty() { "(null)" } else { name };
                fs::write(self.device(owner)?.join(attribute), format!("{name}\n")).unwrap();
                Ok(())
            }
            "unbind" => self.unbind(owner, text),
            "bind" => self.bind(owner, text),
            "drivers_probe" => {
                if self.device(text)?.join("driver").exists() {
                    return Ok(());
                }
                let drivers = fs::read_dir(self.sysfs.join("bus/pci/drivers")).unwrap();
                let mut drivers: Vec<_> = drivers.map(|entry| entry.unwrap().file_name()).collect();
                drivers.sort();
                drivers.iter().any(|driver| self.bind(driver.to_str().unwrap(), text).is_ok());
                Ok(())
            }
            _ => Err(Errno::IO),
        }
    }

    fn unbind(&self, driver: &str, address: &str) -> Result<(), Errno> {
        let device = self.device(address)?;
        let link = device.join("driver");
        let bound = fs::read_link(&link).map_err(|_| Errno::NODEV)?;
        if bound.file_name().unwrap() != driver {
            return Err(Errno::NODEV);
        }
        fs::remove_file(link).unwrap();
        fs::remove_file(self.sysfs.join("bus/pci/drivers").join(driver).join(address)).unwrap();
        if device.join("vfio-dev").exists() {
            fs::remove_dir_all(device.join("vfio-dev")).unwrap();
        }
        Ok(())
    }

    fn bind(&self, driver: &str, address: &str) -> Result<(), Errno> {
        let device = self.device(address)?;
        let directory = self.sysfs.join("bus/pci/drivers").join(driver);
        let wanted = fs::read_to_string(device.join("driver_override")).unwrap();
        let table = fs::read_to_string(directory.join("table")).unwrap_or_default();
        let matches = match wanted.trim() {
            "(null)" => table.lines().any(|line| line == address),
            wanted => wanted == driver,
        };
        if !matches {
            return Err(Errno::NODEV);
        }
        if device.join("driver").exists() {
            return Err(Errno::BUSY);
        }
        if driver.ends_with("pci") {
            if !device.join("iommu_group").exists() {
                return Err(Errno::INVAL);
            }
            if device.join("virtfn0").exists() {
                return Err(Errno::BUSY);
            }
            fs::create_dir_all(device.join("vfio-dev/vfio0")).unwrap();
        }
        symlink(format!("../../../bus/pci/drivers/{driver}"), device.join("driver")).unwrap();
        symlink(&device, directory.join(address)).unwrap();
        Ok(())
    }
}

impl Attributes for Kernel {
    fn write(&self, path: &Path, text: &str) -> Result<(), SysfsError> {
        let failed = |errno: Errno| SysfsError::Io {
            operation: "write",
            path: self.sysfs.join(path),
            source: io::Error::from(errno),
        };
        let (until, steal) = {
            let mut plan = self.plan();
            plan.writes += 1;
            let number = plan.writes;
            let is_after = plan.fail_all_after;
            if let Some((fail, errno)) = plan.fail
                && (fail == number || (is_after && fail < number))
            {
                return Err(failed(errno));
            }
            if let Some(death) = plan.death.as_mut().filter(|death| death.write <= number) {
                if death.write == number {
                    copy(&death.state, &death.copy);
                    death.is_dead = true;
                }
                return Err(failed(Errno::IO));
            }
            let until = plan.wait.take_if(|(wait, _)| *wait == number);
            (until, plan.steal.take_if(|(steal, _)| *steal == number))
        };
        if let Some((_, driver)) = steal {
            let owner = path.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
            let address = if path.ends_with("driver_override") { owner } else { text };
            let device = Path::new("bus/pci/devices").join(address);
            if let Ok(bound) = fs::read_link(self.sysfs.join(&device).join("driver")) {
                let bound = bound.file_name().unwrap().to_str().unwrap();
                self.unbind(bound, address).map_err(failed)?;
            }
            self.act(&device.join("driver_override"), &driver).map_err(failed)?;
            self.bind(&driver, address).map_err(failed)?;
        }
        if let Some((_, until)) = until {
            // As in Linux, the driver's link goes first.
            let address = text.trim();
            let link = self.device(address).map_err(failed)?.join("driver");
            let bound = fs::read_link(&link).unwrap();
            fs::remove_file(&link).unwrap();
            let _ = until.recv();
            symlink(bound, link).unwrap();
        }
        self.act(path, text).map_err(failed)
    }
}
