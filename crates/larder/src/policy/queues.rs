//! Several queues over one set of slots, as lists linked by slot number.
//!
//! Invariant: a slot stands in at most one queue; a queue's totals are the sums over its members.

use super::{Arrival, Slot};

const END: Slot = Slot::MAX;

/// `N` queues; each of push, take and first costs the same however long they are.
#[derive(Debug)]
pub(super) struct Queues<const N: usize> {
    members: Vec<Member>,
    queues: [Queue; N],
    next_turn: u32,
}

/// What is known of a slot that stands in a queue. Two to a cache line: leaving costs a fetch of each neighbour.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(super) struct Member {
    pub hash: u64,
    pub weight: u64,
    standing: Standing,
    before: Slot,
    after: Slot,
}

const _: () = assert!(size_of::<Member>() == 32);

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
}

impl Member {
    /// Higher for who joined its queue later, unless turns began anew in between.
    pub(super) fn turn(&self) -> u64 {
        u64::from(self.standing.0 % Standing::TURNS)
    }
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    first: Slot,
    last: Slot,
    weight: u64,
    len: usize,
}

impl<const N: usize> Default for Queues<N> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            queues: [Queue { first: END, last: END, weight: 0, len: 0 }; N],
            next_turn: 0,
        }
    }
}

impl<const N: usize> Queues<N> {
    const FEW: () = assert!(N <= 3, "a standing has two bits for the queue, and nowhere");

    /// Puts a slot that stands nowhere at the end of `queue`.
    pub(super) fn push(&mut self, queue: usize, slot: Slot, arrival: Arrival) {
        const { Self::FEW };
        let member = Member {
            hash: arrival.hash,
            weight: arrival.weight,
            standing: Standing::NOWHERE,
            before: END,
            after: END,
        };
        if self.members.len() <= slot as usize {
            self.members.resize(slot as usize + 1, member);
        }
        debug_assert_eq!(
            self.members[slot as usize].standing,
            Standing::NOWHERE,
            "slot {slot} stands somewhere"
        );
        self.members[slot as usize] = member;
        self.link(queue, slot);
    }

    /// Takes a slot out of the queue that it stands in.
    #[inline]
    pub(super) fn take(&mut self, slot: Slot) -> Member {
        let member = self.members[slot as usize];
        let queue = &mut self.queues[member.standing.queue()];
        queue.weight -= member.weight;
        queue.len -= 1;
        match member.before {
            END => queue.first = member.after,
            before => self.members[before as usize].after = member.after,
        }
        match member.after {
            END => queue.last = member.before,
            after => self.members[after as usize].before = member.before,
        }
        self.members[slot as usize].standing = Standing::NOWHERE;
        member
    }

    /// Moves a slot to the end of `queue`, which may be the one where it stands.
    pub(super) fn shift(&mut self, queue: usize, slot: Slot) {
        self.take(slot);
        self.link(queue, slot);
    }

    fn link(&mut self, queue: usize, slot: Slot) {
        let ends = &mut self.queues[queue];
        let last = std::mem::replace(&mut ends.last, slot);
        let member = &mut self.members[slot as usize];
        ends.weight += member.weight;
        ends.len += 1;
        member.standing = Standing::new(queue, self.next_turn);
        member.before = last;
        member.after = END;
        self.next_turn = self.next_turn.wrapping_add(1);
        match last {
            END => ends.first = slot,
            last => self.members[last as usize].after = slot,
        }
    }

    /// Corrects a member's weight where it stands.
    pub(super) fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        let member = &mut self.members[slot as usize];
        let queue = &mut self.queues[member.standing.queue()];
        queue.weight = queue.weight - member.weight + arrival.weight;
        member.weight = arrival.weight;
    }

    /// Who joined `queue` first of those who are in it.
    pub(super) fn first(&self, queue: usize) -> Option<Slot> {
        Some(self.queues[queue].first).filter(|&slot| slot != END)
    }

    /// Which queue a slot stands in.
    pub(super) fn queue_of(&self, slot: Slot) -> usize {
        self.members[slot as usize].standing.queue()
    }

    pub(super) fn member(&self, slot: Slot) -> &Member {
        &self.members[slot as usize]
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
}
