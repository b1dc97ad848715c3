//! Devices that open only when a KVM virtual machine is linked to them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vfio_common::device::Device;
use vfio_common::route::{Kvm, Nodes, OpenError, OpenWith, Opener as _};
use vfio_common::sysfs::Host;

use crate::machine::{self, Created, descriptors, target, vfio};

/// Its driver says `ESRCH`, as that of GVT-g.
const PLAIN: &str = "mdevtest-kvm";
/// Its driver says `EINVAL`, as `vfio_ap`.
const SILENT: &str = "mdevtest-kvm-einval";
const LIMIT: Duration = Duration::from_secs(20);

fn create(mdev_type: &str) -> Created {
    Created::new("mdevtest-soc", mdev_type)
}

fn vm() -> Kvm {
    Kvm::create(&Host::system()).unwrap()
}

fn assert_works(device: &Device) {
    let region = device.region(0).unwrap();
    region.write32(8, 0x5eed).unwrap();
    assert_eq!(region.read32(8).unwrap(), 0x5eed);
    assert_eq!(region.mapped().len(), 1);
}

#[test]
fn without_a_virtual_machine_the_error_names_the_driver_and_the_way_out() {
    for (mdev_type, part) in [
        (PLAIN, "its kernel driver mdevtest_platform wants a KVM virtual machine"),
        (SILENT, "its kernel driver mdevtest_platform refuses it"),
    ] {
        let created = create(mdev_type);
        let before = descriptors();
        let text = vfio().open(&target(&created)).unwrap_err().to_string();
        assert!(text.contains(part) && text.contains("`Vfio::kvm`"), "{text}");
        assert_eq!(descriptors(), before, "{text}");
        created.remove_within(LIMIT);
    }
}

#[test]
fn with_one_it_opens_as_often_as_wanted_and_can_be_removed() {
    for mdev_type in [PLAIN, SILENT] {
        let created = create(mdev_type);
        let before = descriptors();
        let vfio = vfio().kvm(&vm());
        for _ in 0..3 {
            assert_works(&vfio.open(&target(&created)).unwrap());
        }
        // Nobody is in the way of somebody else, who needs a link of his own.
        let error = machine::vfio().open(&target(&created)).unwrap_err();
        assert!(matches!(error, OpenError::Needs { .. }), "{error}");
        assert_works(&machine::vfio().kvm(&vm()).open(&target(&created)).unwrap());
        created.remove_within(LIMIT);
        drop(vfio);
        assert_eq!(descriptors(), before);
    }
}

#[test]
fn the_machine_may_be_let_go_before_the_device_and_after() {
    let created = create(PLAIN);
    let machine = vm();
    let device = vfio().open_with(&target(&created), &OpenWith::new().kvm(&machine)).unwrap();
    drop(machine);
    assert_works(&device);
    drop(device);

    let machine = vm();
    let device = vfio().open_with(&target(&created), &OpenWith::new().kvm(&machine)).unwrap();
    drop(device);
    drop(vfio().open_with(&target(&created), &OpenWith::new().kvm(&machine)).unwrap());
    drop(machine);
    created.remove_within(LIMIT);
}

#[test]
fn a_device_that_is_open_twice_is_linked_once_and_to_one_machine() {
    let created = create(PLAIN);
    let vm = vm();
    let vfio = vfio().kvm(&vm);
    let first = vfio.open(&target(&created)).unwrap();
    let second = vfio.open(&target(&created)).unwrap();
    let other = OpenWith::new().kvm(&self::vm());
    let text = vfio.open_with(&target(&created), &other).unwrap_err().to_string();
    assert!(text.contains("already open in this process without this virtual machine"), "{text}");
    drop(first);
    assert_works(&second);
    drop(second);
    vfio.open_with(&target(&created), &other).unwrap();
    created.remove_within(LIMIT);
}

#[test]
fn many_devices_share_one_machine_and_those_without_need_do_not_mind() {
    let vm = vm();
    let vfio = vfio().kvm(&vm);
    let created = [create(PLAIN), create(PLAIN), Created::new("mdevtest", "mdevtest-sparse")];
    let open: Vec<_> = created.iter().map(|created| vfio.open(&target(created)).unwrap()).collect();
    assert_works(&open[0]);
    assert_works(&open[1]);
    drop((vfio, vm, open));
    for created in created {
        created.remove_within(LIMIT);
    }
}

/// As a virtual machine monitor, which made its machine itself.
#[test]
fn a_machine_that_there_is_can_be_linked_by_its_descriptor() {
    let vm = vm().descriptor().unwrap().try_clone_to_owned().unwrap();
    let kvm = Kvm::of_vm(&vm).unwrap();
    assert!(kvm.descriptor().is_none());
    let created = create(SILENT);
    let vfio = vfio().kvm(&kvm);
    assert_works(&vfio.open(&target(&created)).unwrap());
    // A machine has one such device.
    let text = Kvm::of_vm(&vm).unwrap_err().to_string();
    assert!(text.contains("`Kvm::of_vfio_device`"), "{text}");
    drop((vm, kvm));
    assert_works(&vfio.open(&target(&created)).unwrap());
    drop(vfio);

    let file = File::open("/etc/passwd").unwrap();
    let text = Kvm::of_vm(&file).unwrap_err().to_string();
    assert!(text.contains("not that of a KVM virtual machine"), "{text}");
    let vfio = machine::vfio().kvm(&Kvm::of_vfio_device(file.into()));
    let text = vfio.open(&target(&created)).unwrap_err().to_string();
    assert!(text.contains("not that of a KVM virtual machine"), "{text}");
    assert_works(&machine::vfio().kvm(&self::vm()).open(&target(&created)).unwrap());
    created.remove_within(LIMIT);
}

/// There is no such node, or it is another.
#[derive(Debug)]
struct Without(io::ErrorKind);

impl Nodes for Without {
    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        assert_eq!(name, "kvm");
        match self.0 {
            io::ErrorKind::NotFound => Err(rustix::io::Errno::NOENT.into()),
            io::ErrorKind::PermissionDenied => Err(rustix::io::Errno::ACCESS.into()),
            _ => Ok(File::options().read(true).write(true).open("/dev/null")?.into()),
        }
    }
}

#[test]
fn a_machine_that_cannot_be_made_says_why() {
    let before = descriptors();
    for (kind, parts) in [
        (io::ErrorKind::NotFound, ["cannot open /dev/kvm", "modprobe kvm_intel or kvm_amd"]),
        (io::ErrorKind::PermissionDenied, ["cannot open /dev/kvm", "group kvm"]),
        (io::ErrorKind::Other, ["cannot make a KVM virtual machine", "not that of KVM"]),
    ] {
        let error = Kvm::create_through(&Without(kind), &Host::system()).unwrap_err();
        for part in parts {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
    assert_eq!(descriptors(), before);
}

/// Nodes of which one opens as something else than it should, or not at all.
#[derive(Debug)]
struct Failing {
    calls: AtomicUsize,
    fails: usize,
    with: Option<&'static str>,
}

impl Nodes for Failing {
    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        let fails = self.calls.fetch_add(1, Ordering::Relaxed) == self.fails;
        let node = match (fails, self.with) {
            (true, None) => return Err(rustix::io::Errno::IO.into()),
            (true, Some(other)) => other,
            (false, _) => name,
        };
        let node = Path::new("/dev").join(node);
        Ok(File::options().read(true).write(true).open(node)?.into())
    }
}

#[test]
fn nothing_stays_open_whichever_node_fails() {
    let created = create(PLAIN);
    let vm = vm();
    let before = descriptors();
    for with in [None, Some("null")] {
        // A route opens two nodes.
        for fails in 0..3 {
            let nodes = Arc::new(Failing { calls: 0.into(), fails, with });
            let opened = vfio().kvm(&vm).nodes(nodes.clone()).open(&target(&created));
            assert_eq!(opened.is_ok(), fails == 2, "{with:?}, {fails}: {opened:?}");
            drop(opened);
            assert_eq!(nodes.calls.load(Ordering::Relaxed), fails.min(1) + 1);
            assert_eq!(descriptors(), before);
        }
    }
    created.remove_within(LIMIT);
}
