//! The drivers that registered themselves in this program.

use vfio_common::bus::Registration;

use crate::{Driver, Pci};

/// An entry in the program's list of drivers, made by [`register_driver!`](crate::register_driver).
#[derive(Debug)]
pub struct Registered(Registration<Pci>);

inventory::collect!(Registered);

impl Registered {
    /// The entry of driver `T`.
    #[must_use]
    pub const fn of<T: Driver>() -> Self {
        Self(Registration::of::<T>())
    }

    /// All entries, in no particular order.
    pub(crate) fn all() -> Vec<Registration<Pci>> {
        inventory::iter::<Self>().map(|entry| entry.0).collect()
    }
}
