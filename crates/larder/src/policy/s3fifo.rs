//! S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
//!
//! Newcomers stand in a small queue that gets a tenth of the weight. Who was used twice by the time it comes
//! to its head goes on to the main queue, anybody else leaves and is remembered for a while; who comes back
//! meanwhile starts in the main queue. At the head of that, who was used goes round again with one use less.
//!
//! Good where most entries are used once. Its bad case is a loop over more than fits, where it keeps nothing:
//! [`Balanced`](super::Balanced) is the one that copes with that. This one stays as published.

use super::ghost::Ghost;
use super::queues::Queues;
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

const SMALL: usize = 0;
const MAIN: usize = 1;
/// Uses beyond this are not told apart, so that entries that are used all the time are not written to.
const MOST_USES: u32 = 3;
/// Uses that an entry in the small queue needs to go on.
const PROVEN_USES: u32 = 2;
/// The small queue's share of the weight is one in this many.
const SMALL_SHARE: u64 = 10;
/// Hashes remembered for each entry. The limit by weight alone would let many small entries that left take more
/// memory than the few large ones that stay.
const GHOSTS_PER_ENTRY: usize = 4;

/// Weight of those who left and are remembered, in tenths of the weight of those who are here: as published.
const REMEMBERED_TENTHS: u64 = 9;

/// Who was not used again while in a small queue leaves first.
#[derive(Debug)]
pub struct S3Fifo {
    queues: Queues<2>,
    ghost: Ghost<1>,
}

impl Default for S3Fifo {
    fn default() -> Self {
        Self { queues: Queues::default(), ghost: Ghost::exact() }
    }
}

impl S3Fifo {
    fn leave(&mut self, slot: Slot) -> Option<Slot> {
        let remember = self.queues.queue_of(slot) == SMALL;
        let (weight, len) = (self.queues.total_weight(), self.queues.len());
        let member = self.queues.take(slot);
        if remember {
            let most_weight = weight.saturating_mul(REMEMBERED_TENTHS) / 10;
            self.ghost.push(0, member.hash, member.weight, most_weight, GHOSTS_PER_ENTRY * len);
        }
        Some(slot)
    }
}

impl Policy for S3Fifo {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        mark.reset(0);
        let (queue, admission) = match self.ghost.recall(arrival.hash) {
            None => (SMALL, Admission::Fresh),
            Some(_) => (MAIN, Admission::Returning),
        };
        self.queues.push(queue, slot, arrival);
        admission
    }

    #[inline]
    fn hit(&self, mark: &Mark, _: u64) {
        mark.bump(MOST_USES);
    }

    #[inline]
    fn prepare(&self, hash: u64) {
        self.ghost.prepare(hash);
    }

    fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        self.queues.reweigh(slot, arrival);
    }

    fn remove(&mut self, slot: Slot) {
        self.queues.take(slot);
    }

    fn evict(&mut self, marks: &impl Marks) -> Option<Slot> {
        // Each turn ends or takes one use from somebody, and nobody has more than three.
        loop {
            let weight = self.queues.total_weight();
            let small = self.queues.weight(SMALL) >= weight / SMALL_SHARE;
            match self.queues.first(SMALL).filter(|_| small).map_or_else(|| self.queues.first(MAIN), Some) {
                Some(slot) if self.queues.queue_of(slot) == SMALL => {
                    let mark = marks.mark(slot);
                    if mark.count() < PROVEN_USES {
                        return self.leave(slot);
                    }
                    mark.set_count(0);
                    self.queues.shift(MAIN, slot);
                }
                Some(slot) => {
                    let mark = marks.mark(slot);
                    let uses = mark.count().min(MOST_USES);
                    if uses == 0 {
                        return self.leave(slot);
                    }
                    mark.set_count(uses - 1);
                    self.queues.shift(MAIN, slot);
                }
                None => return self.queues.first(SMALL).and_then(|slot| self.leave(slot)),
            }
        }
    }

    fn rank(&self, slot: Slot, mark: &Mark) -> u64 {
        let uses = u64::from(mark.count().min(MOST_USES));
        uses << 62 | (self.queues.queue_of(slot) as u64) << 61 | self.queues.member(slot).turn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{Model, check, steps};
    use proptest::prelude::*;

    /// The published algorithm on plain lists: (slot, key, weight, uses).
    #[derive(Default)]
    struct Naive {
        small: Vec<(Slot, u64, u64, u32)>,
        main: Vec<(Slot, u64, u64, u32)>,
        ghost: Vec<(u64, u64)>,
    }

    impl Naive {
        fn weight(&self) -> (u64, u64) {
            (self.small.iter().map(|one| one.2).sum(), self.main.iter().map(|one| one.2).sum())
        }
        fn find(&mut self, slot: Slot) -> &mut (Slot, u64, u64, u32) {
            self.small.iter_mut().chain(&mut self.main).find(|one| one.0 == slot).unwrap()
        }
    }

    impl Model for Naive {
        fn insert(&mut self, slot: Slot, arrival: Arrival) {
            let one = (slot, arrival.hash, arrival.weight, 0);
            if self.ghost.iter().any(|&(key, _)| key == arrival.hash) {
                self.ghost.retain(|&(key, _)| key != arrival.hash);
                self.main.push(one);
            } else {
                self.small.push(one);
            }
        }
        fn hit(&mut self, slot: Slot) {
            let one = self.find(slot);
            one.3 = (one.3 + 1).min(3);
        }
        fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
            self.find(slot).2 = arrival.weight;
        }
        fn remove(&mut self, slot: Slot) {
            self.small.retain(|one| one.0 != slot);
            self.main.retain(|one| one.0 != slot);
        }
        fn evict(&mut self) -> Option<Slot> {
            loop {
                let ((small, main), len) = (self.weight(), self.small.len() + self.main.len());
                if len == 0 {
                    return None;
                }
                let over = small >= (small + main) / 10 || self.main.is_empty();
                if over && !self.small.is_empty() {
                    let one = self.small.remove(0);
                    if one.3 >= 2 {
                        self.main.push((one.0, one.1, one.2, 0));
                        continue;
                    }
                    self.ghost.push((one.1, one.2));
                    let most = (small + main) * 9 / 10;
                    while self.ghost.iter().map(|one| one.1).sum::<u64>() > most || self.ghost.len() > 4 * len
                    {
                        self.ghost.remove(0);
                    }
                    return Some(one.0);
                }
                let one = self.main.remove(0);
                if one.3 == 0 {
                    return Some(one.0);
                }
                self.main.push((one.0, one.1, one.2, one.3 - 1));
            }
        }
    }

    proptest! {
        #[test]
        fn the_same_leave_as_by_the_published_algorithm_on_lists(steps in steps(40)) {
            check(S3Fifo::default(), Naive::default(), &steps)?;
        }
    }
}
