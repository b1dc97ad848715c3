//! The machine that a run of the program works on.

use std::sync::Arc;

use mdev_bus::{Bus, Mdev};
use pci_bus::Pci;
use vfio_common::bus::BusType as _;
use vfio_common::device::Device;
use vfio_common::diagnosis::Examination;
use vfio_common::route::{OpenWith, Opener, Vfio};
use vfio_common::sysfs::Host;
use vfio_sim::Machine;

use crate::arguments::{self, Arguments, Route};
use crate::bus::Shown as _;
use crate::failure::Failure;

/// This machine, another root, or software devices, which live as long as this value.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) host: Host,
    pub(crate) json: bool,
    opener: Arc<dyn Opener>,
    route: vfio_common::route::Route,
    with: OpenWith,
    machine: Option<Machine>,
}

impl Session {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let json = arguments.json;
        if arguments.sim {
            let machine = Machine::demo()?;
            let (host, opener) = (machine.host(), machine.opener());
            let route = vfio_common::route::Route::Auto;
            return Ok(Self {
                host,
                route,
                with: OpenWith::new(),
                json,
                opener,
                machine: Some(machine),
            });
        }
        let host = Host::new(&arguments.sysfs, &arguments.dev).with_proc(&arguments.proc);
        let route = match arguments.route {
            Route::Auto => vfio_common::route::Route::Auto,
            Route::Cdev => vfio_common::route::Route::Cdev,
            Route::Group => vfio_common::route::Route::Group,
        };
        let mut vfio = Vfio::new(host.clone()).route(route);
        let mut with = OpenWith::new();
        if let Some(token) = arguments.vf_token {
            vfio = vfio.vf_token(token);
            with = with.vf_token(token);
        }
        Ok(Self { host, route, with, json, opener: Arc::new(vfio), machine: None })
    }

    /// A look at the machine. Software devices have no nodes that could be wrong.
    pub(crate) fn examination(&self) -> Examination {
        let examination =
            Examination::new(self.host.clone()).route(self.route).open_with(self.with.clone());
        if self.is_software() { examination.without_nodes() } else { examination }
    }

    pub(crate) fn is_software(&self) -> bool {
        self.machine.is_some()
    }

    /// A bus of this machine, if it has one.
    pub(crate) fn bus(&self) -> Result<Bus, Failure> {
        self.check_bus()?;
        self.bus_without_check()
    }

    /// For subcommands that need drivers and no devices.
    pub(crate) fn bus_without_check(&self) -> Result<Bus, Failure> {
        let builder = Bus::builder().host(self.host.clone()).opener(self.opener.clone());
        Ok(builder.build()?)
    }

    /// The PCI bus of this machine, if it has one.
    pub(crate) fn pci_bus(&self) -> Result<pci_bus::Bus, Failure> {
        if self.host.sysfs_dir(Pci::DEVICES)?.is_none() {
            return Err(Failure::NoPciBus { path: self.host.sysfs_root().join("bus/pci") });
        }
        self.pci_bus_without_check()
    }

    /// For subcommands that need drivers and no functions.
    pub(crate) fn pci_bus_without_check(&self) -> Result<pci_bus::Bus, Failure> {
        let builder = pci_bus::Bus::builder().host(self.host.clone()).opener(self.opener.clone());
        Ok(builder.build()?)
    }

    /// Opens a device of either bus.
    pub(crate) fn open(&self, device: &arguments::Device) -> Result<Device, Failure> {
        match device {
            arguments::Device::Mdev(uuid) => self.bus()?.open(uuid).map_err(Mdev::failure),
            arguments::Device::Pci(address) => self.pci_bus()?.open(address).map_err(Pci::failure),
        }
    }

    /// A machine without the bus is an error to somebody who asks for its devices.
    pub(crate) fn check_bus(&self) -> Result<(), Failure> {
        if mdev_bus::is_bus_present(&self.host)? {
            return Ok(());
        }
        Err(Failure::NoBus { path: self.host.sysfs_root().join("bus/mdev") })
    }
}
