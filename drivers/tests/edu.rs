//! The educational device when it takes its time, and when interrupts are left over or cannot be had.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]
#![forbid(unsafe_code)]

use std::io;

use drivers::edu::{Edu, EduError, Interrupt};
use pci_bus::Bus;
use vfio_common::device::{DeviceInfo, IrqInfo, IrqRequest};
use vfio_common::region::Region;
use vfio_sim::model::{Board, Layout, Model};
use vfio_sim::{Machine, pci};

const FUNCTION: &str = "0000:00:04.0";

const FACTORIAL: u64 = 0x08;
const STATUS: u64 = 0x20;
const INTERRUPT_STATUS: u64 = 0x24;
const RAISE: u64 = 0x60;
const DMA_COMMAND: u64 = 0x98;

const DONE: u32 = 0x101;
const COMPUTING: u8 = 0x1;
const RUN: u8 = 0x1;

/// An educational device that begins with what it was told when it is asked whether it is done.
#[derive(Debug, Default)]
struct Slow {
    edu: pci::Edu,
    told: Option<(u64, Vec<u8>)>,
}

impl Slow {
    /// Where it says whether it is still at it, and how.
    fn shown(told: u64) -> (u64, u8) {
        if told == FACTORIAL { (STATUS, COMPUTING) } else { (DMA_COMMAND, RUN) }
    }
}

impl Model for Slow {
    fn layout(&self) -> Layout {
        self.edu.layout()
    }

    fn device_info(&mut self) -> io::Result<DeviceInfo> {
        self.edu.device_info()
    }

    fn irq_info(&mut self, index: u32) -> io::Result<IrqInfo> {
        self.edu.irq_info(index)
    }

    fn set_irqs(&mut self, board: &Board, request: &IrqRequest<'_>) -> io::Result<u32> {
        self.edu.set_irqs(board, request)
    }

    fn read(&mut self, board: &Board, region: u32, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.edu.read(board, region, at, bytes)?;
        let told = self.told.take_if(|(told, _)| region == 0 && Self::shown(*told).0 == at);
        if let Some((told, value)) = told {
            let (_, busy) = Self::shown(told);
            bytes.iter_mut().take(1).for_each(|byte| *byte |= busy);
            self.edu.write(board, 0, told, &value)?;
        }
        Ok(())
    }

    fn write(&mut self, board: &Board, region: u32, at: u64, bytes: &[u8]) -> io::Result<()> {
        let begins = match at {
            FACTORIAL => true,
            DMA_COMMAND => bytes.iter().take(1).any(|byte| byte & RUN != 0),
            _ => false,
        };
        if region == 0 && begins {
            self.told = Some((at, bytes.to_vec()));
            return Ok(());
        }
        self.edu.write(board, region, at, bytes)
    }
}

/// Runs a test with the driver that the bus bound, and with the registers.
fn on_slow(test: impl Fn(&Machine, &Edu, &Region)) {
    let machine = Machine::new().unwrap();
    machine.plug(&pci::Edu::function(FUNCTION).vfio_driver("vfio-pci"), Slow::default()).unwrap();
    let bus = Bus::builder().host(machine.host()).opener(machine.opener()).build().unwrap();
    let address = FUNCTION.parse().unwrap();
    bus.plug(&address).unwrap();
    let registers = bus.open(&address).unwrap().region(0).unwrap();
    let driver = bus.driver::<Edu>(&address).unwrap();
    assert_eq!(driver.with(|edu| test(&machine, edu, &registers)), Some(()));
}

/// As if what was given up earlier had come to its end.
fn leave_over(registers: &Region) {
    registers.write32(RAISE, DONE).unwrap();
}

#[test]
fn it_is_done_when_it_says_so_and_not_when_an_interrupt_was_left_over() {
    on_slow(|_, edu, registers| {
        for (n, factorial) in [(3, 6), (4, 24), (5, 120)] {
            leave_over(registers);
            edu.write(0, &[n; 9]).unwrap();
            leave_over(registers);
            let mut found = [0; 9];
            edu.read(0, &mut found).unwrap();
            assert_eq!(found, [n; 9]);
            leave_over(registers);
            assert_eq!(edu.factorial(n.into()).unwrap(), factorial);
        }
    });
}

#[test]
fn while_it_is_busy_nothing_is_begun_and_what_it_copies_stays_as_it_was() {
    on_slow(|_, edu, registers| {
        leave_over(registers);
        edu.write(0, &[1; 9]).unwrap();
        registers.write64(DMA_COMMAND, RUN.into()).unwrap();
        let error = edu.write(0, &[2; 9]).unwrap_err();
        assert!(matches!(error, EduError::Busy), "{error}");
        leave_over(registers);
        let mut found = [0; 9];
        edu.read(0, &mut found).unwrap();
        assert_eq!(found, [1; 9], "the transfer that was under way had bytes of its own");

        registers.write32(FACTORIAL, 5).unwrap();
        let error = edu.factorial(6).unwrap_err();
        assert!(matches!(error, EduError::Busy), "{error}");
        assert_eq!(registers.read32(FACTORIAL).unwrap(), 120);
    });
}

#[test]
fn without_an_interrupt_nothing_is_begun_and_the_next_change_mends_it() {
    on_slow(|machine, edu, registers| {
        // MSI goes off, and INTx does not come on.
        machine.fail_call(2, 5);
        edu.set_interrupt(Interrupt::Intx).unwrap_err();
        machine.fail_call(0, 5);
        let errors = [
            edu.write(0, &[1]).unwrap_err(),
            edu.read(0, &mut [0]).unwrap_err(),
            edu.factorial(5).unwrap_err(),
            edu.ring().unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("set_interrupt"), "{error}");
        }
        assert_eq!(registers.read64(DMA_COMMAND).unwrap() & u64::from(RUN), 0);
        assert_eq!(registers.read32(STATUS).unwrap() & u32::from(COMPUTING), 0);
        assert_eq!(registers.read32(INTERRUPT_STATUS).unwrap(), 0);
        edu.set_interrupt(Interrupt::Intx).unwrap();
        edu.ring().unwrap();
    });
}
