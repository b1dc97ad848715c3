//! The interrupt of the device: by message, or on a line.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vfio_common::device::Device;
use vfio_common::irq::{IrqSet, pci};
use vfio_common::region::Region;

use super::EduError;
use super::registers::{ACKNOWLEDGE, INTERRUPT_STATUS};

/// A transfer takes the device 100 ms, and an emulated machine may be slow.
const LIMIT: Duration = Duration::from_secs(20);

/// How the device's interrupt comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interrupt {
    /// As a message, MSI.
    Msi,
    /// On the line INTA, which is up until all that is raised is acknowledged.
    Intx,
}

impl Interrupt {
    /// A message where the device has it.
    pub(super) fn best(device: &Device) -> Result<Self, EduError> {
        for interrupt in [Self::Msi, Self::Intx] {
            if device.irq_info(interrupt.index())?.is_some() {
                return Ok(interrupt);
            }
        }
        Err(EduError::NoInterrupt)
    }

    fn index(self) -> u32 {
        match self {
            Self::Msi => pci::MSI,
            Self::Intx => pci::INTX,
        }
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Msi => "MSI",
            Self::Intx => "INTx",
        })
    }
}

/// The interrupt that is on.
#[derive(Debug)]
pub(super) struct Line {
    interrupt: Interrupt,
    /// `None` when a change of the way failed.
    irqs: Option<IrqSet>,
    count: AtomicU64,
}

impl Line {
    pub(super) fn open(device: &Device, interrupt: Interrupt) -> Result<Self, EduError> {
        let irqs = Some(device.enable_irq(interrupt.index(), ..)?);
        Ok(Self { interrupt, irqs, count: AtomicU64::new(0) })
    }

    pub(super) fn change(&mut self, device: &Device, interrupt: Interrupt) -> Result<(), EduError> {
        // Only one of them is on at a time.
        self.irqs = None;
        self.interrupt = interrupt;
        self.irqs = Some(device.enable_irq(interrupt.index(), ..)?);
        Ok(())
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        self.interrupt
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The interrupt, without which nothing should be begun that it is to end.
    pub(super) fn irqs(&self) -> Result<&IrqSet, EduError> {
        self.irqs.as_ref().ok_or(EduError::InterruptOff { interrupt: self.interrupt })
    }

    /// Waits until the device has raised `bit`, acknowledges all that it has, and goes on until it is done:
    /// what was given up may have left an interrupt over.
    pub(super) fn wait(
        &self,
        registers: &Region,
        bit: u32,
        is_done: impl Fn() -> Result<bool, EduError>,
    ) -> Result<(), EduError> {
        let irqs = self.irqs()?;
        let vector = irqs.vector(0)?;
        let deadline = Instant::now().checked_add(LIMIT);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let fired = vector.wait(left)?;
            let status = registers.read32(INTERRUPT_STATUS)?;
            let Some(count) = fired else {
                let (interrupt, limit) = (self.interrupt, LIMIT);
                return Err(EduError::TimedOut { interrupt, bit, status, limit });
            };
            self.count.fetch_add(count, Ordering::Relaxed);
            registers.write32(ACKNOWLEDGE, status)?;
            if self.interrupt == Interrupt::Intx {
                // The line masked itself, and is down now.
                irqs.unmask(0)?;
            }
            if status & bit != 0 && is_done()? {
                return Ok(());
            }
        }
    }
}
