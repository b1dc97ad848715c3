//! Devices without an IOMMU. Runs, as root, in a virtual machine of `tests/kernel/run` that has none,
//! with QEMU's edu device and mtty; the other tests would not find what they need there.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]
#![expect(unsafe_code, reason = "what is tested is asked for by an unsafe function")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use vfio_common::device::Device;
use vfio_common::route::{Nodes, OpenError, Opener as _, Route, Target, Vfio};
use vfio_common::sysfs::Host;

const EDU: &str = "0000:00:04.0";
const CARD: &str = "67756573-7400-4000-8000-00000000a001";
/// Whether VFIO takes devices without an IOMMU.
const MODE: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/// The edu device under vfio-pci, in the unsafe mode.
struct Bound;

impl Bound {
    fn new() -> Self {
        fs::write(MODE, "Y").unwrap();
        fs::write(path("driver_override"), "vfio-pci").unwrap();
        fs::write("/sys/bus/pci/drivers_probe", EDU).unwrap();
        Self
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = fs::write(path("driver/unbind"), EDU);
        let _ = fs::write(path("driver_override"), "\n");
        let _ = fs::write(MODE, "N");
    }
}

/// A mediated device, which does no DMA and needs no IOMMU.
struct Card;

impl Card {
    fn new() -> Self {
        fs::write("/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", CARD).unwrap();
        Self
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = fs::write(format!("/sys/bus/mdev/devices/{CARD}/remove"), "1");
    }
}

fn path(attribute: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(EDU).join(attribute)
}

fn edu() -> Target {
    Target { name: EDU.to_owned(), sysfs: format!("bus/pci/devices/{EDU}").into() }
}

fn card() -> Target {
    Target { name: CARD.to_owned(), sysfs: format!("bus/mdev/devices/{CARD}").into() }
}

/// The group of the edu device.
fn group() -> String {
    let group = fs::read_link(path("iommu_group")).unwrap();
    group.file_name().unwrap().to_str().unwrap().to_owned()
}

fn cautious(route: Route) -> Vfio {
    Vfio::new(Host::system()).route(route)
}

fn willing(route: Route) -> Vfio {
    // SAFETY: nothing here writes to the edu device but to its scratch register; it does DMA only when
    // its DMA registers are written, and vfio-pci has cleared its bus mastering, which would stop it.
    unsafe { cautious(route).allow_no_iommu() }
}

fn assert_works(device: &Device) {
    let region = device.region(0).unwrap();
    assert_eq!(region.read32(0).unwrap() & 0xffff, 0x00ed, "the identification of edu");
    // It gives back the complement of what is written.
    region.write32(4, 0x0f0f_0f0f).unwrap();
    assert_eq!(region.read32(4).unwrap(), 0xf0f0_f0f0);
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn it_is_refused_unless_it_is_asked_for() {
    let _bound = Bound::new();
    let before = descriptors();
    for route in [Route::Auto, Route::Group, Route::Cdev] {
        let error = cautious(route).open(&edu()).unwrap_err();
        assert!(matches!(error, OpenError::NoIommu { .. }), "{route:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("`Vfio::allow_no_iommu`"), "{text}");
        assert!(text.contains(&format!("group {} has no IOMMU", group())), "{text}");
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn it_opens_when_it_is_asked_for_as_often_as_wanted() {
    let _bound = Bound::new();
    for route in [Route::Auto, Route::Group] {
        let vfio = willing(route);
        let before = descriptors();
        for _ in 0..2 {
            let (first, second) = (vfio.open(&edu()).unwrap(), vfio.open(&edu()).unwrap());
            assert_works(&first);
            drop(first);
            assert_works(&second);
        }
        assert_eq!(descriptors(), before);
    }
}

#[test]
fn it_has_no_character_device_and_that_is_said() {
    let _bound = Bound::new();
    let error = willing(Route::Cdev).open(&edu()).unwrap_err();
    assert!(matches!(error, OpenError::NoIommuByCdev { .. }), "{error:?}");
    assert!(error.to_string().contains("open it by its group"), "{error}");
}

#[test]
fn it_has_no_address_space() {
    let _bound = Bound::new();
    let _card = Card::new();
    for route in [Route::Auto, Route::Group] {
        let vfio = willing(route);
        let device = vfio.open(&edu()).unwrap();
        let error = vfio.address_space().unwrap_err();
        assert!(matches!(error, OpenError::NoAddressSpace), "{error:?}");
        assert!(error.to_string().contains("physical addresses"), "{error}");
        // In one container the kernel would refuse the second.
        let other = vfio.open(&card()).unwrap();
        let space = vfio.address_space().unwrap();
        assert_ne!(space.page_sizes().unwrap(), 0);
        assert_works(&device);
        drop((device, other));
    }
}

/// Nodes that were opened by somebody with more capabilities.
#[derive(Debug)]
struct Handed(Mutex<BTreeMap<String, OwnedFd>>);

impl Nodes for Handed {
    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        self.0.lock().unwrap().remove(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Opens the device in a thread without the capability.
fn refused_without_capability(vfio: Vfio) -> String {
    let open = move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::SYS_RAWIO);
        sets.permitted.remove(CapabilitySet::SYS_RAWIO);
        set_capabilities(None, sets).unwrap();
        vfio.open(&edu()).unwrap_err().to_string()
    };
    thread::spawn(open).join().unwrap()
}

#[test]
fn the_capability_that_is_missing_is_named() {
    let _bound = Bound::new();
    let before = descriptors();
    let text = refused_without_capability(willing(Route::Group));
    let node = format!("cannot open /dev/vfio/noiommu-{}", group());
    assert!(text.starts_with(&node) && text.contains("CAP_SYS_RAWIO"), "{text}");

    let names = ["vfio/vfio".to_owned(), format!("vfio/noiommu-{}", group())];
    let open = |name: String| {
        let node = File::options().read(true).write(true).open(Path::new("/dev").join(&name));
        (name, node.unwrap().into())
    };
    let handed = Handed(Mutex::new(names.map(open).into()));
    let text = refused_without_capability(willing(Route::Group).nodes(Arc::new(handed)));
    let step = format!("cannot attach group {}, which has no IOMMU, to a container", group());
    assert!(text.starts_with(&step) && text.contains("CAP_SYS_RAWIO"), "{text}");
    assert_eq!(descriptors(), before);
    assert_works(&willing(Route::Group).open(&edu()).unwrap());
}
