//! Several queues over one set of slots, as rings in which those who come next stand side by side.
//!
//! Other than in [`Queues`](super::queues::Queues), whose members name their neighbours, leaving the head touches no
//! other member, and who has to leave after it is known without a look at it: so what departures touch, which is
//! seldom at hand, can be asked for ahead of time and at once. The price is that only a head moves to another
//! queue, and that who is removed elsewhere leaves a gap in the ring until that comes to the front, or until half
//! of the ring are gaps.
//!
//! Invariant: a slot stands in at most one queue, at the place in its ring that has the member's standing; a queue's
//! totals are the sums over its members.

use std::collections::VecDeque;

use super::{Arrival, Marks, Slot, fetch};

/// A ring with up to this many gaps is left alone.
const FEW_GAPS: usize = 64;
/// Which place of a queue is asked for when its first has left or moved on.
const AHEAD: usize = 3;
/// Whose hash is told then.
const NEXT_BUT_ONE: usize = 1;

/// `N` queues; each of push and the head's leaving costs the same however long they are.
#[derive(Debug)]
pub(super) struct Rings<const N: usize> {
    members: Vec<Member>,
    queues: [Queue; N],
    next_turn: u32,
}

#[derive(Debug, Default)]
struct Queue {
    ring: VecDeque<Place>,
    weight: u64,
    len: usize,
}

/// A place in a ring: whose it is, or was.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    slot: Slot,
    standing: Standing,
}

/// What is known of a slot that stands in a queue, other than its hash.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
struct Member {
    weight: u64,
    cost: f32,
    standing: Standing,
}

const _: () = assert!(size_of::<Member>() == 16 && size_of::<Place>() == 16);

/// A queue in the two highest bits, and a turn, which begins anew after a billion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing(u32);

impl Standing {
    const NOWHERE: Self = Self(u32::MAX);
    const TURNS: u32 = 1 << 30;

    fn new(queue: usize, turn: u32) -> Self {
        Self(((queue as u32) << 30) | (turn % Self::TURNS))
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

impl<const N: usize> Default for Rings<N> {
    fn default() -> Self {
        Self { members: Vec::new(), queues: std::array::from_fn(|_| Queue::default()), next_turn: 0 }
    }
}

impl<const N: usize> Rings<N> {
    const FEW: () = assert!(N <= 3, "a standing has two bits for the queue, and nowhere");

    /// Puts a slot that stands nowhere at the end of `queue`.
    #[inline]
    pub(super) fn push(&mut self, queue: usize, slot: Slot, arrival: Arrival) {
        const { Self::FEW };
        let Arrival { hash, weight, cost } = arrival;
        let member = Member { weight, cost: cost.max(1) as f32, standing: Standing::NOWHERE };
        if self.members.len() <= slot as usize {
            self.members.resize(slot as usize + 1, member);
        }
        debug_assert_eq!(
            self.members[slot as usize].standing,
            Standing::NOWHERE,
            "slot {slot} stands somewhere"
        );
        self.members[slot as usize] = member;
        self.join(queue, slot, hash);
    }

    fn join(&mut self, queue: usize, slot: Slot, hash: u64) {
        let standing = Standing::new(queue, self.next_turn);
        self.next_turn = self.next_turn.wrapping_add(1);
        let member = &mut self.members[slot as usize];
        member.standing = standing;
        let queue = &mut self.queues[queue];
        queue.weight += member.weight;
        queue.len += 1;
        queue.ring.push_back(Place { hash, slot, standing });
        if queue.ring.len() > 2 * queue.len + FEW_GAPS {
            let members = &self.members;
            queue.ring.retain(|place| members[place.slot as usize].standing == place.standing);
        }
    }

    /// Who joined `queue` first of those who are in it.
    #[inline]
    pub(super) fn first(&mut self, queue: usize) -> Option<Slot> {
        let ring = &mut self.queues[queue].ring;
        loop {
            let place = ring.front()?;
            if self.members[place.slot as usize].standing == place.standing {
                return Some(place.slot);
            }
            ring.pop_front();
        }
    }

    /// Takes who is first out of `queue`, and tells the hash and the weight.
    #[inline]
    pub(super) fn take_first(&mut self, queue: usize) -> Option<(Slot, u64, u64)> {
        let queue = &mut self.queues[queue];
        loop {
            let Place { hash, slot, standing } = queue.ring.pop_front()?;
            let member = &mut self.members[slot as usize];
            if member.standing == standing {
                member.standing = Standing::NOWHERE;
                queue.weight -= member.weight;
                queue.len -= 1;
                return Some((slot, hash, member.weight));
            }
        }
    }

    /// Moves who is first in `queue` to the end of another, or of the same.
    #[inline]
    pub(super) fn move_first(&mut self, queue: usize, to: usize) {
        if let Some((slot, hash, _)) = self.take_first(queue) {
            self.join(to, slot, hash);
        }
    }

    /// Takes a slot out of the queue that it stands in.
    pub(super) fn remove(&mut self, slot: Slot) {
        let queue = self.queue_of(slot);
        let member = &mut self.members[slot as usize];
        member.standing = Standing::NOWHERE;
        self.queues[queue].weight -= member.weight;
        self.queues[queue].len -= 1;
    }

    /// Corrects a member's weight and cost where it stands.
    pub(super) fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        let queue = self.queue_of(slot);
        let member = &mut self.members[slot as usize];
        self.queues[queue].weight = self.queues[queue].weight - member.weight + arrival.weight;
        member.weight = arrival.weight;
        member.cost = arrival.cost.max(1) as f32;
    }

    /// After the first of `queue` was taken: begins to fetch what one touches whose turn it will soon be, and tells the hash
    /// of the next but one.
    #[inline]
    pub(super) fn prepare(&self, queue: usize, marks: &impl Marks) -> Option<u64> {
        let ring = &self.queues[queue].ring;
        if let Some(place) = ring.get(AHEAD) {
            fetch::soon(self.members.get(place.slot as usize));
            marks.prepare(place.slot);
        }
        Some(ring.get(NEXT_BUT_ONE)?.hash)
    }

    /// Which queue a slot stands in.
    pub(super) fn queue_of(&self, slot: Slot) -> usize {
        (self.members[slot as usize].standing.0 >> 30) as usize
    }

    /// Higher for a slot that joined its queue later, unless turns began anew in between.
    pub(super) fn turn(&self, slot: Slot) -> u64 {
        u64::from(self.members[slot as usize].standing.0 % Standing::TURNS)
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
        self.queues.iter().flat_map(|queue| &queue.ring).filter_map(|&Place { hash, slot, standing }| {
            let member = self.members[slot as usize];
            let density = member.cost / member.weight as f32;
            (member.standing == standing).then_some(Standee { slot, hash, weight: member.weight, density })
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
}
