//! Finding the driver of a device among several, by what sysfs says.
#![expect(clippy::unwrap_used, reason = "what cannot be had ends the bench")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mdev_bus::{Bus, DeviceApi, Driver, MdevId, PciMatch, ProbeDevice, ProbeError};
use vfio_sim::Machine;

macro_rules! driver {
    ($type:ident, $name:literal, $id:expr) => {
        struct $type;
        impl Driver for $type {
            type IdInfo = ();
            const NAME: &'static str = $name;
            const ID_TABLE: &'static [(MdevId, ())] = &[const { ($id, ()) }; 8];
            fn probe(_: ProbeDevice, (): &'static ()) -> Result<Self, ProbeError> {
                Ok(Self)
            }
        }
    };
}

driver!(ByApi, "by-api", MdevId::of_api(DeviceApi::Pci));
driver!(ByVendor, "by-vendor", MdevId::of_pci(PciMatch::vendor(0x8086)));
driver!(ByTypes, "by-types", MdevId::of_type("i915-*"));
driver!(ByParent, "by-parent", MdevId::of_parent("0000:00:02.0"));
driver!(ByType, "by-type", MdevId::of_type("mtty-2"));

fn matching(criterion: &mut Criterion) {
    let machine = Machine::demo().unwrap();
    let builder = Bus::builder().host(machine.host()).without_registered();
    let builder = builder.driver::<ByApi>().driver::<ByVendor>().driver::<ByTypes>();
    let bus = builder.driver::<ByParent>().driver::<ByType>().build().unwrap();
    bus.scan().unwrap();
    let devices = bus.devices();
    let card = devices.iter().find(|info| info.mdev_type.as_deref() == Some("mtty-2")).unwrap();
    assert_eq!(bus.registry().best(card).map(|driver| driver.name()), Some("by-type"));
    criterion.bench_function("match/5 drivers of 8 ids", |bencher| {
        bencher.iter(|| black_box(bus.registry().best(black_box(card))));
    });
}

criterion_group!(benches, matching);
criterion_main!(benches);
