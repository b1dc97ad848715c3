//! How a driver type becomes an entry that the engine can hold.

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;

use super::{BusType, ProbeDevice, ProbeError, SelfTest, SelfTestError, UnbindReason};

/// Connects a bus's driver trait to the engine: implemented once in a bus crate, for all `T` that
/// implement its trait.
#[diagnostic::on_unimplemented(
    message = "`{T}` is not a driver of this bus",
    note = "implement the `Driver` trait of the bus crate for it"
)]
pub trait Registers<T: Send + Sync + 'static>: BusType {
    /// The driver's name, unique in a program.
    const NAME: &'static str;

    /// Line `index` of the driver's id table; `None` behind its end.
    fn id(index: usize) -> Option<&'static Self::Id>;

    /// Offers a device that line `id` of the table matched.
    ///
    /// # Errors
    /// [`ProbeError`] when the driver does not bind it.
    fn probe(device: ProbeDevice<Self>, id: usize) -> Result<T, ProbeError>;

    /// Tells the driver that its device is taken away.
    fn unbind(driver: &T, reason: UnbindReason);

    /// Runs the driver's self-test.
    ///
    /// # Errors
    /// What the self-test found wrong.
    fn self_test(driver: &T) -> Result<SelfTest, SelfTestError>;
}

/// A driver as the engine knows it: its name, its id table, and how to probe.
pub struct Registration<B: BusType> {
    name: &'static str,
    type_id: fn() -> TypeId,
    id: fn(usize) -> Option<&'static B::Id>,
    probe: Probe<B>,
}

type Probe<B> = fn(ProbeDevice<B>, usize) -> Result<Box<dyn BoundDriver>, ProbeError>;

impl<B: BusType> Registration<B> {
    /// The registration of driver `T`.
    #[must_use]
    pub const fn of<T: Send + Sync + 'static>() -> Self
    where
        B: Registers<T>,
    {
        Self {
            name: <B as Registers<T>>::NAME,
            type_id: TypeId::of::<T>,
            id: <B as Registers<T>>::id,
            probe: |device, id| {
                let driver = <B as Registers<T>>::probe(device, id)?;
                Ok(Box::new(Adapter::<B, T> { driver, bus: PhantomData }))
            },
        }
    }

    /// The driver's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The driver's id table.
    pub fn ids(&self) -> impl Iterator<Item = &'static B::Id> {
        (0..).map_while(self.id)
    }

    pub(super) fn is_same_type(&self, other: &Self) -> bool {
        (self.type_id)() == (other.type_id)()
    }

    pub(super) fn probe(
        &self,
        device: ProbeDevice<B>,
        id: usize,
    ) -> Result<Box<dyn BoundDriver>, ProbeError> {
        (self.probe)(device, id)
    }
}

impl<B: BusType> Clone for Registration<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: BusType> Copy for Registration<B> {}

impl<B: BusType> fmt::Debug for Registration<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.name).finish()
    }
}

/// A driver that is bound to a device, whatever its type.
pub(super) trait BoundDriver: Send + Sync {
    fn unbind(&self, reason: UnbindReason);
    fn self_test(&self) -> Result<SelfTest, SelfTestError>;
    fn as_any(&self) -> &dyn Any;
}

struct Adapter<B, T> {
    driver: T,
    bus: PhantomData<fn() -> B>,
}

impl<T: Send + Sync + 'static, B: Registers<T>> BoundDriver for Adapter<B, T> {
    fn unbind(&self, reason: UnbindReason) {
        B::unbind(&self.driver, reason);
    }

    fn self_test(&self) -> Result<SelfTest, SelfTestError> {
        B::self_test(&self.driver)
    }

    fn as_any(&self) -> &dyn Any {
        &self.driver
    }
}
