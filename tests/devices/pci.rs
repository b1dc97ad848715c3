//! A PCI function and its driver: QEMU's `pci-testdev`, in software here and behind vfio-pci in the guest.

use std::fs;
use std::path::PathBuf;

use pci_bus::{Address, Bus, Driver, Outcome, PciId, ProbeDevice, ProbeError, UnbindReason};
use vfio_common::pci_config::{Command, PciConfig};
use vfio_common::region::{Region, RegionFlags};
use vfio_sim::pci::TestDevice;

use crate::bench::Bench;

const FUNCTION: &str = "0000:00:09.0";
const ANSWERS: Command = Command::MEMORY.union(Command::IO).union(Command::BUS_MASTER);

/// The function, offered through VFIO until it is dropped.
struct Offered<'a>(&'a Bench);

impl<'a> Offered<'a> {
    fn new(bench: &'a Bench) -> Self {
        match bench {
            Bench::Software(machine) => {
                let function = TestDevice::function(FUNCTION).vfio_driver("vfio-pci");
                machine.plug(&function, TestDevice::new()).unwrap();
            }
            Bench::Kernel(_) => {
                fs::write(path("driver_override"), "vfio-pci").unwrap();
                fs::write("/sys/bus/pci/drivers_probe", FUNCTION).unwrap();
            }
        }
        Self(bench)
    }

    fn bus(&self) -> pci_bus::Builder {
        let (opener, _) = self.0.address_space();
        Bus::builder().host(self.0.host()).opener(opener).without_registered()
    }

    /// A bus that knows the function and has driver `T`.
    fn bus_with<T: Driver>(&self) -> Bus {
        let bus = self.bus().driver::<T>().build().unwrap();
        bus.scan().unwrap();
        bus
    }
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        match self.0 {
            Bench::Software(machine) => machine.remove(FUNCTION).unwrap(),
            // It returns when nobody has the function open.
            Bench::Kernel(_) => {
                fs::write(path("driver/unbind"), FUNCTION).unwrap();
                fs::write(path("driver_override"), "\n").unwrap();
            }
        }
    }
}

fn path(attribute: &str) -> PathBuf {
    PathBuf::from("/sys/bus/pci/devices").join(FUNCTION).join(attribute)
}

fn address() -> Address {
    FUNCTION.parse().unwrap()
}

/// The configuration space of the function, opened beside its driver to look from the side.
fn config(bus: &Bus) -> PciConfig {
    bus.open(&address()).unwrap().pci_config().unwrap().unwrap()
}

/// Counts writes, on memory and on ports.
struct Counter {
    memory: Region,
    ports: Region,
    config: PciConfig,
}

impl Driver for Counter {
    type IdInfo = ();
    const NAME: &'static str = "counter";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::device(0x1b36, 0x0005), ())];

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        let device = device.device();
        let config = device.pci_config()?.ok_or(ProbeError::Faulty("no PCI device".to_owned()))?;
        Ok(Self { memory: device.region(0)?, ports: device.region(1)?, config })
    }

    fn unbind(&self, _: UnbindReason) {
        // The function still answers.
        assert_eq!(count(&self.memory, 1), 1);
    }
}

/// Has the first test of a BAR count `writes`; what the BAR counted.
fn count(registers: &Region, writes: u32) -> u32 {
    registers.write8(0, 0).unwrap();
    let before = registers.read32(0xc).unwrap();
    let (place, data) = (registers.read32(4).unwrap(), registers.read8(8).unwrap());
    for _ in 0..writes {
        registers.write8(place.into(), data).unwrap();
    }
    registers.read32(0xc).unwrap() - before
}

/// Sees the function and fails.
struct Unlucky;

impl Driver for Unlucky {
    type IdInfo = ();
    const NAME: &'static str = "unlucky";
    const ID_TABLE: &'static [(PciId, ())] = Counter::ID_TABLE;

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        let config = device.device().pci_config()?.ok_or(ProbeError::Faulty("none".to_owned()))?;
        let command = config.command()?;
        Err(ProbeError::Faulty(format!("it answers: {}", command.contains(ANSWERS))))
    }
}

#[test]
fn a_function_answers_on_memory_and_ports_while_it_is_bound() {
    let bench = Bench::new();
    let offered = Offered::new(&bench);
    let bus = offered.bus_with::<Counter>();
    let config = config(&bus);
    assert!(config.has_io_bar().unwrap());
    let opened = config.command().unwrap();
    for before in [opened - ANSWERS, (opened - ANSWERS) | Command::MEMORY, opened | ANSWERS] {
        config.set_command(before).unwrap();
        assert_eq!(config.command().unwrap(), before);
        let row = bus.plug(&address()).unwrap();
        assert!(matches!(row.outcome, Outcome::Bound("counter")), "{row}");
        assert_eq!(config.command().unwrap(), before | ANSWERS);
        let counter = bus.driver::<Counter>(&address()).unwrap();
        assert_eq!(counter.with(|counter| count(&counter.memory, 3)), Some(3));
        assert_eq!(counter.with(|counter| count(&counter.ports, 5)), Some(5));
        assert!(bus.unbind(&address()));
        assert_eq!(config.command().unwrap(), before, "taken back, and no more");
    }
}

#[test]
fn what_the_driver_changes_itself_stays() {
    let bench = Bench::new();
    let offered = Offered::new(&bench);
    let bus = offered.bus_with::<Counter>();
    let config = config(&bus);
    let before = config.command().unwrap() - ANSWERS - Command::INTX_DISABLE;
    config.set_command(before).unwrap();
    assert_eq!(bus.probe().bound(), 1);
    let counter = bus.driver::<Counter>(&address()).unwrap();
    let changed = counter.with(|counter| {
        let now = counter.config.command()?;
        counter.config.set_command(now | Command::INTX_DISABLE)
    });
    changed.unwrap().unwrap();
    bus.unbind(&address());
    assert_eq!(config.command().unwrap(), before | Command::INTX_DISABLE);
}

#[test]
fn a_driver_that_fails_leaves_the_command_register_as_it_was() {
    let bench = Bench::new();
    let offered = Offered::new(&bench);
    let bus = offered.bus_with::<Unlucky>();
    let config = config(&bus);
    let before = config.command().unwrap() - ANSWERS;
    config.set_command(before).unwrap();
    let report = bus.probe();
    let failed: Vec<_> = report.failed().collect();
    let said = std::error::Error::source(failed[0].1).unwrap().to_string();
    assert_eq!((failed.len(), said.as_str()), (1, "it answers: true"));
    assert_eq!(config.command().unwrap(), before);
}

#[test]
fn a_function_is_opened_with_memory_and_ports_on_and_without_bus_mastering() {
    let bench = Bench::new();
    let offered = Offered::new(&bench);
    let bus = offered.bus().build().unwrap();
    let device = bus.open(&address()).unwrap();
    let command = device.pci_config().unwrap().unwrap().command().unwrap();
    assert_eq!(command & ANSWERS, Command::MEMORY | Command::IO);
}

#[test]
fn ports_are_reached_through_the_descriptor_and_answer_when_they_are_on() {
    let bench = Bench::new();
    let offered = Offered::new(&bench);
    let device = offered.bus().build().unwrap().open(&address()).unwrap();
    let config = device.pci_config().unwrap().unwrap();
    config.set_command(Command::MEMORY | Command::IO).unwrap();
    let [memory, ports] = [0, 1].map(|bar| device.region(bar).unwrap());
    assert_eq!((memory.size(), ports.size()), (0x1000, 0x100));
    assert!(!ports.info().flags.contains(RegionFlags::MMAP) && ports.mapped().len() == 0);
    for (registers, half) in [(&memory, 0x800), (&ports, 0x83)] {
        assert_eq!(count(registers, 2), 2);
        assert_eq!(registers.read32(4).unwrap(), half);
        assert_eq!(registers.read16(0).unwrap() >> 8, 1, "counts writes of a byte");
    }
    assert_eq!(ports.read32(0x10).unwrap().to_le_bytes(), *b"port");

    config.set_command(Command::empty()).unwrap();
    assert_eq!(ports.read32(0x10).unwrap(), u32::MAX, "nobody answers");
    ports.write8(0, 1).unwrap();
    assert!(
        device.region(0).unwrap().read_via::<u8>(vfio_common::region::Path::Trapped, 0).is_err()
    );
}
