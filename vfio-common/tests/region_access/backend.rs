//! A device in a memory file that writes down every call.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use vfio_common::device::{Backend, Device, DeviceFlags, DeviceInfo, IrqInfo};
use vfio_common::region::{Area, Region, RegionFlags, RegionInfo};
use vfio_common::{Mapping, Protection, page_size};

pub(crate) const READ_WRITE: RegionFlags = RegionFlags::READ.union(RegionFlags::WRITE);
pub(crate) const MAPPABLE: RegionFlags = READ_WRITE.union(RegionFlags::MMAP);

/// A call that reached the device; offsets count from the device's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read(u64, usize),
    Write(u64, usize),
    Map(u64, usize, Protection),
}

pub(crate) type Mapper = fn(&File, u64, usize, Protection) -> io::Result<Mapping>;

/// What a device does.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub(crate) flags: DeviceFlags,
    pub(crate) regions: BTreeMap<u32, RegionInfo>,
    pub(crate) map: Mapper,
    /// The most bytes that one read or write moves.
    pub(crate) most: usize,
    /// What every read and write fails with.
    pub(crate) error: Option<Errno>,
    /// Where the file ends.
    pub(crate) length: u64,
}

impl Behaviour {
    pub(crate) fn new(regions: impl IntoIterator<Item = RegionInfo>) -> Self {
        Self {
            flags: DeviceFlags::empty(),
            regions: regions.into_iter().map(|info| (info.index, info)).collect(),
            map: |file, offset, length, protection| Mapping::new(file, offset, length, protection),
            most: usize::MAX,
            error: None,
            length: 32 * page_size(),
        }
    }
}

#[derive(Debug)]
struct Memory {
    file: File,
    behaviour: Behaviour,
    calls: Mutex<Vec<Call>>,
}

impl Memory {
    fn called(&self, call: Call) -> io::Result<()> {
        self.calls.lock().unwrap().push(call);
        self.behaviour.error.map_or(Ok(()), |errno| Err(errno.into()))
    }
}

impl Backend for Memory {
    fn device_info(&self) -> io::Result<DeviceInfo> {
        let flags = self.behaviour.flags;
        Ok(DeviceInfo::new(flags, 1, 0))
    }

    fn region_info(&self, index: u32) -> io::Result<RegionInfo> {
        self.behaviour.regions.get(&index).cloned().ok_or(Errno::INVAL.into())
    }

    fn irq_info(&self, _: u32) -> io::Result<IrqInfo> {
        Err(Errno::INVAL.into())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.called(Call::Read(offset, buffer.len()))?;
        let most = self.behaviour.most.min(buffer.len());
        self.file.read_at(&mut buffer[..most], offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.called(Call::Write(offset, bytes.len()))?;
        let most = self.behaviour.most.min(bytes.len());
        self.file.write_at(&bytes[..most], offset)
    }

    fn map(&self, offset: u64, length: usize, protection: Protection) -> io::Result<Mapping> {
        self.calls.lock().unwrap().push(Call::Map(offset, length, protection));
        (self.behaviour.map)(&self.file, offset, length, protection)
    }

    fn reset(&self) -> io::Result<()> {
        Err(Errno::NOTTY.into())
    }
}

/// A device and a look behind it. The name is the memory file's too; it is unique to a test.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) device: Device,
    name: String,
    file: File,
    backend: Weak<Memory>,
}

impl Setup {
    pub(crate) fn new(name: &str, behaviour: Behaviour) -> Self {
        let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC).unwrap());
        file.set_len(behaviour.length).unwrap();
        let memory = Memory { file: file.try_clone().unwrap(), behaviour, calls: Mutex::default() };
        let backend = Arc::new(memory);
        let weak = Arc::downgrade(&backend);
        let device = Device::new(name, backend).unwrap();
        Self { device, name: name.to_owned(), file, backend: weak }
    }

    /// A device with one region, at index 3.
    pub(crate) fn of_region(name: &str, info: RegionInfo) -> (Self, Region) {
        let index = info.index;
        let setup = Self::new(name, Behaviour::new([info]));
        let region = setup.device.region(index).unwrap();
        (setup, region)
    }

    /// The calls since the last time.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.backend.upgrade().unwrap().calls.lock().unwrap())
    }

    /// The bytes of the device, past every call that is counted.
    pub(crate) fn peek(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    pub(crate) fn poke(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).unwrap();
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch { name: self.name.clone(), backend: self.backend.clone() }
    }
}

/// What is left of a device.
#[derive(Debug)]
pub(crate) struct Watch {
    name: String,
    backend: Weak<Memory>,
}

impl Watch {
    pub(crate) fn is_open(&self) -> bool {
        self.backend.strong_count() > 0
    }

    /// Number of mappings of the device that this process has.
    pub(crate) fn mappings(&self) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let file = format!("/memfd:{} (deleted)", self.name);
        maps.lines().filter(|line| line.ends_with(&file)).count()
    }
}

pub(crate) const INDEX: u32 = 3;

/// Where [`holey`] starts in the device's file.
pub(crate) fn start() -> u64 {
    2 * page_size()
}

pub(crate) fn pages(pages: u64) -> u64 {
    pages * page_size()
}

/// Six pages and 0x104 bytes, of which pages 1, 3, 4 and the cut page 6 are mapped.
pub(crate) fn holey() -> RegionInfo {
    let mut info = RegionInfo::new(INDEX, MAPPABLE, pages(6) + 0x104, start());
    info.sparse = Some(vec![
        Area { offset: pages(3), size: pages(2) },
        Area { offset: pages(1), size: pages(1) },
        Area { offset: pages(6), size: pages(1) },
    ]);
    info
}
