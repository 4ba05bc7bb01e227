//! Several queues over one set of slots, as rings in which those who come next stand side by side.
//!
//! Other than in [`Queues`](super::queues::Queues), whose members name their neighbours, leaving the head touches no
//! other member, and what is known of who comes next stands in the ring itself: so what departures touch, which is seldom
//! at hand, is little and can be asked for ahead of time and at once. The price is that only a head moves to another
//! queue, and that who is removed elsewhere leaves a gap in the ring until that comes to the front, or until half
//! of the ring are gaps.
//!
//! Invariant: a slot stands in at most one queue, at the place that its standing tells; a queue's totals are the sums over
//! its places that are no gaps.

use std::collections::VecDeque;

use super::{Arrival, Marks, Slot, fetch};

/// A ring with up to this many gaps is left alone.
const FEW_GAPS: usize = 64;
/// Which place of a queue is asked for when its first has left or moved on.
const AHEAD: usize = 3;
/// Whose hash is told then.
const NEXT_BUT_ONE: usize = 1;
/// Stands in a gap.
const GAP: Slot = Slot::MAX;

/// `N` queues; each of push and the head's leaving costs the same however long they are.
#[derive(Debug)]
pub(super) struct Rings<const N: usize> {
    /// By slot.
    standings: Vec<Standing>,
    queues: [Queue; N],
}

#[derive(Debug, Default)]
struct Queue {
    ring: VecDeque<Place>,
    /// The turn of the first place; those after it have the next ones.
    first: u32,
    weight: u64,
    len: usize,
}

/// A place in a ring, and what is known of who stands there.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    weight: u64,
    cost: f32,
    slot: Slot,
}

const _: () = assert!(size_of::<Place>() == 24);

/// A queue in the two highest bits, and a turn, which begins anew after a billion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing(u32);

impl Standing {
    const NOWHERE: Self = Self(u32::MAX);
    const TURNS: u32 = 1 << 30;

    fn new(queue: usize, turn: u32) -> Self {
        Self(((queue as u32) << 30) | (turn % Self::TURNS))
    }

    fn queue(self) -> usize {
        (self.0 >> 30) as usize
    }

    fn turn(self) -> u32 {
        self.0 % Self::TURNS
    }
}

/// Who stands in a queue, as it arrived, with cost per weight in place of the cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standee {
    pub slot: Slot,
    pub hash: u64,
    pub weight: u64,
    pub density: f32,
}

impl Queue {
    fn next_turn(&self) -> u32 {
        self.first.wrapping_add(self.ring.len() as u32)
    }

    /// Where in the ring the place with a turn is.
    fn at(&self, turn: u32) -> u32 {
        turn.wrapping_sub(self.first) % Standing::TURNS
    }

    /// The place with a turn.
    fn place(&mut self, turn: u32) -> &mut Place {
        let at = self.at(turn);
        &mut self.ring[at as usize]
    }

    /// Takes the first place out of the ring, which may be a gap.
    #[inline]
    fn pop(&mut self) -> Option<Place> {
        let place = self.ring.pop_front()?;
        self.first = self.first.wrapping_add(1);
        Some(place)
    }
}

impl<const N: usize> Default for Rings<N> {
    fn default() -> Self {
        Self { standings: Vec::new(), queues: std::array::from_fn(|_| Queue::default()) }
    }
}

impl<const N: usize> Rings<N> {
    const FEW: () = assert!(N <= 3, "a standing has two bits for the queue, and nowhere");

    /// Puts a slot that stands nowhere at the end of `queue`.
    #[inline]
    pub(super) fn push(&mut self, queue: usize, slot: Slot, arrival: Arrival) {
        const { Self::FEW };
        let Arrival { hash, weight, cost } = arrival;
        if self.standings.len() <= slot as usize {
            self.standings.resize(slot as usize + 1, Standing::NOWHERE);
        }
        debug_assert_eq!(self.standings[slot as usize], Standing::NOWHERE, "slot {slot} stands somewhere");
        self.join(queue, Place { hash, weight, cost: cost.max(1) as f32, slot });
    }

    fn join(&mut self, number: usize, place: Place) {
        let queue = &mut self.queues[number];
        self.standings[place.slot as usize] = Standing::new(number, queue.next_turn());
        queue.weight += place.weight;
        queue.len += 1;
        queue.ring.push_back(place);
        if queue.ring.len() > 2 * queue.len + FEW_GAPS {
            self.close_gaps(number);
        }
    }

    #[cold]
    fn close_gaps(&mut self, number: usize) {
        let Queue { ring, first, .. } = &mut self.queues[number];
        ring.retain(|place| place.slot != GAP);
        for (at, place) in ring.iter().enumerate() {
            self.standings[place.slot as usize] = Standing::new(number, first.wrapping_add(at as u32));
        }
    }

    /// Who joined `queue` first of those who are in it.
    #[inline]
    pub(super) fn first(&mut self, queue: usize) -> Option<Slot> {
        let queue = &mut self.queues[queue];
        loop {
            let place = queue.ring.front()?;
            if place.slot != GAP {
                return Some(place.slot);
            }
            queue.pop();
        }
    }

    /// Takes who is first out of `queue`, and tells the hash and the weight.
    #[inline]
    pub(super) fn take_first(&mut self, queue: usize) -> Option<(Slot, u64, u64)> {
        let Place { hash, weight, slot, .. } = self.leave_first(queue)?;
        self.standings[slot as usize] = Standing::NOWHERE;
        Some((slot, hash, weight))
    }

    /// Moves who is first in `queue` to the end of another, or of the same.
    #[inline]
    pub(super) fn move_first(&mut self, queue: usize, to: usize) {
        if let Some(place) = self.leave_first(queue) {
            self.join(to, place);
        }
    }

    #[inline]
    fn leave_first(&mut self, queue: usize) -> Option<Place> {
        let queue = &mut self.queues[queue];
        loop {
            let place = queue.pop()?;
            if place.slot != GAP {
                queue.weight -= place.weight;
                queue.len -= 1;
                return Some(place);
            }
        }
    }

    /// Takes a slot out of the queue that it stands in.
    pub(super) fn remove(&mut self, slot: Slot) {
        let standing = std::mem::replace(&mut self.standings[slot as usize], Standing::NOWHERE);
        let queue = &mut self.queues[standing.queue()];
        let place = queue.place(standing.turn());
        place.slot = GAP;
        let weight = place.weight;
        queue.weight -= weight;
        queue.len -= 1;
    }

    /// Corrects a member's weight and cost where it stands.
    pub(super) fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        let standing = self.standings[slot as usize];
        let queue = &mut self.queues[standing.queue()];
        let place = queue.place(standing.turn());
        let before = std::mem::replace(&mut place.weight, arrival.weight);
        place.cost = arrival.cost.max(1) as f32;
        queue.weight = queue.weight - before + arrival.weight;
    }

    /// After the first of `queue` was taken: begins to fetch what one touches whose turn it will soon be, and tells the hash
    /// of the next but one.
    #[inline]
    pub(super) fn prepare(&self, queue: usize, marks: &impl Marks) -> Option<u64> {
        let ring = &self.queues[queue].ring;
        if let Some(place) = ring.get(AHEAD) {
            fetch::soon(self.standings.get(place.slot as usize));
            marks.prepare(place.slot);
        }
        Some(ring.get(NEXT_BUT_ONE)?.hash)
    }

    /// Which queue a slot stands in.
    pub(super) fn queue_of(&self, slot: Slot) -> usize {
        self.standings[slot as usize].queue()
    }

    /// Higher for a slot that joined the same queue later.
    pub(super) fn turn(&self, slot: Slot) -> u64 {
        let standing = self.standings[slot as usize];
        self.queues[standing.queue()].at(standing.turn()).into()
    }

    /// Sum of the weights in `queue`.
    pub(super) fn weight(&self, queue: usize) -> u64 {
        self.queues[queue].weight
    }

    /// Sum of the weights in all queues.
    pub(super) fn total_weight(&self) -> u64 {
        self.queues.iter().map(|queue| queue.weight).sum()
    }

    /// Number of members of all queues.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(|queue| queue.len).sum()
    }

    /// All members, queue by queue in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Standee> {
        let places = self.queues.iter().flat_map(|queue| &queue.ring).filter(|place| place.slot != GAP);
        places.map(|&Place { hash, weight, cost, slot }| Standee {
            slot,
            hash,
            weight,
            density: cost / weight as f32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_and_goes_in_the_middle_leaves_no_more_gaps_than_members() {
        let arrival = |hash| Arrival { hash, weight: 1, cost: 1 };
        let mut rings = Rings::<2>::default();
        rings.push(0, 0, arrival(0));
        for hash in 1..10_000 {
            rings.push(0, 1, arrival(hash));
            rings.push(1, 2, arrival(hash));
            assert!(rings.queues.iter().all(|queue| queue.ring.len() <= 2 * queue.len + FEW_GAPS + 1));
            assert_eq!(
                rings.iter().map(|one| (one.slot, one.hash)).collect::<Vec<_>>(),
                [(0, 0), (1, hash), (2, hash)]
            );
            rings.remove(1);
            rings.remove(2);
        }
        assert_eq!((rings.len(), rings.total_weight()), (1, 1));
        assert_eq!(rings.take_first(0), Some((0, 0, 1)));
        assert_eq!((rings.first(0), rings.first(1)), (None, None));
    }

    #[test]
    fn turns_begin_anew_and_order_and_places_stay() {
        for first in [Standing::TURNS - 2, u32::MAX - 2] {
            let mut rings = Rings::<2>::default();
            rings.queues[1].first = first;
            (0..5).for_each(|slot| rings.push(1, slot, Arrival { hash: slot.into(), weight: 1, cost: 1 }));
            let turns: Vec<u64> = (0..5).map(|slot| rings.turn(slot)).collect();
            assert!(turns.is_sorted_by(|one, next| one < next), "{turns:?}");
            rings.reweigh(4, Arrival { hash: 4, weight: 7, cost: 1 });
            rings.remove(3);
            rings.move_first(1, 1);
            let order: Vec<(Slot, u64)> = rings.iter().map(|one| (one.slot, one.weight)).collect();
            assert_eq!(order, [(1, 1), (2, 1), (4, 7), (0, 1)]);
        }
    }
}
