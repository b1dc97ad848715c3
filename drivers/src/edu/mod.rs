//! QEMU's educational PCI device, `edu` (`docs/specs/edu.rst` of QEMU): it computes factorials, copies
//! between memory and a buffer of its own by DMA, and says by an interrupt when it is done.
//!
//! It has what larger devices have, each once, and so is the driver to begin with: registers, an
//! interrupt that comes as a message or on a line, and memory that the device reaches.
//!
//! ```
//! use drivers::edu::Edu;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let machine = vfio_sim::Machine::demo()?;
//! let bus = pci_bus::Bus::builder().host(machine.host()).opener(machine.opener()).build()?;
//! let address = "0000:00:04.0".parse()?;
//! bus.plug(&address)?;
//!
//! let edu = bus.driver::<Edu>(&address).ok_or("not bound")?;
//! let found = edu.with(|edu| -> Result<_, drivers::edu::EduError> {
//!     edu.write(16, b"hello")?; // by DMA, into the device
//!     let mut found = [0; 5];
//!     edu.read(16, &mut found)?; // and back
//!     Ok((edu.factorial(5)?, found))
//! });
//! assert_eq!(found.ok_or("unbound")??, (120, *b"hello"));
//! # Ok(()) }
//! ```

mod dma;
mod error;
mod interrupt;
mod registers;
mod self_test;

use std::sync::{Mutex, MutexGuard, PoisonError};

use pci_bus::{Driver, PciId, ProbeDevice, ProbeError, SelfTest, SelfTestError, register_driver};
use vfio_common::device::Device;
use vfio_common::iommu::AddressSpace;
use vfio_common::region::Region;

pub use error::EduError;
pub use interrupt::Interrupt;

use dma::Bounce;
use interrupt::Line;
use registers::{
    ACKNOWLEDGE, COMPUTING, FACTORIAL, FACTORIAL_DONE, IDENTIFICATION, IDENTITY_MARK,
    INTERRUPT_STATUS, INTERRUPT_WHEN_DONE, LIVENESS, RAISE, STATUS,
};

/// An educational device. It does one thing at a time; threads that share it wait for each other.
#[derive(Debug)]
pub struct Edu {
    device: Device,
    registers: Region,
    /// `None` when somebody else has the address space: then it does no DMA by itself.
    space: Option<AddressSpace>,
    engine: Mutex<Engine>,
}

/// What one user has at a time.
#[derive(Debug)]
struct Engine {
    line: Line,
    /// Made when it is needed first.
    bounce: Option<Bounce>,
}

impl Edu {
    /// Takes over a device that answers: memory decode is on, and bus mastering for DMA and messages. A
    /// [`Bus`](pci_bus::Bus) sees to that. Its interrupt comes as a message where it can.
    ///
    /// # Errors
    /// [`EduError::Unknown`] when it is no educational device, [`EduError::Access`] and
    /// [`EduError::Interrupt`] when it does not do as told.
    pub fn open(device: &Device) -> Result<Self, EduError> {
        let registers = device.region(0)?;
        let found = registers.read32(IDENTIFICATION)?;
        if found & 0xff != IDENTITY_MARK {
            return Err(EduError::Unknown { found });
        }
        // What an earlier user left behind would be taken for an answer.
        registers.write32(STATUS, 0)?;
        registers.write32(ACKNOWLEDGE, registers.read32(INTERRUPT_STATUS)?)?;
        let line = Line::open(device, Interrupt::best(device)?)?;
        let engine = Mutex::new(Engine { line, bounce: None });
        Ok(Self { device: device.clone(), registers, space: device.address_space(), engine })
    }

    /// How its interrupt comes.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.engine().line.interrupt()
    }

    /// Lets its interrupt come another way.
    ///
    /// # Errors
    /// [`EduError::Interrupt`] when there is no such way; then it has none until this succeeds.
    pub fn set_interrupt(&self, interrupt: Interrupt) -> Result<(), EduError> {
        self.engine().line.change(&self.device, interrupt)
    }

    /// Version of the device: major and minor.
    ///
    /// # Errors
    /// [`EduError::Access`].
    pub fn version(&self) -> Result<(u8, u8), EduError> {
        let [_, _, minor, major] = self.registers.read32(IDENTIFICATION)?.to_le_bytes();
        Ok((major, minor))
    }

    /// Whether the device is alive: it inverts what it is given.
    ///
    /// # Errors
    /// [`EduError::Access`].
    pub fn is_alive(&self) -> Result<bool, EduError> {
        let _engine = self.engine();
        for pattern in [0x5555_aaaau32, 0x0123_4567] {
            self.registers.write32(LIVENESS, pattern)?;
            if self.registers.read32(LIVENESS)? != !pattern {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The factorial of `n`, modulo 2^32. The time that it takes grows with `n`.
    ///
    /// # Errors
    /// [`EduError::Busy`] and [`EduError::InterruptOff`] when it is not ready, [`EduError::TimedOut`] when it
    /// takes too long, [`EduError::Access`], [`EduError::Interrupt`].
    pub fn factorial(&self, n: u32) -> Result<u32, EduError> {
        let engine = self.engine();
        engine.line.irqs()?;
        if self.is_computing()? {
            return Err(EduError::Busy);
        }
        self.registers.write32(STATUS, INTERRUPT_WHEN_DONE)?;
        self.registers.write32(FACTORIAL, n)?;
        engine.line.wait(&self.registers, FACTORIAL_DONE, || Ok(!self.is_computing()?))?;
        Ok(self.registers.read32(FACTORIAL)?)
    }

    fn is_computing(&self) -> Result<bool, EduError> {
        Ok(self.registers.read32(STATUS)? & COMPUTING != 0)
    }

    /// Lets the device raise its interrupt, and waits for it.
    ///
    /// # Errors
    /// [`EduError::InterruptOff`], [`EduError::TimedOut`] when it does not arrive, [`EduError::Access`],
    /// [`EduError::Interrupt`].
    pub fn ring(&self) -> Result<(), EduError> {
        const BELL: u32 = 1 << 31;
        let engine = self.engine();
        engine.line.irqs()?;
        self.registers.write32(RAISE, BELL)?;
        engine.line.wait(&self.registers, BELL, || Ok(true))
    }

    /// How many interrupts have arrived since the device was opened.
    #[must_use]
    pub fn interrupts(&self) -> u64 {
        self.engine().line.count()
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for Edu {
    type IdInfo = ();
    const NAME: &'static str = "edu";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::device(0x1234, 0x11e8), ())];

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        Self::open(device.device()).map_err(|error| match error {
            EduError::Unknown { .. } => ProbeError::Declined(error.to_string()),
            EduError::Access(error) => error.into(),
            error => ProbeError::Other(error.into()),
        })
    }

    fn self_test(&self) -> Result<SelfTest, SelfTestError> {
        self_test::run(self).map(SelfTest::Passed)
    }
}

register_driver!(Edu);
