//! Shared memory: a PCI function whose BAR is mapped.

use drivers::ivshmem::Ivshmem;
use pci_bus::{Outcome, SelfTest};
use vfio_common::region::Path;

use crate::bench::Bench;

#[test]
fn shared_memory_is_mapped_whole_and_both_ways_see_it() {
    let bench = Bench::new();
    let function = bench.ivshmem();
    let bus = function.bus();
    let row = bus.plug(&function.address).unwrap();
    assert!(matches!(row.outcome, Outcome::Bound("ivshmem")), "{row}");
    let SelfTest::Passed(text) = bus.self_test(&function.address).unwrap().unwrap() else {
        panic!("it has a self-test")
    };
    assert!(text.starts_with("1048576 bytes of shared memory"), "{text}");

    let driver = bus.driver::<Ivshmem>(&function.address).unwrap();
    let region = bus.open(&function.address).unwrap().region(2).unwrap();
    let ran = driver.with(|shared| {
        let memory = shared.memory();
        assert_eq!(memory.len(), 1 << 20);
        for at in [0, 8, 0x1000, (1 << 20) - 8] {
            let value = at as u64 ^ 0x0123_4567_89ab_cdef;
            memory.try_write64(at, value).unwrap();
            assert_eq!(region.read_via::<u64>(Path::Trapped, at as u64).unwrap(), value);
            region.write_via(Path::Trapped, at as u64, !value).unwrap();
            assert_eq!(memory.try_read64(at), Ok(!value));
        }
        assert!(memory.try_read64(1 << 20).is_err());
    });
    assert_eq!(ran, Some(()));
}

#[test]
fn registers_smaller_than_a_page_are_there_and_no_byte_more() {
    let bench = Bench::new();
    let function = bench.ivshmem();
    let bus = function.bus();
    bus.plug(&function.address).unwrap();
    let registers = bus.open(&function.address).unwrap().region(0).unwrap();
    assert_eq!(registers.size(), 0x100);
    assert_eq!(registers.read32(0xfc).unwrap(), 0);
    assert!(registers.read32(0x100).is_err());
}
