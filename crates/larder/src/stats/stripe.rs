//! Counting without locked instructions: each thread owns a stripe of cells while it lives.
//!
//! Invariant: at any time at most one thread owns a stripe number, and only its owner writes the cells of that
//! number, in whatever array. So an addition is a load and a store, and no count is lost. A thread that finds
//! all numbers owned writes to the cells that such threads share, by atomic addition.
//!
//! A stripe number goes from one owner to the next through [`OWNED`] with release and acquire, so that the next
//! owner sees all that the last one counted.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::count::{COUNTS, Count, STRIPED};
use super::event::Place;

/// How many threads may own a stripe at once.
const STRIPES: usize = u64::BITS as usize;
const NOT_ASKED: usize = usize::MAX;
const NONE_LEFT: usize = STRIPES;

/// One bit for each stripe number that a thread owns.
static OWNED: AtomicU64 = AtomicU64::new(0);
/// One bit for each stripe number that a thread has ever owned.
static EVER_OWNED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Without a destructor of its own, so that reading it is one instruction.
    static NUMBER: Cell<usize> = const { Cell::new(NOT_ASKED) };
    static OWNER: Owner = const { Owner };
}

/// Gives the thread's number back when the thread ends.
struct Owner;

impl Drop for Owner {
    fn drop(&mut self) {
        // What this thread still counts, in destructors that run later, goes to the shared cells.
        let number = NUMBER.replace(NONE_LEFT);
        if number < STRIPES {
            OWNED.fetch_and(!(1 << number), Ordering::Release);
        }
    }
}

#[cold]
fn claim() {
    // While the thread ends, its destructor can't be registered any more: then it must not own anything.
    let number = match OWNER.try_with(|_| ()) {
        Err(_) => NONE_LEFT,
        Ok(()) => OWNED
            .try_update(Ordering::Acquire, Ordering::Relaxed, |owned| {
                // Sets the lowest bit that is not set.
                (owned != u64::MAX).then(|| owned | (owned + 1))
            })
            .map_or(NONE_LEFT, |before| before.trailing_ones() as usize),
    };
    if number < STRIPES {
        // Told before anything is counted under the number, and the sums see it by whatever tells them of the count.
        EVER_OWNED.fetch_or(1 << number, Ordering::Release);
    }
    NUMBER.set(number);
}

/// Where in a stripe a counter stands. What a memory hit writes stands in the first cache line.
const fn position(number: usize) -> usize {
    const HITS: usize = Count::hits(Place::Memory).number();
    match number {
        HITS => 6,
        6 => HITS,
        _ => number,
    }
}

/// The cells of one thread. Aligned to two cache lines, as processors fetch them in pairs.
#[repr(C, align(128))]
struct Stripe([AtomicU64; STRIPED]);

impl Stripe {
    const fn empty() -> Self {
        Self([const { AtomicU64::new(0) }; STRIPED])
    }

    #[inline]
    fn count(&self, number: usize) -> &AtomicU64 {
        &self.0[position(number)]
    }

    /// Adds to a counter of a stripe that this thread owns.
    #[inline]
    fn add(&self, number: usize, n: u64) {
        let cell = self.count(number);
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
}

/// The counters of one series.
pub(super) struct Cells {
    /// Made when the first thread counts: most series of a short process stay at zero.
    stripes: OnceLock<Box<[Stripe; STRIPES]>>,
    /// Behind a pointer, as they are written by all threads while the pointers are read by all.
    others: Box<Others>,
}

/// The cells that all threads share.
struct Others {
    shared: Stripe,
    rest: [AtomicU64; COUNTS - STRIPED],
}

impl Cells {
    pub(super) fn new() -> Self {
        Self {
            stripes: OnceLock::new(),
            others: Box::new(Others {
                shared: Stripe::empty(),
                rest: [const { AtomicU64::new(0) }; COUNTS - STRIPED],
            }),
        }
    }

    /// The stripe of this thread, if it owns one and the stripes are made.
    #[inline]
    fn own(&self) -> Option<&Stripe> {
        self.stripes.get()?.get(NUMBER.get())
    }

    /// Adds to the counter with this number.
    #[inline]
    pub(super) fn add(&self, number: usize, n: u64) {
        if number >= STRIPED {
            self.others.rest[number - STRIPED].fetch_add(n, Ordering::Relaxed);
        } else if let Some(stripe) = self.own() {
            stripe.add(number, n);
        } else {
            self.add_unowned([(number, n)]);
        }
    }

    /// Adds to two counters that are counted in stripes.
    #[inline]
    pub(super) fn add_both(&self, one: (usize, u64), other: (usize, u64)) {
        if let Some(stripe) = self.own() {
            stripe.add(one.0, one.1);
            stripe.add(other.0, other.1);
        } else {
            self.add_unowned([one, other]);
        }
    }

    #[cold]
    fn add_unowned<const N: usize>(&self, counts: [(usize, u64); N]) {
        if NUMBER.get() == NOT_ASKED {
            claim();
        }
        let stripes = self.stripes.get_or_init(|| Box::new([const { Stripe::empty() }; STRIPES]));
        for (number, n) in counts {
            match stripes.get(NUMBER.get()) {
                Some(stripe) => stripe.add(number, n),
                None => _ = self.others.shared.count(number).fetch_add(n, Ordering::Relaxed),
            }
        }
    }

    /// The sum of all cells of a counter, modulo 2⁶⁴. Never less, in that sense, than at an earlier call.
    pub(super) fn sum(&self, number: usize) -> u64 {
        if number >= STRIPED {
            return self.others.rest[number - STRIPED].load(Ordering::Relaxed);
        }
        let mut sum = self.others.shared.count(number).load(Ordering::Relaxed);
        if let Some(stripes) = self.stripes.get() {
            // The others are zero.
            let ever_owned = STRIPES - EVER_OWNED.load(Ordering::Acquire).leading_zeros() as usize;
            for stripe in &stripes[..ever_owned] {
                sum = sum.wrapping_add(stripe.count(number).load(Ordering::Relaxed));
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::*;

    #[test]
    fn nothing_is_lost_when_there_are_more_threads_than_stripes_and_numbers_change_owners() {
        let cells = Arc::new(Cells::new());
        for _ in 0..2 {
            let all_alive = Arc::new(Barrier::new(STRIPES + 8));
            let threads: Vec<_> = (0..STRIPES + 8)
                .map(|_| {
                    let (cells, all_alive) = (Arc::clone(&cells), Arc::clone(&all_alive));
                    thread::spawn(move || {
                        cells.add(3, 1);
                        all_alive.wait();
                        (0..1000).for_each(|_| cells.add(3, 2));
                        cells.add(STRIPED + 1, 1);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        let threads = 2 * (STRIPES as u64 + 8);
        assert_eq!((cells.sum(3), cells.sum(STRIPED + 1), cells.sum(4)), (threads * 2001, threads, 0));
        assert!(cells.others.shared.count(3).load(Ordering::Relaxed) > 0, "some threads had to share");
        for _ in 0..STRIPES {
            let cells = Arc::clone(&cells);
            thread::spawn(move || cells.add(4, 1)).join().unwrap();
        }
        let shared = cells.others.shared.count(4).load(Ordering::Relaxed);
        assert!(shared < STRIPES as u64, "who comes later owns what those who ended gave back");
    }

    #[test]
    fn what_a_thread_counts_while_it_ends_is_counted() {
        struct CountsWhenDropped(Arc<Cells>);
        impl Drop for CountsWhenDropped {
            fn drop(&mut self) {
                self.0.add(0, 1);
            }
        }
        thread_local!(static LATE: Cell<Option<CountsWhenDropped>> = const { Cell::new(None) });
        let mut owned_no_longer = 0;
        for counted_before in [false, true] {
            let cells = Arc::new(Cells::new());
            let inside = Arc::clone(&cells);
            let thread = thread::spawn(move || {
                // Whichever of the two destructors runs first: one order for each turn.
                if counted_before {
                    inside.add(1, 1);
                }
                LATE.set(Some(CountsWhenDropped(Arc::clone(&inside))));
                inside.add(1, 1);
            });
            thread.join().unwrap();
            assert_eq!(cells.sum(0), 1);
            owned_no_longer += cells.others.shared.count(0).load(Ordering::Relaxed);
        }
        assert!(owned_no_longer > 0, "what was given back is not written any more");
    }
}
