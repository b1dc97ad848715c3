//! The parents and types that a machine can create devices of by itself, and the pools that limit
//! them.

use std::io;

use crate::SoftDevice;
use crate::mdevtest::{Platform, Sparse};
use crate::mtty::Mtty;
use crate::tree::{MdevType, Parent};

/// A type, with all that the kernel driver behind it knows of it.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) parent: &'static str,
    /// The directory that the parent lies in, below `devices`.
    below: &'static str,
    pub(super) kernel_driver: &'static str,
    pub(super) mdev_type: &'static str,
    name: &'static str,
    description: Option<&'static str>,
    device_api: &'static str,
    pool: Pool,
    /// What one device takes of the pool.
    units: u32,
    pub(super) device: fn() -> io::Result<SoftDevice>,
}

/// What types share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    MttyPorts,
    MdevtestInstances,
}

const KINDS: [Kind; 4] = [
    Kind {
        parent: "mtty",
        below: "virtual/mtty",
        kernel_driver: "mtty",
        mdev_type: "mtty-1",
        name: "Single port serial",
        description: None,
        device_api: "vfio-pci",
        pool: Pool::MttyPorts,
        units: 1,
        device: || SoftDevice::new(Mtty::single_port()),
    },
    Kind {
        parent: "mtty",
        below: "virtual/mtty",
        kernel_driver: "mtty",
        mdev_type: "mtty-2",
        name: "Dual port serial",
        description: None,
        device_api: "vfio-pci",
        pool: Pool::MttyPorts,
        units: 2,
        device: || SoftDevice::new(Mtty::dual_port()),
    },
    Kind {
        parent: "mdevtest",
        below: "virtual/mdevtest",
        kernel_driver: "mdevtest",
        mdev_type: "mdevtest-sparse",
        name: "Sparse region test device",
        description: Some("BARs that exercise every mapping rule"),
        device_api: "vfio-pci",
        pool: Pool::MdevtestInstances,
        units: 1,
        device: || SoftDevice::new(Sparse::new()),
    },
    // The device API is the parent's driver's: another API takes another parent.
    Kind {
        parent: "mdevtest-soc",
        below: "virtual/mdevtest",
        kernel_driver: "mdevtest_platform",
        mdev_type: "mdevtest-platform",
        name: "Platform test device",
        description: None,
        device_api: "vfio-platform",
        pool: Pool::MdevtestInstances,
        units: 1,
        device: || SoftDevice::new(Platform::new()),
    },
];

/// What is left of each pool.
#[derive(Debug)]
pub(super) struct Pools {
    mtty_ports: u32,
    mdevtest_instances: u32,
}

impl Kind {
    pub(super) fn find(parent: &str, mdev_type: &str) -> Option<&'static Self> {
        static ALL: [Kind; 4] = KINDS;
        ALL.iter().find(|kind| kind.parent == parent && kind.mdev_type == mdev_type)
    }
}
