//! Numbers that are given and given back, as the kernel numbers groups and devices.

use std::collections::BTreeMap;

/// The lowest free number comes first, so a number is given again soon after it was given back.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// How many users a number has: devices can share a group.
    users: BTreeMap<u32, usize>,
    /// No number below this one is free.
    lowest: u32,
}

impl Numbers {
    /// The lowest number without a user.
    pub(super) fn take(&mut self) -> u32 {
        while self.users.contains_key(&self.lowest) {
            self.lowest = self.lowest.saturating_add(1);
        }
        self.share(self.lowest)
    }

    /// This number, which may have other users.
    pub(super) fn share(&mut self, number: u32) -> u32 {
        let users = self.users.entry(number).or_default();
        *users = users.saturating_add(1);
        number
    }

    /// How many numbers have users.
    pub(super) fn in_use(&self) -> usize {
        self.users.len()
    }

    /// Gives a number back; whether that was its last user.
    pub(super) fn give_back(&mut self, number: u32) -> bool {
        match self.users.get_mut(&number) {
            Some(users) if *users > 1 => {
                *users = users.saturating_sub(1);
                false
            }
            _ => {
                self.users.remove(&number);
                self.lowest = self.lowest.min(number);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn the_lowest_free_number_is_given_and_shared_ones_stay_taken() {
        let mut numbers = Numbers::default();
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [0, 1, 2]);
        assert!(numbers.give_back(1));
        assert_eq!([numbers.take(), numbers.take()], [1, 3]);
        numbers.share(5);
        numbers.share(5);
        assert_eq!([numbers.take(), numbers.take()], [4, 6]);
        assert!(!numbers.give_back(5));
        assert!(numbers.give_back(5));
        assert_eq!(numbers.take(), 5);
    }
}
