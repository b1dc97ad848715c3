//! A function whose command register cannot be set, and drivers that fail.

use pci_bus::{BindError, Bus, Driver, Outcome, PciId, ProbeDevice, ProbeError};
use vfio_common::pci_config::Command;
use vfio_sim::Machine;
use vfio_sim::pci::TestDevice;

use crate::address;

const FUNCTION: &str = "0000:00:09.0";
const EIO: i32 = 5;

/// Wants its registers to answer.
struct Strict;

impl Driver for Strict {
    type IdInfo = ();
    const NAME: &'static str = "strict";
    const ID_TABLE: &'static [(PciId, ())] = &[(PciId::device(0x1b36, 0x0005), ())];

    fn probe(device: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
        let memory = device.device().region(0)?;
        memory.write8(0, 0)?;
        match memory.read8(1)? {
            1 => Ok(Self),
            width => Err(ProbeError::Faulty(format!("counts writes of {width} bytes"))),
        }
    }
}

fn setup() -> (Machine, Bus) {
    let machine = Machine::new().unwrap();
    let function = TestDevice::function(FUNCTION).vfio_driver("vfio-pci");
    machine.plug(&function, TestDevice::new()).unwrap();
    let builder = Bus::builder().host(machine.host()).opener(machine.opener());
    let bus = builder.without_registered().driver::<Strict>().build().unwrap();
    bus.scan().unwrap();
    (machine, bus)
}

/// The command register, seen by somebody who has the function open, too.
fn command(bus: &Bus) -> Command {
    let device = bus.open(&address(FUNCTION)).unwrap();
    device.pci_config().unwrap().unwrap().command().unwrap()
}

#[test]
fn whatever_call_fails_the_function_closes_and_its_command_register_is_as_before() {
    let (machine, bus) = setup();
    let before = command(&bus);
    let from = machine.calls();
    assert_eq!(bus.probe().bound(), 1);
    let calls = machine.calls() - from;
    bus.unbind(&address(FUNCTION));
    assert_eq!(command(&bus), before);

    let mut steps = Vec::new();
    for n in 1..=calls {
        machine.fail_call(n, EIO);
        let report = bus.probe();
        assert_eq!(report.bound(), 0, "call {n}");
        match &report.rows[0].outcome {
            Outcome::Failed(BindError::Enable { source, .. }) => steps.push(source.to_string()),
            Outcome::Failed(BindError::Open(_) | BindError::Probe { .. }) => {}
            other => panic!("call {n}: {other:?}"),
        }
        drop(report);
        assert_eq!((machine.open_devices(), command(&bus)), (0, before), "call {n}");
    }
    steps.dedup();
    let expected = [
        "cannot reach configuration space",
        "cannot read the command register",
        "cannot read the BARs",
        "cannot switch on memory and bus mastering in the command register",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn an_error_of_the_command_register_names_function_step_and_cause() {
    let (machine, bus) = setup();
    // The open, the device's and the region's descriptions; then the command register is read.
    machine.fail_call(4, EIO);
    let report = bus.probe();
    let (_, error) = report.failed().next().unwrap();
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    assert_eq!(causes[0], "cannot make 0000:00:09.0 ready for a driver");
    assert_eq!(causes[1], "cannot read the command register");
    assert!(causes.last().unwrap().contains("os error 5"), "{causes:?}");
}

#[test]
fn a_register_that_cannot_be_restored_keeps_nothing_open() {
    let (machine, bus) = setup();
    assert_eq!(bus.probe().bound(), 1);
    machine.fail_call(1, EIO);
    assert!(bus.unbind(&address(FUNCTION)));
    assert_eq!(machine.open_devices(), 0);
}
