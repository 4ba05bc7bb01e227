//! S3-FIFO that sets the share of its small queue by what comes back, and tries some of those who proved nothing.
//!
//! As in [`S3Fifo`](super::S3Fifo), newcomers stand in a small queue, who was used twice there goes on to the main
//! queue, anybody else leaves and is remembered, and who comes back meanwhile starts in the main queue. Other than
//! there:
//!
//! - **The small queue's share moves.** Who comes back soon after leaving one of the two queues would still be here
//!   had that queue been a little longer. So each such return moves the share a little in favour of its queue,
//!   until both sides gain alike. This is the paper's S3-FIFO-D with a step for each return in place of a
//!   larger one for many.
//! - **One in 64 of those who proved nothing goes on all the same.** In a loop over more than fits, nobody is used
//!   twice before it has to leave, and nobody is remembered long enough. Those few stay in the main queue, are used
//!   in the next round, and become many (the idea of bimodal insertion: Qureshi et al., "Adaptive insertion
//!   policies for high performance caching", ISCA 2007). Where nothing is a loop, they cost a sixty-fourth of the
//!   departures from the main queue.
//! - **While there is room, the oldest move on to the main queue.** They would not leave the small one before
//!   somebody has to, so whatever came first would otherwise stand in the way of proof. The reference
//!   implementation of S3-FIFO does much the same.
//! - **More of those who left are remembered:** half as much again as are here.
//!
//! None of these numbers is sharp: on public request traces, at capacities of 1, 3, 10 and 30 %, halving or doubling
//! one of them changes the mean hit ratio by less than what all together gain.

use super::ghost::Ghost;
use super::rings::{Rings, Standee};
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

const SMALL: usize = 0;
const MAIN: usize = 1;
/// Uses beyond this are not told apart, so that entries that are used all the time are not written to.
const MOST_USES: u32 = 3;
/// Uses that an entry in the small queue needs to go on.
const PROVEN_USES: u32 = 2;
/// One in this many goes on without.
const TRIED: u32 = 64;
/// Weight of those who left the small queue and are remembered, in tenths of the weight of those who are here.
const REMEMBERED_TENTHS: u64 = 15;
/// Hashes remembered for each entry. The limit by weight alone would let many small entries that left take more
/// memory than the few large ones that stay.
const GHOSTS_PER_ENTRY: usize = 4;
/// Who comes back before others with one in this many of the weight have left was missed by little: S3-FIFO-D's.
const NARROWLY: u64 = 20;

/// Who was not used again while in a small queue leaves first; how small it is follows from who comes back.
#[derive(Debug)]
pub struct Balanced {
    queues: Rings<2>,
    /// Who left, in a line for each queue; who left the main queue is remembered for a short while.
    ghost: Ghost<2>,
    share: Share,
    /// Nobody had to leave yet.
    filling: bool,
    /// Who left the small queue or was tried instead, in turns of [`TRIED`].
    turn: u32,
}

impl Default for Balanced {
    fn default() -> Self {
        Self {
            queues: Rings::default(),
            ghost: Ghost::default(),
            share: Share::START,
            filling: true,
            turn: 0,
        }
    }
}

/// The small queue's share of the weight, in parts of 4096: a tenth at first, and between a hundredth and a half.
#[derive(Debug, Clone, Copy)]
struct Share(u64);

impl Share {
    const START: Self = Self(410);
    const LEAST: u64 = 41;
    const MOST: u64 = 2048;

    fn grow(&mut self) {
        self.0 = (self.0 + 1).min(Self::MOST);
    }

    fn shrink(&mut self) {
        self.0 = (self.0 - 1).max(Self::LEAST);
    }

    fn of(self, weight: u64) -> u64 {
        // Weights are bytes in memory: far from what overflows here.
        weight.saturating_mul(self.0) / 4096
    }
}

impl Balanced {
    /// Takes in an entry that was here all along and proved itself elsewhere; leaves its mark alone.
    pub(super) fn adopt(&mut self, slot: Slot, arrival: Arrival) {
        self.filling = false;
        self.queues.push(MAIN, slot, arrival);
    }

    /// All entries as they arrived, with cost per weight in place of the cost.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Slot, u64, u64, f32)> {
        self.queues.iter().map(|Standee { slot, hash, weight, density }| (slot, hash, weight, density))
    }

    /// Whether an entry that arrives was here, and what that says about the queues.
    fn recall(&mut self, hash: u64) -> Admission {
        match self.ghost.recall(hash) {
            None => Admission::Fresh,
            Some((SMALL, since)) => {
                if since <= self.queues.total_weight() / NARROWLY {
                    self.share.grow();
                }
                Admission::Returning
            }
            Some(_) => {
                self.share.shrink();
                Admission::Fresh
            }
        }
    }

    /// The queue whose first is looked at next when somebody has to leave, unless it is empty and the other one is not.
    #[inline]
    fn next_queue(&self) -> usize {
        if self.small_is_full() { SMALL } else { MAIN }
    }

    #[inline]
    fn leave(&mut self, queue: usize) -> Option<Slot> {
        let (weight, len) = (self.queues.total_weight(), self.queues.len());
        let (most_weight, most) = match queue {
            SMALL => (weight.saturating_mul(REMEMBERED_TENTHS) / 10, GHOSTS_PER_ENTRY * len),
            _ => (weight / NARROWLY, len),
        };
        let (slot, hash, weight) = self.queues.take_first(queue)?;
        self.ghost.push(queue, hash, weight, most_weight, most);
        Some(slot)
    }

    /// After the first of a queue left or moved on: begins to fetch what those touch who will have to soon.
    #[inline]
    fn prepare_next(&self, queue: usize, marks: &impl Marks) {
        if let Some(soon) = self.queues.prepare(queue, marks) {
            self.ghost.prepare(soon);
        }
    }

    /// Whether it is the turn of one who proved nothing to go on.
    fn try_out(&mut self) -> bool {
        self.turn = (self.turn + 1) % TRIED;
        self.turn == 0
    }

    fn small_is_full(&self) -> bool {
        self.queues.weight(SMALL) >= self.share.of(self.queues.total_weight())
    }
}

impl Policy for Balanced {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        mark.reset(0);
        let admission = self.recall(arrival.hash);
        let queue = match admission {
            Admission::Fresh => SMALL,
            Admission::Returning => MAIN,
        };
        self.queues.push(queue, slot, arrival);
        while self.filling && self.small_is_full() {
            if self.queues.first(SMALL).is_none() {
                break;
            }
            self.queues.move_first(SMALL, MAIN);
        }
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
        self.queues.remove(slot);
    }

    fn evict(&mut self, marks: &impl Marks) -> Option<Slot> {
        self.filling = false;
        // Each turn ends, moves somebody on or takes one use from somebody, and nobody has more than three.
        loop {
            let next = self.next_queue();
            let (queue, slot) = match self.queues.first(next) {
                Some(slot) => (next, slot),
                None => (MAIN - next, self.queues.first(MAIN - next)?),
            };
            let mark = marks.mark(slot);
            let uses = mark.count().min(MOST_USES);
            let leaves = match queue {
                SMALL => uses < PROVEN_USES && !self.try_out(),
                _ => uses == 0,
            };
            if leaves {
                let left = self.leave(queue);
                self.prepare_next(queue, marks);
                return left;
            }
            mark.set_count(if queue == SMALL { 0 } else { uses - 1 });
            self.queues.move_first(queue, MAIN);
            self.prepare_next(queue, marks);
        }
    }

    fn rank(&self, slot: Slot, mark: &Mark) -> u64 {
        let uses = u64::from(mark.count().min(MOST_USES));
        uses << 62 | (self.queues.queue_of(slot) as u64) << 61 | self.queues.turn(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{Model, check, steps};
    use proptest::prelude::*;

    /// The algorithm on plain lists: (slot, key, weight, uses), and (key, weight) of who left.
    struct Naive {
        small: Vec<(Slot, u64, u64, u32)>,
        main: Vec<(Slot, u64, u64, u32)>,
        unproven: Vec<(u64, u64)>,
        spent: Vec<(u64, u64)>,
        /// All who ever left the small queue.
        gone: Vec<(u64, u64)>,
        share: u64,
        filling: bool,
        turn: u32,
    }

    impl Naive {
        fn new() -> Self {
            let (small, main) = (Vec::new(), Vec::new());
            let (unproven, spent, gone) = (Vec::new(), Vec::new(), Vec::new());
            Self { small, main, unproven, spent, gone, share: 410, filling: true, turn: 0 }
        }
        fn weight(&self) -> u64 {
            self.small.iter().chain(&self.main).map(|one| one.2).sum()
        }
        fn small_is_full(&self) -> bool {
            self.small.iter().map(|one| one.2).sum::<u64>() >= self.weight() * self.share / 4096
        }
        fn find(&mut self, slot: Slot) -> &mut (Slot, u64, u64, u32) {
            self.small.iter_mut().chain(&mut self.main).find(|one| one.0 == slot).unwrap()
        }
        fn remember(list: &mut Vec<(u64, u64)>, one: (u64, u64), most_weight: u64, most: usize) {
            list.push(one);
            while list.iter().map(|one| one.1).sum::<u64>() > most_weight || list.len() > most {
                list.remove(0);
            }
        }
    }

    impl Model for Naive {
        fn insert(&mut self, slot: Slot, arrival: Arrival) {
            let one = (slot, arrival.hash, arrival.weight, 0);
            let place = |list: &[(u64, u64)]| list.iter().position(|&(key, _)| key == arrival.hash);
            if let Some(at) = place(&self.unproven) {
                let after = self.gone.iter().rev().take_while(|&&(key, _)| key != arrival.hash);
                if after.map(|one| one.1).sum::<u64>() <= self.weight() / 20 {
                    self.share = (self.share + 1).min(2048);
                }
                self.unproven.remove(at);
                self.main.push(one);
            } else {
                if let Some(at) = place(&self.spent) {
                    self.spent.remove(at);
                    self.share = (self.share - 1).max(41);
                }
                self.small.push(one);
            }
            while self.filling && self.small_is_full() && !self.small.is_empty() {
                let oldest = self.small.remove(0);
                self.main.push(oldest);
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
            self.filling = false;
            loop {
                let (weight, len) = (self.weight(), self.small.len() + self.main.len());
                if len == 0 {
                    return None;
                }
                if !self.small.is_empty() && (self.small_is_full() || self.main.is_empty()) {
                    let one = self.small.remove(0);
                    if one.3 < 2 {
                        self.turn += 1;
                        if !self.turn.is_multiple_of(64) {
                            self.gone.push((one.1, one.2));
                            Self::remember(&mut self.unproven, (one.1, one.2), weight * 15 / 10, 4 * len);
                            return Some(one.0);
                        }
                    }
                    self.main.push((one.0, one.1, one.2, 0));
                    continue;
                }
                let one = self.main.remove(0);
                if one.3 == 0 {
                    Self::remember(&mut self.spent, (one.1, one.2), weight / 20, len);
                    return Some(one.0);
                }
                self.main.push((one.0, one.1, one.2, one.3 - 1));
            }
        }
    }

    proptest! {
        #[test]
        fn the_same_leave_as_by_the_algorithm_on_lists(steps in steps(40)) {
            check(Balanced::default(), Naive::new(), &steps)?;
        }
    }

    /// A cache of some entries, all of weight 1.
    struct Lab {
        policy: Balanced,
        marks: Vec<Mark>,
        keys: Vec<u64>,
        here: std::collections::HashMap<u64, Slot>,
    }

    impl Lab {
        fn of(entries: usize) -> Self {
            let marks = (0..entries).map(|_| Mark::default()).collect();
            Self { policy: Balanced::default(), marks, keys: Vec::new(), here: Default::default() }
        }

        /// Asks for a key, and tells whether it was there.
        fn ask(&mut self, key: u64) -> bool {
            if let Some(&slot) = self.here.get(&key) {
                self.policy.hit(&self.marks[slot as usize], key);
                return true;
            }
            let slot = if self.keys.len() < self.marks.len() {
                self.keys.push(key);
                (self.keys.len() - 1) as Slot
            } else {
                let slot = self.policy.evict(&self.marks).unwrap();
                let left = std::mem::replace(&mut self.keys[slot as usize], key);
                self.here.remove(&left);
                slot
            };
            self.policy.insert(slot, &self.marks[slot as usize], Arrival { hash: key, weight: 1, cost: 1 });
            self.here.insert(key, slot);
            false
        }
    }

    #[test]
    fn a_loop_over_three_times_what_fits_is_met_in_part_even_if_it_begins_late() {
        let mut lab = Lab::of(100);
        (1_000_000..1_010_000).for_each(|key| _ = lab.ask(key));
        (0..100_000u64).for_each(|n| _ = lab.ask(n % 300));
        let hits = (0..30_000u64).filter(|n| lab.ask(n % 300)).count();
        // A third fits.
        assert!(hits > 7_000, "{hits} of 30000");
    }

    #[test]
    fn the_small_queue_grows_until_it_holds_those_who_came_right_back_after_leaving_it() {
        let mut lab = Lab::of(1000);
        let mut late = 0;
        // Each key comes once more, after 140 others: that is 40 too late at first.
        for n in 140..100_000u64 {
            lab.ask(n);
            let here = lab.ask(n - 140);
            late = if here { 0 } else { late + 1 };
        }
        assert!(late < 10, "the last {late} were not here");
        assert!((140..200).contains(&lab.policy.share.of(1000)), "{:?}", lab.policy.share);
    }

    #[test]
    fn the_small_queue_shrinks_while_those_come_right_back_who_left_the_main_queue() {
        let mut lab = Lab::of(1000);
        for n in 0..100_000u64 {
            (0..3).for_each(|_| _ = lab.ask(n % 1030));
        }
        assert!(lab.policy.share.of(1000) < 50, "{:?}", lab.policy.share);
    }
}
