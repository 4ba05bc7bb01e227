//! The `cost` policy: keeps what saves the most compute per byte, and is a good plain policy where nothing is
//! dearer than anything else.
//!
//! Two policies, of which one is at work: [`Gdsf`] while the cost per byte of what arrives differs, [`Balanced`]
//! while it is alike, because there a frequency count has nothing to weigh and queues keep more (GDSF with equal
//! costs is an LFU with ageing, which keeps less of public request traces). How much it differs is the spread of its logarithm, followed by a moving average; between two thresholds nothing changes.
//! A change files all entries anew: O(n), at most once in so many arrivals.

use super::balanced::Balanced;
use super::gdsf::Gdsf;
use super::{Admission, Arrival, Mark, Marks, Policy, Slot};

/// From this standard deviation of the binary logarithm of cost per weight on, costs differ. Where the two
/// policies save equally much on public request traces is between 0.7 and 0.9.
const DIFFERENT: f32 = 0.9;
/// Below this one they are alike.
const ALIKE: f32 = 0.65;
/// Arrivals between two decisions, and the memory of the average.
const PERIOD: u32 = 256;

/// Who saves the least compute per byte leaves first.
#[derive(Debug, Default)]
pub struct Cost {
    order: Order,
    mean: f32,
    variance: f32,
    arrivals: u32,
}

#[derive(Debug)]
#[repr(u8)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each shard, and each hit would go through a box"
)]
enum Order {
    Alike(Balanced),
    Different(Gdsf),
}

impl Default for Order {
    fn default() -> Self {
        Self::Alike(Balanced::default())
    }
}

impl Cost {
    fn observe(&mut self, arrival: Arrival) {
        let log = rough_log2(arrival.density());
        self.arrivals = self.arrivals.wrapping_add(1).max(1);
        let share = 1.0 / self.arrivals.min(PERIOD) as f32;
        let away = log - self.mean;
        self.mean += share * away;
        self.variance = (1.0 - share) * (self.variance + share * away * away);
        if self.arrivals.is_multiple_of(PERIOD) {
            self.decide();
        }
    }

    fn decide(&mut self) {
        match &self.order {
            Order::Alike(alike) if self.variance > DIFFERENT * DIFFERENT => {
                let mut gdsf = Gdsf::default();
                for (slot, hash, weight, density) in alike.entries() {
                    gdsf.adopt(slot, hash, weight, density);
                }
                self.order = Order::Different(gdsf);
            }
            Order::Different(gdsf) if self.variance < ALIKE * ALIKE => {
                let mut alike = Balanced::default();
                for (slot, hash, weight) in gdsf.entries() {
                    alike.adopt(slot, Arrival { hash, weight, cost: weight });
                }
                self.order = Order::Alike(alike);
            }
            _ => {}
        }
    }
}

/// The binary logarithm, off by at most 0.09: the exponent, and the mantissa as if it were linear.
fn rough_log2(value: f32) -> f32 {
    value.to_bits() as f32 / (1 << 23) as f32 - 127.0
}

impl Policy for Cost {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        self.observe(arrival);
        match &mut self.order {
            Order::Alike(order) => order.insert(slot, mark, arrival),
            Order::Different(order) => order.insert(slot, mark, arrival),
        }
    }

    #[inline]
    fn hit(&self, mark: &Mark, hash: u64) {
        match &self.order {
            Order::Alike(order) => order.hit(mark, hash),
            Order::Different(order) => order.hit(mark, hash),
        }
    }

    #[inline]
    fn prepare(&self, hash: u64) {
        match &self.order {
            Order::Alike(order) => order.prepare(hash),
            Order::Different(order) => order.prepare(hash),
        }
    }

    fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        match &mut self.order {
            Order::Alike(order) => order.reweigh(slot, arrival),
            Order::Different(order) => order.reweigh(slot, arrival),
        }
    }

    fn remove(&mut self, slot: Slot) {
        match &mut self.order {
            Order::Alike(order) => order.remove(slot),
            Order::Different(order) => order.remove(slot),
        }
    }

    fn evict(&mut self, marks: &impl Marks) -> Option<Slot> {
        match &mut self.order {
            Order::Alike(order) => order.evict(marks),
            Order::Different(order) => order.evict(marks),
        }
    }

    fn rank(&self, slot: Slot, mark: &Mark) -> u64 {
        match &self.order {
            Order::Alike(order) => order.rank(slot, mark),
            Order::Different(order) => order.rank(slot, mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Random;
    use std::collections::HashMap;

    /// Inserts entries with these costs into slots that are free, evicting where 100 are there.
    struct Lab {
        cost: Cost,
        marks: Vec<Mark>,
        here: HashMap<Slot, u64>,
    }

    impl Lab {
        fn new() -> Self {
            Self {
                cost: Cost::default(),
                marks: (0..100).map(|_| Mark::default()).collect(),
                here: HashMap::new(),
            }
        }

        fn arrive(&mut self, costs: impl Iterator<Item = u64>) {
            for (n, cost) in costs.enumerate() {
                let slot = if self.here.len() < 100 {
                    (0..100).find(|slot| !self.here.contains_key(slot)).unwrap()
                } else {
                    let slot = self.cost.evict(&self.marks).unwrap();
                    assert!(self.here.remove(&slot).is_some(), "slot {slot} left twice");
                    slot
                };
                self.here.insert(slot, cost);
                let arrival = Arrival { hash: n as u64 ^ cost << 32, weight: 1, cost };
                self.cost.insert(slot, &self.marks[slot as usize], arrival);
            }
        }
    }

    #[test]
    fn the_order_follows_the_spread_of_costs_and_loses_nobody() {
        let mut lab = Lab::new();
        let mut random = Random::new(1);
        lab.arrive((0..1000).map(|_| 1000));
        assert!(matches!(lab.cost.order, Order::Alike(_)));
        lab.arrive((0..1000).map(|_| 1 << (random.bits() % 20)));
        assert!(matches!(lab.cost.order, Order::Different(_)));
        lab.arrive((0..3000).map(|n| 1000 + n % 10));
        assert!(matches!(lab.cost.order, Order::Alike(_)));
        while let Some(slot) = lab.cost.evict(&lab.marks) {
            assert!(lab.here.remove(&slot).is_some(), "slot {slot} left twice");
        }
        assert!(lab.here.is_empty());
    }

    #[test]
    fn where_costs_differ_the_dear_stay() {
        let mut lab = Lab::new();
        lab.arrive((0..5000).map(|n| if n % 10 == 0 { 1_000_000 } else { 1 }));
        let dear = lab.here.values().filter(|&&cost| cost > 1).count();
        assert!(dear > 85, "{dear} of 100 are dear, of what arrived 10");
    }

    #[test]
    fn the_rough_logarithm_is_off_by_less_than_a_tenth() {
        for value in [1e-9f32, 0.3, 1.0, 1.5, 3.0, 1e3, 123_456.7, 1e18] {
            assert!((rough_log2(value) - value.log2()).abs() < 0.1, "{value}");
        }
    }
}
