//! Largest first: the `size` policy.
//!
//! Frees the most room with the fewest departures, which suits values that are as dear as they are small.

use std::cmp::Reverse;

use super::lowest::Lowest;
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

/// The heaviest leaves first, of equally heavy ones the oldest; hits change nothing.
#[derive(Debug, Default)]
pub struct Largest {
    /// By weight and turn.
    order: Lowest<(Reverse<u64>, u64)>,
    next_turn: u64,
}

impl Policy for Largest {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        mark.reset(0);
        self.order.file(slot, (Reverse(arrival.weight), self.next_turn));
        self.next_turn += 1;
        Admission::Fresh
    }

    #[inline]
    fn hit(&self, _: &Mark, _: u64) {}

    fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        if let Some((Reverse(weight), turn)) = self.order.filed(slot)
            && weight != arrival.weight
        {
            self.order.file(slot, (Reverse(arrival.weight), turn));
        }
    }

    fn remove(&mut self, slot: Slot) {
        self.order.remove(slot);
    }

    fn evict(&mut self, _: &impl Marks) -> Option<Slot> {
        self.order.take_filed()
    }

    fn rank(&self, slot: Slot, _: &Mark) -> u64 {
        self.order.filed(slot).map_or(0, |(Reverse(weight), _)| u64::MAX - weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{Model, check, steps};
    use proptest::prelude::*;

    #[derive(Default)]
    struct Naive(Vec<(Slot, u64)>);

    impl Model for Naive {
        fn insert(&mut self, slot: Slot, arrival: Arrival) {
            self.0.push((slot, arrival.weight));
        }
        fn hit(&mut self, _: Slot) {}
        fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
            self.0
                .iter_mut()
                .filter(|(other, _)| *other == slot)
                .for_each(|(_, weight)| *weight = arrival.weight);
        }
        fn remove(&mut self, slot: Slot) {
            self.0.retain(|&(other, _)| other != slot);
        }
        fn evict(&mut self) -> Option<Slot> {
            let heaviest = self.0.iter().map(|&(_, weight)| weight).max()?;
            let (slot, _) = *self.0.iter().find(|&&(_, weight)| weight == heaviest)?;
            self.remove(slot);
            Some(slot)
        }
    }

    proptest! {
        #[test]
        fn the_same_leave_as_in_a_list_searched_for_the_heaviest(steps in steps(40)) {
            check(Largest::default(), Naive::default(), &steps)?;
        }
    }
}
