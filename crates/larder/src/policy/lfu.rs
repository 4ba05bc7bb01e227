//! Least frequently used, by W-TinyLFU (Einziger, Friedman and Manes 2017): a newcomer stays only if it was seen
//! more often than the one it would push out.
//!
//! Newcomers stand in a window of a tenth of the weight. When room is needed, the window's oldest and the
//! main part's oldest are compared by a frequency sketch that also remembers who is not here; the lesser one
//! leaves, and a newcomer that wins goes on to the main part. That is segmented: of the probation queue, who was
//! used since goes to the protected queue, which has four fifths.
//!
//! The paper's window is a hundredth; on public request traces a tenth kept more on average, because what is new
//! is often what is asked for. Also other than in the paper, the queues are kept in order by a look at the mark
//! when an entry comes to the head (as CLOCK does), not by relinking on each hit.

use super::queues::Queues;
use super::sketch::Sketch;
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;
/// The window's share of the weight is one in this many.
const WINDOW_SHARE: u64 = 10;

/// Who was used least, of the newcomer and the oldest, leaves first.
#[derive(Debug, Default)]
pub struct Lfu {
    queues: Queues<3>,
    sketch: Sketch,
}

impl Lfu {
    /// Who in the window has to prove itself now; takes those beyond the window's share into the main part.
    fn candidate(&mut self, marks: &impl Marks) -> Option<Slot> {
        let share = self.queues.total_weight() / WINDOW_SHARE;
        loop {
            let slot = self.queues.first(WINDOW).filter(|_| self.queues.weight(WINDOW) > share)?;
            if self.still_used(slot, WINDOW, marks) {
                continue;
            }
            if self.queues.weight(WINDOW) - self.queues.member(slot).weight <= share {
                return Some(slot);
            }
            self.queues.shift(PROBATION, slot);
        }
    }

    /// Who in the main part would leave.
    fn victim(&mut self, marks: &impl Marks) -> Option<Slot> {
        loop {
            let (probation, protected) = (self.queues.weight(PROBATION), self.queues.weight(PROTECTED));
            if protected > (probation + protected) / 5 * 4 {
                if let Some(slot) = self.queues.first(PROTECTED)
                    && !self.still_used(slot, PROTECTED, marks)
                {
                    self.queues.shift(PROBATION, slot);
                }
                continue;
            }
            let slot = self.queues.first(PROBATION)?;
            if !self.still_used(slot, PROTECTED, marks) {
                return Some(slot);
            }
        }
    }

    /// Sends who was used since it was last looked at to the end of `queue`.
    fn still_used(&mut self, slot: Slot, queue: usize, marks: &impl Marks) -> bool {
        let used = marks.mark(slot).count() > 0;
        if used {
            marks.mark(slot).set_count(0);
            self.queues.shift(queue, slot);
        }
        used
    }
}

impl Policy for Lfu {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        mark.reset(0);
        self.queues.push(WINDOW, slot, arrival);
        self.sketch.tend(self.queues.len());
        self.sketch.see(arrival.hash);
        Admission::Fresh
    }

    #[inline]
    fn hit(&self, mark: &Mark, hash: u64) {
        mark.bump(1);
        self.sketch.see(hash);
    }

    fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        self.queues.reweigh(slot, arrival);
    }

    fn remove(&mut self, slot: Slot) {
        self.queues.take(slot);
    }

    fn evict(&mut self, marks: &impl Marks) -> Option<Slot> {
        let candidate = self.candidate(marks);
        let victim = self.victim(marks);
        let leaves = match (candidate, victim) {
            (Some(candidate), Some(victim)) => {
                let seen = |slot| self.sketch.estimate(self.queues.member(slot).hash);
                if seen(candidate) > seen(victim) {
                    self.queues.shift(PROBATION, candidate);
                    victim
                } else {
                    candidate
                }
            }
            (one, other) => one.or(other).or_else(|| self.queues.first(WINDOW))?,
        };
        self.queues.take(leaves);
        Some(leaves)
    }

    fn rank(&self, slot: Slot, mark: &Mark) -> u64 {
        let member = self.queues.member(slot);
        self.sketch.estimate(member.hash) << 60 | u64::from(mark.count().min(1)) << 59 | member.turn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{Model, check, steps};
    use proptest::prelude::*;

    struct One {
        slot: Slot,
        key: u64,
        weight: u64,
        used: bool,
    }

    /// The algorithm on plain lists. The sketch is the same one: it has tests of its own.
    #[derive(Default)]
    struct Naive {
        window: Vec<One>,
        probation: Vec<One>,
        protected: Vec<One>,
        sketch: Sketch,
    }

    fn weight(list: &[One]) -> u64 {
        list.iter().map(|one| one.weight).sum()
    }

    impl Naive {
        fn lists(&mut self) -> [&mut Vec<One>; 3] {
            [&mut self.window, &mut self.probation, &mut self.protected]
        }
        fn find(&mut self, slot: Slot) -> &mut One {
            self.lists().into_iter().flatten().find(|one| one.slot == slot).unwrap()
        }
    }

    impl Model for Naive {
        fn insert(&mut self, slot: Slot, arrival: Arrival) {
            self.window.push(One { slot, key: arrival.hash, weight: arrival.weight, used: false });
            let len = self.lists().iter().map(|list| list.len()).sum();
            self.sketch.tend(len);
            self.sketch.see(arrival.hash);
        }
        fn hit(&mut self, slot: Slot) {
            let one = self.find(slot);
            one.used = true;
            let key = one.key;
            self.sketch.see(key);
        }
        fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
            self.find(slot).weight = arrival.weight;
        }
        fn remove(&mut self, slot: Slot) {
            self.lists().into_iter().for_each(|list| list.retain(|one| one.slot != slot));
        }
        fn evict(&mut self) -> Option<Slot> {
            let total = weight(&self.window) + weight(&self.probation) + weight(&self.protected);
            while weight(&self.window) > total / 10 {
                if self.window[0].used {
                    let one = self.window.remove(0);
                    self.window.push(One { used: false, ..one });
                } else if weight(&self.window[1..]) > total / 10 {
                    let one = self.window.remove(0);
                    self.probation.push(one);
                } else {
                    break;
                }
            }
            let contested = weight(&self.window) > total / 10;
            loop {
                let main = weight(&self.probation) + weight(&self.protected);
                if weight(&self.protected) > main / 5 * 4 {
                    let one = self.protected.remove(0);
                    let list = if one.used { &mut self.protected } else { &mut self.probation };
                    list.push(One { used: false, ..one });
                } else if self.probation.first().is_some_and(|one| one.used) {
                    let one = self.probation.remove(0);
                    self.protected.push(One { used: false, ..one });
                } else {
                    break;
                }
            }
            if contested && !self.probation.is_empty() {
                let (newcomer, oldest) = (self.window[0].key, self.probation[0].key);
                if self.sketch.estimate(newcomer) > self.sketch.estimate(oldest) {
                    let leaves = self.probation.remove(0);
                    let one = self.window.remove(0);
                    self.probation.push(one);
                    return Some(leaves.slot);
                }
            }
            let list =
                if contested || self.probation.is_empty() { &mut self.window } else { &mut self.probation };
            (!list.is_empty()).then(|| list.remove(0).slot)
        }
    }

    proptest! {
        #[test]
        fn the_same_leave_as_by_the_algorithm_on_lists(steps in steps(40)) {
            check(Lfu::default(), Naive::default(), &steps)?;
        }
    }
}
