//! Kernel drivers of devices on a bus that no crate of ours knows: a bus crate needs a name, and what tells
//! its devices apart.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vfio_common::binding::{Attributes, Binder, BindingError, DriverBus, Force, Remark};
use vfio_common::bus::{BusType, DeviceIds, EnableError, Fault, Match, Registration};
use vfio_common::device::Device;
use vfio_common::route::Target;
use vfio_common::sysfs::{Dir, Host, SysfsError};

/// `/sys/bus/platform`, as far as its drivers go.
#[derive(Debug)]
enum Platform {}

const DEVICES: &str = "bus/platform/devices";
const DMA: &str = "fff90000.dma";

impl BusType for Platform {
    const DEVICES: &'static str = DEVICES;

    type Address = String;
    type Info = String;
    type Id = ();
    type Scanner = ();
    type Enabled = ();

    fn address(entry: &OsStr) -> Option<String> {
        entry.to_str().map(str::to_owned)
    }

    fn identify((): &mut (), _: &Dir, address: &String) -> Result<Option<String>, SysfsError> {
        Ok(Some(address.clone()))
    }

    fn fault(_: &String) -> Option<Fault> {
        None
    }

    fn target(name: &String) -> Target {
        Target { name: name.clone(), sysfs: Path::new(DEVICES).join(name) }
    }

    fn enable(_: &String, _: &Device) -> Result<(), EnableError> {
        Ok(())
    }

    fn matches((): &(), _: &String, _: DeviceIds) -> Match {
        Match::No
    }

    fn registered() -> Vec<Registration<Self>> {
        Vec::new()
    }
}

impl DriverBus for Platform {
    const NAME: &'static str = "platform";
    const IDENTITY: &'static [&'static str] = &["modalias"];
}

/// A kernel that binds whatever it is told to.
#[derive(Debug)]
struct Kernel(PathBuf);

impl Attributes for Kernel {
    fn write(&self, path: &Path, text: &str) -> Result<(), SysfsError> {
        let act = || -> io::Result<()> {
            let link = self.0.join(DEVICES).join(text).join("driver");
            match path.file_name().and_then(OsStr::to_str) {
                Some("unbind") => fs::remove_file(link),
                Some("bind") => symlink(self.0.join(path).parent().unwrap(), link),
                _ => fs::write(self.0.join(path), text),
            }
        };
        let path = self.0.join(path);
        act().map_err(|source| SysfsError::Io { operation: "write", path, source })
    }
}

/// A machine with one device, on a driver of the host.
fn machine() -> (tempfile::TempDir, Binder<Platform>) {
    let root = tempfile::tempdir().unwrap();
    let sysfs = root.path().join("sys");
    let device = sysfs.join(DEVICES).join(DMA);
    fs::create_dir_all(&device).unwrap();
    for driver in ["pl330", "vfio-platform"] {
        let driver = sysfs.join("bus/platform/drivers").join(driver);
        fs::create_dir_all(&driver).unwrap();
        fs::write(driver.join("bind"), "").unwrap();
    }
    fs::write(device.join("modalias"), "of:NdmaT(null)Carm,pl330\n").unwrap();
    fs::write(device.join("driver_override"), "(null)\n").unwrap();
    symlink(sysfs.join("bus/platform/drivers/pl330"), device.join("driver")).unwrap();
    symlink(sysfs.join("kernel/iommu_groups/3"), device.join("iommu_group")).unwrap();
    let boot = root.path().join("proc/sys/kernel/random/boot_id");
    fs::create_dir_all(boot.parent().unwrap()).unwrap();
    fs::write(boot, "0b9b2a9c-5ad5-4a4b-8ff1-6a2f2a8f6f10\n").unwrap();
    let host = Host::new(&sysfs, root.path().join("dev")).with_proc(root.path().join("proc"));
    let binder = Binder::new(host, root.path().join("state")).attributes(Arc::new(Kernel(sysfs)));
    (root, binder)
}

#[test]
fn a_bus_with_a_name_and_an_identity_has_its_drivers_changed_and_restored() {
    let (root, binder) = machine();
    let dma = || DMA.to_owned();
    let change = binder.bind(dma(), "vfio-platform", Force::No).unwrap();
    assert_eq!(change.to_string(), "fff90000.dma: pl330 -> vfio-platform");
    assert_eq!(change.after.driver_override.as_deref(), Some("vfio-platform"));
    assert_eq!(binder.recorded().unwrap(), [DMA]);
    assert!(root.path().join("state/platform-fff90000.dma.json").exists());

    let change = binder.unbind(dma(), Force::No).unwrap();
    assert_eq!(change.to_string(), "fff90000.dma: vfio-platform -> no driver");
    let change = binder.restore(dma(), Force::No).unwrap();
    assert_eq!(change.to_string(), "fff90000.dma: no driver -> pl330");
    assert_eq!((change.remark, binder.recorded().unwrap()), (None, vec![]));
}

#[test]
fn a_device_with_another_identity_is_another_one() {
    let (root, binder) = machine();
    binder.bind(DMA.to_owned(), "vfio-platform", Force::No).unwrap();
    let modalias = root.path().join("sys").join(DEVICES).join(DMA).join("modalias");
    fs::write(modalias, "of:NethT(null)Cvendor,eth\n").unwrap();
    let change = binder.restore(DMA.to_owned(), Force::No).unwrap();
    assert_eq!(change.remark, Some(Remark::OtherDevice));
    assert_eq!(change.after.driver.as_deref(), Some("vfio-platform"), "it is left as it is");
}

#[test]
fn an_address_that_is_no_name_leads_nowhere() {
    let (root, binder) = machine();
    let there = root.path().join("sys/bus/platform/drivers/pl330");
    fs::write(there.join("driver_override"), "(null)\n").unwrap();
    for address in ["fff80000.dma", "../drivers/pl330", there.to_str().unwrap(), "..", ""] {
        for done in [
            binder.bind(address.to_owned(), "vfio-platform", Force::Yes),
            binder.unbind(address.to_owned(), Force::Yes),
            binder.restore(address.to_owned(), Force::Yes),
        ] {
            let error = done.unwrap_err();
            assert!(matches!(error, BindingError::NoDevice { .. }), "{address:?}: {error}");
        }
    }
    assert_eq!(binder.recorded().unwrap(), Vec::<String>::new());
}
