//! The drivers of a bus, and which of them are candidates for a device.

use std::cmp::Reverse;

use super::{BusType, DeviceIds, Match, Registration, Specificity};

/// The drivers of a bus, sorted by name; no two have the same one.
#[derive(Debug)]
pub struct Registry<B: BusType> {
    drivers: Vec<Registration<B>>,
}

/// Drivers that cannot be registered together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two driver types have one name, so a report could not tell them apart.
    #[error("two drivers are named {name}: rename one of them")]
    DuplicateName {
        /// The name.
        name: &'static str,
    },
}

/// A driver that matches a device, by line `id` of its table.
#[derive(Debug)]
pub(super) struct Candidate<'a, B: BusType> {
    pub(super) driver: &'a Registration<B>,
    pub(super) id: usize,
    specificity: Specificity,
}

/// The drivers that match a device, the most specific first, then by name.
#[derive(Debug)]
pub(super) struct Candidates<'a, B: BusType> {
    pub(super) drivers: Vec<Candidate<'a, B>>,
    /// Some driver can only tell once the device is open.
    pub(super) ask_device: bool,
}

impl<B: BusType> Registry<B> {
    /// The drivers given. One that is there twice, because it registered itself and was also named
    /// by hand, counts once.
    ///
    /// # Errors
    /// [`RegistryError::DuplicateName`] when two different drivers have one name.
    pub fn new(mut drivers: Vec<Registration<B>>) -> Result<Self, RegistryError> {
        drivers.sort_by_key(Registration::name);
        drivers.dedup_by(|a, b| a.name() == b.name() && a.is_same_type(b));
        let mut pairs = drivers.iter().zip(drivers.iter().skip(1));
        if let Some((twice, _)) = pairs.find(|(a, b)| a.name() == b.name()) {
            return Err(RegistryError::DuplicateName { name: twice.name() });
        }
        Ok(Self { drivers })
    }

    /// All drivers, sorted by name.
    pub fn drivers(&self) -> impl ExactSizeIterator<Item = &Registration<B>> {
        self.drivers.iter()
    }

    /// The driver that matches best as far as can be told without opening the device.
    #[must_use]
    pub fn best(&self, info: &B::Info) -> Option<&Registration<B>> {
        let candidates = self.candidates(info, DeviceIds::Unread);
        candidates.drivers.first().map(|candidate| candidate.driver)
    }

    pub(super) fn candidates(&self, info: &B::Info, ids: DeviceIds) -> Candidates<'_, B> {
        let mut ask_device = false;
        let mut drivers = Vec::new();
        for driver in &self.drivers {
            let mut best: Option<Candidate<'_, B>> = None;
            for (id, line) in driver.ids().enumerate() {
                match B::matches(line, info, ids) {
                    Match::No => {}
                    Match::AskDevice => ask_device = true,
                    Match::Yes(specificity) => {
                        if best.as_ref().is_none_or(|best| best.specificity < specificity) {
                            best = Some(Candidate { driver, id, specificity });
                        }
                    }
                }
            }
            drivers.extend(best);
        }
        // The sort is stable and the drivers are in order of their names.
        drivers.sort_by_key(|candidate| Reverse(candidate.specificity));
        Candidates { drivers, ask_device }
    }
}
