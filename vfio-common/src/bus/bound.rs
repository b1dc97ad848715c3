//! The devices that are bound, and the references that applications hold to them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::registration::BoundDriver;
use super::{SelfTest, SelfTestError, UnbindReason};
use crate::device::Device;

/// A bound driver until it is taken back. Readers use the driver, the writer takes it.
pub(super) struct Slot {
    pub(super) driver_name: &'static str,
    bound: RwLock<Option<Bound>>,
}

/// A driver and its device, which is open as long as it is bound, whatever the driver keeps of it.
/// The driver comes first, so that it is dropped first.
struct Bound {
    driver: Box<dyn BoundDriver>,
    _device: Device,
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
        device: Device,
    ) -> Self {
        let bound = Bound { driver, _device: device };
        Self { driver_name, bound: RwLock::new(Some(bound)) }
    }

    fn with<R>(&self, use_it: impl FnOnce(&dyn BoundDriver) -> R) -> Option<R> {
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner);
        bound.as_ref().map(|bound| use_it(&*bound.driver))
    }

    pub(super) fn self_test(&self) -> Option<Result<SelfTest, SelfTestError>> {
        self.with(|driver| driver.self_test())
    }

    pub(super) fn is<T: 'static>(&self) -> bool {
        self.with(|driver| driver.as_any().is::<T>()).unwrap_or(false)
    }

    /// Waits until nobody uses the driver, then tells it and drops it, and with it its device.
    pub(super) fn take_back(&self, reason: UnbindReason) {
        let mut bound = self.bound.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = bound.take() {
            bound.driver.unbind(reason);
        }
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

    /// Runs `use_it` with the driver; `None` when the device is unbound. An unbind waits until
    /// `use_it` returns, so `use_it` must not unbind the device itself: that would wait for ever.
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
        let Some(slot) = self.get(address) else { return false };
        // Not under the set's lock: the driver may take its time.
        slot.take_back(reason);
        let mut set = self.lock();
        let is_it = matches!(set.get(address), Some(Claim::Bound(now)) if Arc::ptr_eq(now, &slot));
        if is_it {
            set.remove(address);
        }
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
