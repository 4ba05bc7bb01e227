//! First in, first out.

use super::queues::Queues;
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

/// Who came first leaves first; hits change nothing.
#[derive(Debug, Default)]
pub struct Fifo {
    queue: Queues<1>,
}

impl Policy for Fifo {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        mark.reset(0);
        self.queue.push(0, slot, arrival);
        Admission::Fresh
    }

    #[inline]
    fn hit(&self, _: &Mark, _: u64) {}

    fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        self.queue.reweigh(slot, arrival);
    }

    fn remove(&mut self, slot: Slot) {
        self.queue.take(slot);
    }

    fn evict(&mut self, _: &impl Marks) -> Option<Slot> {
        let slot = self.queue.first(0)?;
        self.queue.take(slot);
        Some(slot)
    }

    fn rank(&self, slot: Slot, _: &Mark) -> u64 {
        self.queue.member(slot).turn()
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
        fn hit(&mut self, _: Slot) {}
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
        fn the_same_leave_as_in_a_plain_list(steps in steps(40)) {
            check(Fifo::default(), Naive::default(), &steps)?;
        }
    }
}
