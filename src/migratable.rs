//! A device that can be saved and restored.

use mdev_bus::Address;
use vfio_common::migration::{Migration, MigrationState};

use crate::failure::Failure;
use crate::session::Session;
use crate::state_file::Identity;

/// An open device that runs, and what kind it is.
#[derive(Debug)]
pub(crate) struct Migratable {
    pub(crate) migration: Migration,
    pub(crate) identity: Identity,
}

impl Migratable {
    pub(crate) fn open(session: &Session, uuid: &Address) -> Result<Self, Failure> {
        let bus = session.bus()?;
        let info = bus.find(uuid)?;
        let device = bus.open(uuid)?;
        let migration = device.migration()?.ok_or(Failure::NotMigratable { uuid: *uuid })?;
        let ids = device.pci_config()?.map(|config| config.ids()).transpose()?;
        Ok(Self { migration, identity: Identity::new(&info, ids) })
    }

    /// Brings a device back that a program which was stopped left in the middle of a migration; says
    /// so then. Only one program has a device open, so no other one is in the middle.
    pub(crate) fn make_ready(&self) -> Result<Option<String>, Failure> {
        let was = self.migration.recover()?;
        Ok((was != MigrationState::RUNNING).then(|| {
            let name = self.migration.device().name();
            format!("{name} was left in migration state {was} and is now back in RUNNING")
        }))
    }
}
