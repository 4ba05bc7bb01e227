//! Least recently used, exactly, without touching any order on a hit: a hit stamps the entry with the next
//! number, and the lowest stamp leaves.
//!
//! Rejected: a linked list, which is as exact but needs the policy exclusively on each hit.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::lowest::Lowest;
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

/// Who was used longest ago leaves first.
#[derive(Debug, Default)]
pub struct Lru {
    /// Stamp of the latest use. Hits that race may share a stamp.
    latest: AtomicU64,
    order: Lowest<u64>,
}

impl Policy for Lru {
    fn insert(&mut self, slot: Slot, mark: &Mark, _: Arrival) -> Admission {
        self.hit(mark, 0);
        self.order.file(slot, mark.word());
        Admission::Fresh
    }

    #[inline]
    fn hit(&self, mark: &Mark, _: u64) {
        let stamp = self.latest.load(Relaxed) + Mark::WORD_UNIT;
        self.latest.store(stamp, Relaxed);
        mark.set_word(stamp);
    }

    fn reweigh(&mut self, _: Slot, _: Arrival) {}

    fn remove(&mut self, slot: Slot) {
        self.order.remove(slot);
    }

    fn evict(&mut self, marks: &impl Marks) -> Option<Slot> {
        self.order.take(|slot| marks.mark(slot).word()).map(|(slot, _)| slot)
    }

    fn rank(&self, _: Slot, mark: &Mark) -> u64 {
        mark.word()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{Model, check, steps};
    use proptest::prelude::*;

    #[derive(Default)]
    struct Naive(Vec<Slot>);

    impl Model for Naive {
        fn insert(&mut self, slot: Slot, _: Arrival) {
            self.0.push(slot);
        }
        fn hit(&mut self, slot: Slot) {
            self.remove(slot);
            self.0.push(slot);
        }
        fn reweigh(&mut self, _: Slot, _: Arrival) {}
        fn remove(&mut self, slot: Slot) {
            self.0.retain(|&other| other != slot);
        }
        fn evict(&mut self) -> Option<Slot> {
            (!self.0.is_empty()).then(|| self.0.remove(0))
        }
    }

    proptest! {
        #[test]
        fn the_same_leave_as_in_a_list_ordered_by_use(steps in steps(40)) {
            check(Lru::default(), Naive::default(), &steps)?;
        }
    }
}
