//! The kernel's sample serial card, `samples/vfio-mdev/mtty.c`: a PCI function with one or two ports
//! that look like a 16550. What a port transmits, it receives.
//!
//! ```
//! use std::io::{Read as _, Write as _};
//!
//! use drivers::mtty::Mtty;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! let bus = mdev_bus::Bus::builder().host(machine.host()).opener(machine.opener()).build()?;
//! let uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".parse()?;
//! bus.plug(&uuid)?;
//!
//! let mtty = bus.driver::<Mtty>(&uuid).ok_or("not bound")?;
//! let heard = mtty.with(|mtty| -> std::io::Result<_> {
//!     let mut port = mtty.port(0).ok_or(std::io::ErrorKind::NotFound)?;
//!     port.write_all(b"hello")?;
//!     let mut heard = [0; 5];
//!     port.read_exact(&mut heard)?;
//!     Ok(heard)
//! });
//! assert_eq!(&heard.ok_or("unbound")??, b"hello");
//! # Ok(()) }
//! ```

mod line;
mod port;
mod registers;
mod self_test;

use mdev_bus::{
    Driver, MdevId, ProbeDevice, ProbeError, SelfTest, SelfTestError, UnbindReason, register_driver,
};

pub use line::{LineSettings, Parity, StopBits};
pub use port::{Port, PortError};

const VENDOR: u16 = 0x4348;
const DEVICE: u16 = 0x3253;

/// A serial card.
#[derive(Debug)]
pub struct Mtty {
    ports: Vec<Port>,
}

/// What a line of the id table says of a card: the number of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports(u32);

impl Mtty {
    /// Port `index`, counted from 0; `None` when the card has no such port.
    #[must_use]
    pub fn port(&self, index: usize) -> Option<&Port> {
        self.ports.get(index)
    }

    /// All ports.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }
}

impl Driver for Mtty {
    type IdInfo = Ports;
    const NAME: &'static str = "mtty";
    const ID_TABLE: &'static [(MdevId, Ports)] =
        &[(MdevId::of_type("mtty-1"), Ports(1)), (MdevId::of_type("mtty-2"), Ports(2))];

    fn probe(device: ProbeDevice, Ports(ports): &'static Ports) -> Result<Self, ProbeError> {
        let device = device.device();
        let config = device.pci_config()?;
        let config = config.ok_or_else(|| ProbeError::Declined("not a PCI function".into()))?;
        let ids = config.ids()?;
        if (ids.vendor, ids.device) != (VENDOR, DEVICE) {
            return Err(ProbeError::Declined(format!("its PCI ids are {ids}")));
        }
        let ports = (0..*ports).map(|index| Port::open(device.region(index)?));
        Ok(Self { ports: ports.collect::<Result<_, _>>()? })
    }

    fn unbind(&self, _: UnbindReason) {
        for port in &self.ports {
            port.close();
        }
    }

    fn self_test(&self) -> Result<SelfTest, SelfTestError> {
        for port in &self.ports {
            self_test::run(port)?;
        }
        Ok(SelfTest::Passed(self_test::summary(self.ports.len())))
    }
}

register_driver!(Mtty);
