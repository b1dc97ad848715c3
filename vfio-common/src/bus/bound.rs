//! The devices that are bound, and the references that applications hold to them.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::registration::BoundDriver;
use super::{SelfTest, SelfTestError, UnbindReason};
use crate::device::Device;

/// A bound driver until it is taken back.
pub(super) struct Slot {
    pub(super) driver_name: &'static str,
    type_id: TypeId,
    use_of: Mutex<Use>,
    /// Notified when nobody uses the driver any more.
    unused: Condvar,
}

struct Use {
    /// `None` from the moment it is being taken back: who comes later does not wait for those who
    /// are inside, so a use within a use cannot block.
    bound: Option<Arc<Bound>>,
    users: usize,
}

/// A driver and its device, which is open as long as it is bound, whatever the driver keeps of it.
/// They drop in this order: the driver, what the bus did for it, the device.
struct Bound {
    driver: Box<dyn BoundDriver>,
    _enabled: Box<dyn Any + Send + Sync>,
    _device: Device,
}

/// One use of the driver; ends also by a panic.
struct User<'a> {
    slot: &'a Slot,
    bound: Option<Arc<Bound>>,
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.bound = None;
        let mut state = self.slot.lock();
        state.users = state.users.saturating_sub(1);
        if state.users == 0 {
            self.slot.unused.notify_all();
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("driver_name", &self.driver_name).finish_non_exhaustive()
    }
}

impl Slot {
    pub(super) fn new(
        driver_name: &'static str,
        driver: Box<dyn BoundDriver>,
        enabled: Box<dyn Any + Send + Sync>,
        device: Device,
    ) -> Self {
        let type_id = driver.as_any().type_id();
        let bound = Bound { driver, _enabled: enabled, _device: device };
        let bound = Some(Arc::new(bound));
        let use_of = Mutex::new(Use { bound, users: 0 });
        Self { driver_name, type_id, use_of, unused: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Use> {
        self.use_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, use_it: impl FnOnce(&dyn BoundDriver) -> R) -> Option<R> {
        let user = {
            let mut state = self.lock();
            let bound = state.bound.clone()?;
            state.users = state.users.saturating_add(1);
            User { slot: self, bound: Some(bound) }
        };
        user.bound.as_ref().map(|bound| use_it(&*bound.driver))
    }

    pub(super) fn self_test(&self) -> Option<Result<SelfTest, SelfTestError>> {
        self.with(|driver| driver.self_test())
    }

    pub(super) fn is<T: 'static>(&self) -> bool {
        self.type_id == TypeId::of::<T>()
    }

    /// Waits until nobody uses the driver, then tells it and drops it, and with it its device.
    pub(super) fn take_back(&self, reason: UnbindReason) {
        let mut state = self.lock();
        let Some(bound) = state.bound.take() else { return };
        while state.users > 0 {
            state = self.unused.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        bound.driver.unbind(reason);
    }
}

/// A reference to a bound driver of type `T`. It does not keep the device bound: after an unbind it
/// finds nothing. Cheap to clone and to keep.
pub struct DriverRef<T> {
    slot: Arc<Slot>,
    driver: PhantomData<fn() -> T>,
}

impl<T: 'static> DriverRef<T> {
    pub(super) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, driver: PhantomData }
    }

    /// Runs `use_it` with the driver; `None` when the device is unbound, or is being unbound. An unbind
    /// waits until `use_it` returns, so `use_it` must not bring one about for its own device: neither
    /// by an unbind, nor by a scan, find or plug (which unbind what is gone), nor by dropping the bus.
    pub fn with<R>(&self, use_it: impl FnOnce(&T) -> R) -> Option<R> {
        self.slot.with(|driver| driver.as_any().downcast_ref().map(use_it)).flatten()
    }
}

impl<T> Clone for DriverRef<T> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone(), driver: PhantomData }
    }
}

impl<T> fmt::Debug for DriverRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DriverRef").field(&self.slot.driver_name).finish()
    }
}

/// The devices that are bound or being bound, by address.
#[derive(Debug)]
pub(super) struct BoundSet<A>(Mutex<BTreeMap<A, Claim>>);

#[derive(Debug, Clone)]
enum Claim {
    Probing,
    Bound(Arc<Slot>),
}

impl<A> Default for BoundSet<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// What a claim on a device met.
pub(super) enum Claimed<'a, A: Ord> {
    /// The device is the caller's to bind.
    Mine(ClaimGuard<'a, A>),
    /// It is bound already.
    Bound(&'static str),
    /// Another thread is binding it.
    Busy,
}

/// The right to bind one device; given back when dropped.
pub(super) struct ClaimGuard<'a, A: Ord> {
    set: &'a BoundSet<A>,
    address: A,
}

impl<A: Ord + Clone> BoundSet<A> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<A, Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn claim(&self, address: &A) -> Claimed<'_, A> {
        let mut set = self.lock();
        match set.get(address) {
            Some(Claim::Bound(slot)) => Claimed::Bound(slot.driver_name),
            Some(Claim::Probing) => Claimed::Busy,
            None => {
                set.insert(address.clone(), Claim::Probing);
                Claimed::Mine(ClaimGuard { set: self, address: address.clone() })
            }
        }
    }

    pub(super) fn get(&self, address: &A) -> Option<Arc<Slot>> {
        match self.lock().get(address) {
            Some(Claim::Bound(slot)) => Some(slot.clone()),
            _ => None,
        }
    }

    pub(super) fn addresses(&self) -> Vec<A> {
        let set = self.lock();
        let bound = set.iter().filter(|(_, claim)| matches!(claim, Claim::Bound(_)));
        bound.map(|(address, _)| address.clone()).collect()
    }

    /// Takes a device back from its driver; `false` when it was not bound.
    pub(super) fn unbind(&self, address: &A, reason: UnbindReason) -> bool {
        let mut set = self.lock();
        // Nobody may take it for bound from now on; a panic of the driver leaves no claim behind.
        let claim = match set.get_mut(address) {
            Some(claim @ Claim::Bound(_)) => claim,
            _ => return false,
        };
        let Claim::Bound(slot) = std::mem::replace(claim, Claim::Probing) else { return false };
        drop(set);
        let _claim = ClaimGuard { set: self, address: address.clone() };
        // Not under the set's lock: the driver may take its time.
        slot.take_back(reason);
        true
    }
}

impl<A: Ord> ClaimGuard<'_, A> {
    pub(super) fn bind(self, slot: Slot) {
        let mut set = self.set.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claim) = set.get_mut(&self.address) {
            *claim = Claim::Bound(Arc::new(slot));
        }
    }
}

impl<A: Ord> Drop for ClaimGuard<'_, A> {
    fn drop(&mut self) {
        let mut set = self.set.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(set.get(&self.address), Some(Claim::Probing)) {
            set.remove(&self.address);
        }
    }
}
