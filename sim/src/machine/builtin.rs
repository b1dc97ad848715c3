//! The parents that a machine brings with it, their types, and the pools that limit them.

use std::io;

use crate::SoftDevice;
use crate::mdevtest::{Platform, Sparse};
use crate::mtty::Mtty;
use crate::tree::{MdevType, Parent};

/// A parent, with what its kernel driver knows.
#[derive(Debug)]
pub(super) struct Builtin {
    pub(super) name: &'static str,
    /// The directory that it lies in, below `devices`.
    below: &'static str,
    pub(super) kernel_driver: &'static str,
    /// The kernel driver's, for all of its types.
    device_api: &'static str,
    pub(super) pool: Pool,
    pub(super) types: &'static [Type],
}

/// A type of a parent.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) id: &'static str,
    name: &'static str,
    description: Option<&'static str>,
    /// What one device takes of the pool.
    pub(super) units: u32,
    pub(super) device: fn() -> io::Result<SoftDevice>,
}

/// What types share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    MttyPorts,
    MdevtestInstances,
}

static PARENTS: [Builtin; 3] = [
    Builtin {
        name: "mtty",
        below: "virtual/mtty",
        kernel_driver: "mtty",
        device_api: "vfio-pci",
        pool: Pool::MttyPorts,
        types: &[
            Type {
                id: "mtty-1",
                name: "Single port serial",
                description: None,
                units: 1,
                device: || SoftDevice::new(Mtty::single_port()),
            },
            Type {
                id: "mtty-2",
                name: "Dual port serial",
                description: None,
                units: 2,
                device: || SoftDevice::new(Mtty::dual_port()),
            },
        ],
    },
    Builtin {
        name: "mdevtest",
        below: "virtual/mdevtest",
        kernel_driver: "mdevtest",
        device_api: "vfio-pci",
        pool: Pool::MdevtestInstances,
        types: &[Type {
            id: "mdevtest-sparse",
            name: "Sparse region test device",
            description: Some("BARs that exercise every mapping rule"),
            units: 1,
            device: || SoftDevice::new(Sparse::new()),
        }],
    },
    // In the kernel a parent has one driver and a driver one device API.
    Builtin {
        name: "mdevtest-soc",
        below: "virtual/mdevtest",
        kernel_driver: "mdevtest_platform",
        device_api: "vfio-platform",
        pool: Pool::MdevtestInstances,
        types: &[Type {
            id: "mdevtest-platform",
            name: "Platform test device",
            description: None,
            units: 1,
            device: || SoftDevice::new(Platform::new()),
        }],
    },
];

impl Builtin {
    pub(super) fn find(parent: &str, id: &str) -> Option<(&'static Self, &'static Type)> {
        let parent = PARENTS.iter().find(|builtin| builtin.name == parent)?;
        let mdev_type = parent.types.iter().find(|mdev_type| mdev_type.id == id)?;
        Some((parent, mdev_type))
    }

    pub(super) fn of_pool(pool: Pool) -> impl Iterator<Item = &'static Self> {
        PARENTS.iter().filter(move |builtin| builtin.pool == pool)
    }

    /// How it looks in sysfs.
    pub(super) fn parent(&self, pools: &Pools) -> Parent {
        let parent = Parent::new(self.name).below(self.below);
        self.types.iter().fold(parent, |parent, mdev_type| {
            let shown = MdevType::new(mdev_type.id, self.device_api)
                .name(mdev_type.name)
                .instances(pools.instances(self.pool, mdev_type));
            parent.with_type(mdev_type.description.iter().fold(shown, |t, d| t.description(*d)))
        })
    }
}

/// What is left of each pool.
#[derive(Debug)]
pub(super) struct Pools {
    mtty_ports: u32,
    mdevtest_instances: u32,
}

impl Default for Pools {
    fn default() -> Self {
        Self { mtty_ports: 24, mdevtest_instances: 8 }
    }
}

impl Pools {
    /// How many devices of a type can still be created.
    pub(super) fn instances(&self, pool: Pool, mdev_type: &Type) -> u32 {
        let left = match pool {
            Pool::MttyPorts => self.mtty_ports,
            Pool::MdevtestInstances => self.mdevtest_instances,
        };
        left.checked_div(mdev_type.units).unwrap_or(left)
    }

    /// Takes units; whether there were enough.
    pub(super) fn take(&mut self, pool: Pool, units: u32) -> bool {
        let left = self.left(pool);
        let rest = left.checked_sub(units);
        *left = rest.unwrap_or(*left);
        rest.is_some()
    }

    pub(super) fn give_back(&mut self, pool: Pool, units: u32) {
        let left = self.left(pool);
        *left = left.saturating_add(units);
    }

    fn left(&mut self, pool: Pool) -> &mut u32 {
        match pool {
            Pool::MttyPorts => &mut self.mtty_ports,
            Pool::MdevtestInstances => &mut self.mdevtest_instances,
        }
    }
}
