//! Where a test gets its devices: from software, or from the kernel that the test runs on. The same
//! tests run on both, so the software devices cannot drift from the kernel's.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails the test")]

mod pci;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mdev_bus::{Address, Builder, Bus};
use uuid::Uuid;
use vfio_common::device::Device;
use vfio_common::iommu::AddressSpace;
use vfio_common::route::{Opener, Route, Vfio};
use vfio_common::sysfs::Host;
use vfio_sim::Machine;

pub(crate) use pci::Function;

/// Set to `kernel` inside the virtual machine of `tests/kernel`.
const TARGET: &str = "MDEVBUS_TEST_TARGET";
/// There also set to the route by which devices are opened: `cdev` or `group`.
const ROUTE: &str = "MDEVBUS_TEST_ROUTE";

/// A machine with the parents `mtty` and `mdevtest`.
#[derive(Debug)]
pub(crate) enum Bench {
    Software(Box<Machine>),
    Kernel(Route),
}

/// A device that a test created; removed when dropped.
#[derive(Debug)]
pub(crate) struct Created<'a> {
    pub(crate) address: Address,
    bench: &'a Bench,
}

/// The removal of a device, which ends when nobody has it open any more.
#[derive(Debug)]
pub(crate) struct Removal<'a> {
    address: Address,
    bench: &'a Bench,
    /// The kernel's answer.
    done: mpsc::Receiver<io::Result<()>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        match std::env::var(TARGET).as_deref() {
            Ok("kernel") => Self::Kernel(match std::env::var(ROUTE).as_deref() {
                Ok("cdev") => Route::Cdev,
                Ok("group") => Route::Group,
                other => panic!("{ROUTE} is {other:?}, which is not a route"),
            }),
            Ok(other) => panic!("{TARGET} is {other:?}, which is not a target"),
            Err(_) => Self::Software(Machine::new().unwrap().into()),
        }
    }

    pub(crate) fn create(&self, parent: &str, mdev_type: &str) -> Created<'_> {
        static CREATED: AtomicU64 = AtomicU64::new(1);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let uuid = Uuid::from_u64_pair(u64::from(std::process::id()), 1 << 63 | number);
        let address = Address::from(uuid);
        match self {
            Self::Software(machine) => {
                machine.create(&address.to_string(), parent, mdev_type).unwrap();
            }
            Self::Kernel(_) => {
                let create =
                    format!("/sys/class/mdev_bus/{parent}/mdev_supported_types/{mdev_type}/create");
                fs::write(create, address.to_string()).unwrap();
            }
        }
        Created { address, bench: self }
    }

    pub(crate) fn host(&self) -> Host {
        match self {
            Self::Software(machine) => machine.host(),
            Self::Kernel(_) => Host::system(),
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        let builder = Bus::builder().host(self.host());
        match self {
            Self::Software(machine) => builder.opener(machine.opener()),
            Self::Kernel(route) => {
                builder.opener(Arc::new(Vfio::new(Host::system()).route(*route)))
            }
        }
    }

    /// An opener, and the address space that the devices share which it opens.
    pub(crate) fn address_space(&self) -> (Arc<dyn Opener>, AddressSpace) {
        match self {
            Self::Software(machine) => (machine.opener(), machine.address_space()),
            Self::Kernel(route) => {
                let vfio = Vfio::new(self.host()).route(*route);
                let space = vfio.address_space().unwrap();
                (Arc::new(vfio), space)
            }
        }
    }

    /// What the kernel calls that address space; software is like a container.
    pub(crate) fn address_space_kind(&self) -> &'static str {
        match self {
            Self::Kernel(Route::Cdev) => "ioas",
            _ => "container",
        }
    }

    /// An address space of its own, without devices; software has none.
    pub(crate) fn ioas(&self) -> Option<AddressSpace> {
        match self {
            Self::Software(_) => None,
            Self::Kernel(_) => Some(AddressSpace::new_ioas(&self.host()).unwrap()),
        }
    }

    pub(crate) fn bus(&self) -> Bus {
        self.builder().build().unwrap()
    }

    /// Opens a device without a driver.
    pub(crate) fn open(&self, created: &Created<'_>) -> Device {
        self.bus().open(&created.address).unwrap()
    }
}

impl<'a> Created<'a> {
    /// Starts to remove the device, which may be open.
    pub(crate) fn start_removal(self) -> Removal<'a> {
        let (address, bench) = (self.address, self.bench);
        let remove = self.sysfs_path().join("remove");
        std::mem::forget(self);
        let (answer, done) = mpsc::channel();
        match bench {
            Bench::Software(machine) => machine.remove(&address.to_string()).unwrap(),
            // The write returns when the device is gone. If that is never, only the thread waits.
            Bench::Kernel(_) => {
                thread::spawn(move || answer.send(fs::write(remove, "1")));
            }
        }
        Removal { address, bench, done }
    }
}

impl Removal<'_> {
    /// Whether the device is gone, now or within `limit`.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        match self.bench {
            Bench::Software(machine) => machine.device(&self.address.to_string()).is_none(),
            Bench::Kernel(_) => match self.done.recv_timeout(limit) {
                Ok(removed) => {
                    removed.unwrap();
                    true
                }
                Err(_) => false,
            },
        }
    }
}

impl Created<'_> {
    fn sysfs_path(&self) -> PathBuf {
        let root = self.bench.host().sysfs_root().to_owned();
        root.join("bus/mdev/devices").join(self.address.to_string())
    }
}

impl Drop for Created<'_> {
    fn drop(&mut self) {
        // The kernel would wait for ever for a device that is still open, and with it the test: by
        // now it must be closed, which is what the write proves.
        let removed = match self.bench {
            Bench::Software(machine) => {
                machine.remove(&self.address.to_string()).map_err(|error| error.to_string())
            }
            Bench::Kernel(_) => {
                let remove = self.sysfs_path().join("remove");
                fs::write(remove, "1").map_err(|error| error.to_string())
            }
        };
        if !thread::panicking() {
            removed.unwrap();
        }
    }
}
