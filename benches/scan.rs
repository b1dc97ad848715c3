//! A scan of the bus: all new, and again with nothing changed.
#![expect(clippy::unwrap_used, reason = "what cannot be had ends the bench")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mdev_bus::Bus;
use vfio_sim::tree::{MdevDevice, MdevType, Parent, Tree};

fn tree(devices: u64) -> Tree {
    let tree = Tree::new().unwrap();
    let parent = Parent::new("mtty").with_type(MdevType::new("mtty-2", "vfio-pci"));
    tree.add_parent(&parent).unwrap();
    for number in 0..devices {
        // Spread over the alphabet, as UUIDs are and as sysfs lists them.
        let spread = number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff;
        let uuid = format!("{spread:08x}-509f-382f-3c1e-e6bfe0fa1001");
        tree.add_device(&MdevDevice::new(uuid, "mtty", "mtty-2")).unwrap();
    }
    tree
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for devices in [10, 1_000, 10_000] {
        let tree = tree(devices);
        let bus = || Bus::builder().host(tree.host()).build().unwrap();
        group.throughput(Throughput::Elements(devices));
        if devices == 10_000 {
            group.sample_size(10);
        }
        group.bench_function(BenchmarkId::new("first", devices), |bencher| {
            bencher.iter_batched(bus, |bus| black_box(bus.scan().unwrap()), BatchSize::LargeInput);
        });
        let known = bus();
        known.scan().unwrap();
        group.bench_function(BenchmarkId::new("again", devices), |bencher| {
            bencher.iter(|| black_box(known.scan().unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
