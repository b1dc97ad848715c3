//! DMA by a device behind an IOMMU: QEMU's edu, which copies between memory and a buffer of its own
//! (`docs/specs/edu.rst` of QEMU). It has 28 address bits.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vfio_common::device::Device;
use vfio_common::iommu::{AddressSpace, DeviceAccess, DmaBuffer, DmaError, IovaRange, Pages};
use vfio_common::pci_config::Command as PciCommand;
use vfio_common::route::{Opener as _, Target, Vfio};

use crate::machine::{self, link_name, ran};
use crate::vfio_pci::switch_on;

const EDU: &str = "0000:00:04.0";
/// Where the device has its own buffer, of one page.
const INSIDE: u64 = 0x4_0000;
const RUN: u64 = 1;
const TO_MEMORY: u64 = 2;
const HIGHEST: u64 = (1 << 28) - 1;
const READ: DeviceAccess = DeviceAccess::READ;
const WRITE: DeviceAccess = DeviceAccess::WRITE;
/// Set for a child of a test that runs as an ordinary user.
const ORDINARY: &str = "MDEVBUS_TEST_ORDINARY";

fn sysfs() -> &'static Path {
    Path::new("/sys/bus/pci/devices/0000:00:04.0")
}

fn open(vfio: &Vfio) -> Device {
    if !sysfs().join("driver").exists() {
        fs::write(sysfs().join("driver_override"), "vfio-pci").unwrap();
        fs::write("/sys/bus/pci/drivers_probe", EDU).unwrap();
    }
    let sysfs = format!("bus/pci/devices/{EDU}").into();
    vfio.open(&Target { name: EDU.into(), sysfs }).unwrap()
}

fn on_the_device(test: impl FnOnce(&Device, &AddressSpace)) {
    let vfio = machine::vfio();
    let device = open(&vfio);
    switch_on(&device, PciCommand::BUS_MASTER | PciCommand::MEMORY);
    test(&device, &vfio.address_space().unwrap());
}

/// Lets the device copy, and waits until it has.
fn copy(device: &Device, from: u64, to: u64, length: u64, command: u64) {
    let registers = device.region(0).unwrap();
    for (offset, value) in [(0x80, from), (0x88, to), (0x90, length), (0x98, command | RUN)] {
        registers.write64(offset, value).unwrap();
    }
    let started = Instant::now();
    while registers.read64(0x98).unwrap() & RUN != 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "the device does not finish");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn dma_by_a_device_moves_bytes_from_one_buffer_to_another() {
    on_the_device(|device, space| {
        let build =
            |access| DmaBuffer::builder(4096, access).highest(HIGHEST).build(space).unwrap();
        let (source, target) = (build(READ), build(WRITE));
        let bytes: Vec<u8> = (0..64).map(|at| at ^ 0x5a).collect();
        source.copy_in(16, &bytes).unwrap();
        copy(device, source.iova() + 16, INSIDE, 64, 0);
        copy(device, INSIDE, target.iova() + 32, 64, TO_MEMORY);
        let mut found = [0; 64];
        target.copy_out(32, &mut found).unwrap();
        assert_eq!(found[..], bytes);
        assert_eq!(target.read::<u64>(24), Ok(0), "and no byte more");
    });
}

#[test]
fn dma_does_not_reach_what_is_read_only_or_unmapped() {
    on_the_device(|device, space| {
        let build =
            |access| DmaBuffer::builder(4096, access).highest(HIGHEST).build(space).unwrap();
        let (source, target) = (build(READ), build(WRITE));
        source.copy_in(0, &[0xaa; 64]).unwrap();
        copy(device, source.iova(), INSIDE, 64, 0);
        let other = build(READ);
        copy(device, INSIDE, other.iova(), 64, TO_MEMORY);
        assert_eq!(other.read::<u64>(0), Ok(0), "devices may only read it");
        assert_eq!(space.unmap(target.iova(), 4096).unwrap(), 4096);
        copy(device, INSIDE, target.iova(), 64, TO_MEMORY);
        assert_eq!(target.read::<u64>(0), Ok(0), "devices do not reach it any more");
    });
}

#[test]
fn dma_ranges_have_the_hole_of_the_interrupts() {
    on_the_device(|_, space| {
        let hole = IovaRange::new(0xfee0_0000, 0x10_0000).unwrap();
        let ranges = space.ranges().unwrap();
        assert!(ranges.len() > 1, "{ranges:?}");
        assert!(space.page_sizes().unwrap() & 0x1000 != 0);
        // An iommufd has no limit that it tells.
        let before = space.available().unwrap();
        assert_eq!(before.is_some(), machine::route() == "group");
        for iova in [hole.first - 0x1000, hole.last + 1] {
            let buffer = DmaBuffer::builder(4096, READ).at(iova).build(space).unwrap();
            assert!(buffer.is_mapped());
            assert_eq!(space.available().unwrap(), before.map(|before| before - 1));
        }
        for (iova, length) in [(hole.first, 4096), (hole.first - 0x1000, 8192), (hole.last, 1)] {
            let iova = iova & !0xfff;
            let error = DmaBuffer::builder(length, READ).at(iova).build(space).unwrap_err();
            assert!(matches!(error, DmaError::OutsideRanges { .. }), "{error}");
            assert!(error.to_string().contains("[0x0, 0xfedfffff]"), "{error}");
        }
        // What does not fit below the hole goes behind it.
        let aligned = DmaBuffer::builder(1 << 20, READ).alignment(1 << 31);
        let both = [(); 2].map(|()| aligned.build(space).unwrap());
        assert_eq!(both.each_ref().map(DmaBuffer::iova), [1 << 31, 1 << 32]);
    });
}

#[test]
fn dma_memory_over_the_limit_is_refused_with_the_limit_and_the_need() {
    const NAME: &str = "dma::dma_memory_over_the_limit_is_refused_with_the_limit_and_the_need";
    if std::env::var_os(ORDINARY).is_some() {
        over_the_limit();
        return;
    }
    let vfio = machine::vfio();
    drop(open(&vfio));
    let nodes = match machine::route().as_str() {
        "cdev" => {
            let mut own = fs::read_dir(sysfs().join("vfio-dev")).unwrap();
            let own = own.next().unwrap().unwrap().file_name().into_string().unwrap();
            vec![format!("/dev/vfio/devices/{own}"), "/dev/iommu".to_owned()]
        }
        _ => vec![format!("/dev/vfio/{}", link_name(sysfs().join("iommu_group")))],
    };
    let give = |id| nodes.iter().try_for_each(|node| chown(node, Some(id), Some(id)));
    give(1000).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture"]).env(ORDINARY, "1").uid(1000).gid(1000);
    let ran = ran(child.output().unwrap());
    give(0).unwrap();
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 passed"), "{}", ran.stdout);
}

fn over_the_limit() {
    on_the_device(|_, space| {
        // The kernel's own default: 8 MiB.
        let small = DmaBuffer::new(space, 1 << 20, READ).unwrap();
        let error = DmaBuffer::new(space, 16 << 20, READ).unwrap_err();
        let DmaError::LockedMemory { length, locked, limit, per_user, .. } = &error else {
            panic!("{error}")
        };
        // An iommufd counts what the user locks in all of his processes; this is the only one.
        let by_iommufd = machine::route() == "cdev";
        assert_eq!(
            (*length, *locked, *limit, *per_user),
            (16 << 20, 1 << 20, Some(8 << 20), by_iommufd)
        );
        let text = error.to_string();
        for part in ["17825792", "8388608", "RLIMIT_MEMLOCK", "LimitMEMLOCK=", "CAP_IPC_LOCK"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(error.source().is_some());
        assert_eq!(space.mappings().len(), 1);
        assert!(small.is_mapped());
        DmaBuffer::new(space, 1 << 20, READ).unwrap();
    });
}

#[test]
fn dma_buffers_of_huge_pages_need_some_and_say_so() {
    const RESERVED: &str = "/proc/sys/vm/nr_hugepages";
    on_the_device(|_, space| {
        fs::write(RESERVED, "0").unwrap();
        let wanted = DmaBuffer::builder(5000, READ | WRITE);
        let error = wanted.clone().pages(Pages::Huge).build(space).unwrap_err();
        assert!(error.to_string().contains("vm.nr_hugepages"), "{error}");
        let normal = wanted.clone().pages(Pages::HugeIfFree).build(space).unwrap();
        assert_eq!(normal.len(), 8192);
        fs::write(RESERVED, "2").unwrap();
        for pages in [Pages::Huge, Pages::HugeIfFree] {
            let huge = wanted.clone().pages(pages).build(space).unwrap();
            assert_eq!((huge.len(), huge.iova() % (2 << 20)), (2 << 20, 0));
            huge.write((2 << 20) - 8, 7u64).unwrap();
            assert_eq!(huge.read::<u64>((2 << 20) - 8), Ok(7));
        }
        let both = [(); 2].map(|()| wanted.clone().pages(Pages::Huge).build(space).unwrap());
        assert!(wanted.clone().pages(Pages::Huge).build(space).is_err(), "all are in use");
        drop(both);
        fs::write(RESERVED, "0").unwrap();
        // All of them were given back.
        assert_eq!(fs::read_to_string(RESERVED).unwrap().trim(), "0");
    });
}
