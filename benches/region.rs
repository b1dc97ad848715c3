//! One 32-bit access: by a raw pointer, a window, a region where it is mapped, and a region where it is
//! not. The last is a call of the software device, not of the kernel: it says nothing of a real one.
#![expect(clippy::unwrap_used, reason = "what cannot be had ends the bench")]
#![expect(unsafe_code, reason = "the raw pointer is what the others are compared with")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vfio_common::region::{Path, Region};
use vfio_common::route::Target;
use vfio_sim::Machine;

fn sparse_region(machine: &Machine) -> Region {
    let name = "83b8f4f2-509f-382f-3c1e-000000000001".to_owned();
    machine.create(&name, "mdevtest", "mdevtest-sparse").unwrap();
    let sysfs = format!("bus/mdev/devices/{name}").into();
    machine.opener().open(&Target { name, sysfs }).unwrap().region(0).unwrap()
}

fn access(criterion: &mut Criterion) {
    let machine = Machine::new().unwrap();
    let region = sparse_region(&machine);
    let window = region.window(0x3000..0x5000).unwrap();
    let fixed = region.fixed_window::<0x1000>(0x3000).unwrap();

    let mut group = criterion.benchmark_group("read32");
    let raw = window.as_ptr().cast::<u32>();
    group.bench_function("raw pointer", |bencher| {
        bencher.iter(|| {
            let register = black_box(raw).wrapping_add(4);
            // SAFETY: the window lives, has 0x2000 bytes, and starts at a page.
            black_box(unsafe { register.read_volatile() })
        });
    });
    group.bench_function("window, constant offset", |bencher| {
        bencher.iter(|| black_box(black_box(&fixed).read32::<0x10>()));
    });
    group.bench_function("window", |bencher| {
        bencher.iter(|| black_box(window.try_read32(black_box(0x10)).unwrap()));
    });
    group.bench_function("region, mapped", |bencher| {
        bencher.iter(|| black_box(region.read32(black_box(0x3010)).unwrap()));
    });
    group.bench_function("region, trapped", |bencher| {
        let read = || region.read_via::<u32>(Path::Trapped, black_box(0x3010)).unwrap();
        bencher.iter(|| black_box(read()));
    });
    group.finish();
}

criterion_group!(benches, access);
criterion_main!(benches);
