//! GreedyDual-Size-Frequency (Cherkasova, "Improving WWW proxies performance with
//! Greedy-Dual-Size-Frequency caching policy", 1998).
//!
//! An entry's value is `age + uses × cost / weight`, where `age` is what the policy's own age was when the entry
//! was last used, and the policy's age is the highest value that ever left. The lowest value leaves. A hit notes
//! the age and counts a use, so values only rise while an entry stays, and need no order until somebody leaves.
//!
//! Rejected: to look at a few random entries for each departure and remember the lowest in a pool. With five
//! looks and sixteen places that saved up to four points less compute on public request traces, and took twice
//! the time, because each look is a random access to memory.

use super::lowest::Lowest;
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

/// Uses beyond this are not told apart, so that entries that are used all the time are not written to.
const MOST_USES: u32 = 255;

/// Who saves the least cost per weight, by frequency and age, leaves first.
#[derive(Debug, Default)]
pub struct Gdsf {
    entries: Vec<Entry>,
    /// By the bits of the value: those of floats that are not negative are ordered as the floats are.
    order: Lowest<u64>,
    /// No finer than a mark keeps it.
    age: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    hash: u64,
    weight: u64,
    density: f32,
}

impl Gdsf {
    /// Takes in an entry that was here all along; leaves its mark alone.
    pub(super) fn adopt(&mut self, slot: Slot, hash: u64, weight: u64, density: f32) {
        if self.entries.len() <= slot as usize {
            self.entries.resize(slot as usize + 1, Entry::default());
        }
        self.entries[slot as usize] = Entry { hash, weight, density };
        self.order.file(slot, (self.age + f64::from(density)).to_bits());
    }

    /// All entries: slot, hash and weight.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Slot, u64, u64)> {
        let here = (0..self.entries.len() as Slot).filter(|&slot| self.order.filed(slot).is_some());
        here.map(|slot| (slot, self.entries[slot as usize].hash, self.entries[slot as usize].weight))
    }

    fn value(density: f32, mark: &Mark) -> u64 {
        (f64::from_bits(mark.word()) + f64::from(mark.count() + 1) * f64::from(density)).to_bits()
    }
}

impl Policy for Gdsf {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        mark.reset(self.age.to_bits());
        self.adopt(slot, arrival.hash, arrival.weight, arrival.density());
        Admission::Fresh
    }

    #[inline]
    fn hit(&self, mark: &Mark, _: u64) {
        mark.set_word(self.age.to_bits());
        mark.bump(MOST_USES);
    }

    fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        let entry = &mut self.entries[slot as usize];
        if (entry.weight, entry.density) != (arrival.weight, arrival.density()) {
            (entry.weight, entry.density) = (arrival.weight, arrival.density());
            // The value may have fallen. It is at least that of an entry that was used once in the beginning.
            self.order.file(slot, f64::from(arrival.density()).to_bits());
        }
    }

    fn remove(&mut self, slot: Slot) {
        self.order.remove(slot);
    }

    fn evict(&mut self, marks: &impl Marks) -> Option<Slot> {
        let entries = &self.entries;
        let value = |slot: Slot| Self::value(entries[slot as usize].density, marks.mark(slot));
        let (slot, value) = self.order.take(value)?;
        self.age = self.age.max(f64::from_bits(value / Mark::WORD_UNIT * Mark::WORD_UNIT));
        Some(slot)
    }

    fn rank(&self, slot: Slot, mark: &Mark) -> u64 {
        Self::value(self.entries[slot as usize].density, mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{Model, Step, check, steps};
    use proptest::prelude::*;

    /// The published algorithm over all entries: (slot, density, uses, age).
    #[derive(Default)]
    struct Naive {
        entries: Vec<(Slot, f64, f64, f64)>,
        age: f64,
    }

    impl Naive {
        fn find(&mut self, slot: Slot) -> &mut (Slot, f64, f64, f64) {
            self.entries.iter_mut().find(|entry| entry.0 == slot).unwrap()
        }
    }

    impl Model for Naive {
        fn insert(&mut self, slot: Slot, arrival: Arrival) {
            self.entries.push((slot, f64::from(arrival.density()), 1.0, self.age));
        }
        fn hit(&mut self, slot: Slot) {
            let age = self.age;
            let entry = self.find(slot);
            entry.2 += 1.0;
            entry.3 = age;
        }
        fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
            self.find(slot).1 = f64::from(arrival.density());
        }
        fn remove(&mut self, slot: Slot) {
            self.entries.retain(|entry| entry.0 != slot);
        }
        fn evict(&mut self) -> Option<Slot> {
            let value = |entry: &(Slot, f64, f64, f64)| entry.3 + entry.2 * entry.1;
            let lowest = self.entries.iter().min_by(|a, b| value(a).total_cmp(&value(b)))?;
            self.age = self.age.max(value(lowest));
            let slot = lowest.0;
            self.remove(slot);
            Some(slot)
        }
    }

    proptest! {
        // Costs so far apart that no two entries are worth the same: which of two equals leaves is open.
        #[test]
        fn the_same_leave_as_by_looking_at_all_entries(mut steps in steps(40)) {
            for (n, step) in steps.iter_mut().enumerate() {
                if let Step::Insert { cost, .. } = step {
                    *cost = *cost * 1_000_003 + n as u64 * 7919;
                }
            }
            check(Gdsf::default(), Naive::default(), &steps)?;
        }
    }
}
