//! DMA of a mediated device: its kernel driver pins the pages that it is told of, one at a time. There is
//! no IOMMU, so the kernel looks at the memory only then, and not when it is mapped.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use vfio_common::device::{Device, ResetOutcome};
use vfio_common::iommu::{AddressSpace, DeviceAccess, DmaBuffer};
use vfio_common::route::{Opener as _, Target};

use crate::machine::{self, Created, nodes, ran};

const READ: DeviceAccess = DeviceAccess::READ;
const WRITE: DeviceAccess = DeviceAccess::WRITE;
const PAGE: usize = 4096;
const ENOMEM: u32 = 12;
/// Set for a child of a test, which has this device and may lock no memory.
const CHILD: &str = "MDEVBUS_TEST_DMA_DEVICE";

/// Registers of region 0; the second region is the page that is copied.
const IDENTITY: u64 = 0x00;
const STATUS: u64 = 0x04;
const IOVA: u64 = 0x08;
const DOORBELL: u64 = 0x10;
const FROM_MEMORY: u32 = 1;
const TO_MEMORY: u32 = 2;

fn on_the_device(uuid: &str, test: impl FnOnce(&Device, &AddressSpace)) {
    let vfio = machine::vfio();
    let sysfs = Path::new("bus/mdev/devices").join(uuid);
    let device = vfio.open(&Target { name: uuid.to_owned(), sysfs }).unwrap();
    assert_eq!(device.region(0).unwrap().read32(IDENTITY).unwrap(), u32::from_le_bytes(*b"dma "));
    test(&device, &vfio.address_space().unwrap());
}

fn device() -> Created {
    Created::new("mdevtest-soc", "mdevtest-dma")
}

/// Lets the device copy a page; its status is 0 or the number of an error.
fn copy(device: &Device, iova: u64, command: u32) -> u32 {
    let registers = device.region(0).unwrap();
    registers.write64(IOVA, iova).unwrap();
    registers.write32(DOORBELL, command).unwrap();
    registers.read32(STATUS).unwrap()
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..=250).cycle().take(length).map(|byte: u8| byte ^ seed).collect()
}

#[test]
fn bytes_arrive_in_the_device_and_in_memory() {
    let created = device();
    on_the_device(&created.uuid, |device, space| {
        let buffer = DmaBuffer::new(space, 3 * PAGE, READ | WRITE).unwrap();
        let own = device.region(1).unwrap();
        let bytes = pattern(3 * PAGE, 0x5a);
        buffer.copy_in(0, &bytes).unwrap();
        let last = buffer.iova() + 2 * PAGE as u64;
        assert_eq!(copy(device, last, FROM_MEMORY), 0);
        let mut found = vec![0; PAGE];
        own.read_bytes(0, &mut found).unwrap();
        assert_eq!(found, bytes[2 * PAGE..]);

        let answer = pattern(PAGE, 0xa5);
        own.write_bytes(0, &answer).unwrap();
        assert_eq!(copy(device, buffer.iova(), TO_MEMORY), 0);
        let mut memory = vec![0; 3 * PAGE];
        buffer.copy_out(0, &mut memory).unwrap();
        assert_eq!(memory[..PAGE], answer);
        assert_eq!(memory[PAGE..], bytes[PAGE..], "and no byte more");
        assert_eq!(device.reset().unwrap(), ResetOutcome::Done);
    });
}

#[test]
fn the_device_does_not_reach_what_is_read_only_or_unmapped() {
    let created = device();
    on_the_device(&created.uuid, |device, space| {
        let read_only = DmaBuffer::new(space, PAGE, READ).unwrap();
        device.region(1).unwrap().write_bytes(0, &pattern(PAGE, 1)).unwrap();
        assert_ne!(copy(device, read_only.iova(), TO_MEMORY), 0);
        assert_eq!(read_only.read::<u64>(0), Ok(0));
        assert_eq!(copy(device, read_only.iova(), FROM_MEMORY), 0);
        let gone = read_only.iova();
        drop(read_only);
        for command in [FROM_MEMORY, TO_MEMORY] {
            assert_ne!(copy(device, gone, command), 0);
        }
    });
}

#[test]
fn memory_over_the_limit_is_refused_when_the_device_pins_it_and_the_diagnosis_has_warned() {
    const NAME: &str = "mediated_dma::memory_over_the_limit_is_refused_when_the_device_pins_it_and_the_diagnosis_has_warned";
    if let Ok(uuid) = std::env::var(CHILD) {
        over_the_limit(&uuid);
        return;
    }
    let created = device();
    for node in nodes(&created) {
        chown(node, Some(1000), Some(1000)).unwrap();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture"]).env(CHILD, &created.uuid).uid(1000).gid(1000);
    let ran = ran(child.output().unwrap());
    for node in nodes(&created) {
        chown(node, Some(0), Some(0)).unwrap();
    }
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 passed"), "{}", ran.stdout);
    if machine::route() == "group" {
        let log = machine::ran(Command::new("/bin/busybox").arg("dmesg").output().unwrap());
        let line = log.stdout.lines().find(|line| line.contains("RLIMIT_MEMLOCK (0) exceeded"));
        assert!(line.is_some_and(|line| line.contains("vfio_pin_page_external")), "{line:?}");
    }
}

fn over_the_limit(uuid: &str) {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Memlock, none).unwrap();
    let diagnosed = machine::run(&["doctor", uuid]);
    assert_eq!(diagnosed.status, 0, "it opens all the same: {}", diagnosed.stdout);
    for part in ["warning", "RLIMIT_MEMLOCK lets this process lock 0 KiB", "LimitMEMLOCK="] {
        assert!(diagnosed.stdout.contains(part), "{part}: {}", diagnosed.stdout);
    }
    on_the_device(uuid, |device, space| {
        let buffer = DmaBuffer::new(space, PAGE, READ | WRITE).unwrap();
        assert!(buffer.is_mapped(), "nobody has looked at the memory yet");
        assert_eq!(copy(device, buffer.iova(), FROM_MEMORY), ENOMEM);
    });
}
