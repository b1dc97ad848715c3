//! One driver for silicon that is reached in two ways: as a PCI function, and as a mediated device.

use mdev_bus::MdevId;
use pci_bus::PciId;
use vfio_common::bus::{BusType, ProbeDevice, ProbeError};
use vfio_common::device::Device;
use vfio_common::pci_config::PciIds;
use vfio_sim::Machine;
use vfio_sim::mdevtest::Sparse;
use vfio_sim::tree::PciFunction;

const VENDOR: u16 = 0x6d64;
const DEVICE: u16 = 0x7370;
const MAGIC: u32 = 0x7370_6172;
const UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const FUNCTION: &str = "0000:3b:00.0";

/// What both buses bind.
struct Card {
    device: Device,
}

impl Card {
    fn start<B: BusType>(offered: &ProbeDevice<B>) -> Result<Self, ProbeError> {
        let device = offered.device().clone();
        match device.region(0)?.read32(0)? {
            MAGIC => Ok(Self { device }),
            other => Err(ProbeError::Faulty(format!("its magic number is {other:#x}"))),
        }
    }

    fn ids(&self) -> PciIds {
        self.device.pci_config().unwrap().unwrap().ids().unwrap()
    }
}

impl mdev_bus::Driver for Card {
    type IdInfo = ();
    const NAME: &'static str = "card";
    const ID_TABLE: &'static [(MdevId, ())] =
        &[(MdevId::of_pci(PciId::device(VENDOR, DEVICE)), ())];

    fn probe(device: mdev_bus::ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Self::start(&device)
    }
}

impl pci_bus::Driver for Card {
    type IdInfo = ();
    const NAME: &'static str = "card";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::device(VENDOR, DEVICE), ())];

    fn probe(device: pci_bus::ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Self::start(&device)
    }
}

mdev_bus::register_driver!(Card);
pci_bus::register_driver!(Card);

#[test]
fn a_driver_is_registered_on_both_buses_and_binds_on_each() {
    let machine = Machine::new().unwrap();
    machine.create(UUID, "mdevtest", "mdevtest-sparse").unwrap();
    let function = PciFunction::new(FUNCTION, VENDOR, DEVICE).class(0x08_8000);
    machine.plug(&function.vfio_driver("vfio-pci"), Sparse::new()).unwrap();

    let mdev = mdev_bus::Bus::builder().host(machine.host()).opener(machine.opener());
    let mdev = mdev.build().unwrap();
    let pci = pci_bus::Bus::builder().host(machine.host()).opener(machine.opener());
    let pci = pci.build().unwrap();
    assert_eq!(mdev.registry().drivers().map(|driver| driver.name()).collect::<Vec<_>>(), ["card"]);
    assert_eq!(pci.registry().drivers().map(|driver| driver.name()).collect::<Vec<_>>(), ["card"]);
    mdev.scan().unwrap();
    pci.scan().unwrap();
    assert_eq!((mdev.probe().bound(), pci.probe().bound()), (1, 1));
    assert_eq!(machine.open_devices(), 2);

    let as_mdev = mdev.driver::<Card>(&UUID.parse().unwrap()).unwrap().with(Card::ids).unwrap();
    let as_function = pci.driver::<Card>(&FUNCTION.parse().unwrap()).unwrap();
    assert_eq!(as_function.with(Card::ids).unwrap(), as_mdev);
    drop(pci);
    assert!(as_function.with(Card::ids).is_none());
    assert_eq!((mdev.bound().len(), machine.open_devices()), (1, 1), "the other bus stays");
}
