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
use super::sample::Due;

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

/// Where in a stripe a counter stands. What is written at the speed of memory stands together in the first cache line.
#[inline]
const fn position(number: usize) -> usize {
    const HITS: usize = Count::hits(Place::Memory).number();
    const PUTS: usize = Count::puts(Place::Memory).number();
    const ENCODED: usize = Count::encoded(Place::Memory).number();
    const STORED: usize = Count::stored(Place::Memory).number();
    const _: () = assert!(Count::SPARED.number() == 0 && Count::MISSES.number() == 2);
    match number {
        HITS => 1,
        1 => HITS,
        PUTS => 3,
        3 => PUTS,
        ENCODED => 4,
        4 => ENCODED,
        STORED => 5,
        5 => STORED,
        _ => number,
    }
}

/// The cells of one thread. Aligned to two cache lines, as processors fetch them in pairs.
#[repr(C, align(128))]
pub(super) struct Stripe {
    /// Which memory hit is the next sample.
    pub(super) hit_due: Due,
    /// Which entry stored in memory is.
    pub(super) put_due: Due,
    counts: [AtomicU64; STRIPED],
}

const _: () = assert!(size_of::<Stripe>() == 256);

impl Stripe {
    const fn empty() -> Self {
        Self { hit_due: Due::new(), put_due: Due::new(), counts: [const { AtomicU64::new(0) }; STRIPED] }
    }

    #[inline]
    fn cell(&self, number: usize) -> &AtomicU64 {
        &self.counts[position(number)]
    }

    /// What this stripe has of a counter.
    #[inline]
    pub(super) fn count(&self, number: usize) -> u64 {
        self.cell(number).load(Ordering::Relaxed)
    }

    /// Adds to a counter of a stripe that this thread owns.
    #[inline]
    pub(super) fn add(&self, number: usize, n: u64) {
        self.cell(number).store(self.count(number).wrapping_add(n), Ordering::Relaxed);
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
    pub(super) fn own(&self) -> Option<&Stripe> {
        self.stripes.get()?.get(NUMBER.get())
    }

    /// The same, after making the stripes and asking for a number.
    #[cold]
    pub(super) fn claimed(&self) -> Option<&Stripe> {
        if NUMBER.get() == NOT_ASKED {
            claim();
        }
        let stripes = self.stripes.get_or_init(|| Box::new([const { Stripe::empty() }; STRIPES]));
        stripes.get(NUMBER.get())
    }

    /// Adds to the counters with these numbers.
    #[inline]
    pub(super) fn add<const N: usize>(&self, counts: [(usize, u64); N]) {
        self.add_to(self.own(), counts);
    }

    /// The same, where the stripe of this thread was looked up before.
    #[inline]
    pub(super) fn add_to<const N: usize>(&self, own: Option<&Stripe>, counts: [(usize, u64); N]) {
        for (number, n) in counts {
            match own {
                _ if number >= STRIPED => {
                    _ = self.others.rest[number - STRIPED].fetch_add(n, Ordering::Relaxed)
                }
                Some(own) => own.add(number, n),
                None => self.add_unowned(number, n),
            }
        }
    }

    #[cold]
    fn add_unowned(&self, number: usize, n: u64) {
        match self.claimed() {
            Some(own) => own.add(number, n),
            None => _ = self.others.shared.cell(number).fetch_add(n, Ordering::Relaxed),
        }
    }

    /// The sum of all cells of a counter, modulo 2⁶⁴. Never less, in that sense, than at an earlier call.
    pub(super) fn sum(&self, number: usize) -> u64 {
        if number >= STRIPED {
            return self.others.rest[number - STRIPED].load(Ordering::Relaxed);
        }
        let mut sum = self.others.shared.count(number);
        if let Some(stripes) = self.stripes.get() {
            // The others are zero.
            let ever_owned = STRIPES - EVER_OWNED.load(Ordering::Acquire).leading_zeros() as usize;
            for stripe in &stripes[..ever_owned] {
                sum = sum.wrapping_add(stripe.count(number));
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
                        cells.add([(3, 1)]);
                        all_alive.wait();
                        (0..1000).for_each(|_| cells.add([(3, 2)]));
                        cells.add([(STRIPED + 1, 1)]);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        let threads = 2 * (STRIPES as u64 + 8);
        assert_eq!((cells.sum(3), cells.sum(STRIPED + 1), cells.sum(4)), (threads * 2001, threads, 0));
        assert!(cells.others.shared.count(3) > 0, "some threads had to share");
        for _ in 0..STRIPES {
            let cells = Arc::clone(&cells);
            thread::spawn(move || cells.add([(4, 1)])).join().unwrap();
        }
        let shared = cells.others.shared.count(4);
        assert!(shared < STRIPES as u64, "who comes later owns what those who ended gave back");
    }

    #[test]
    fn what_a_thread_counts_while_it_ends_is_counted() {
        struct CountsWhenDropped(Arc<Cells>);
        impl Drop for CountsWhenDropped {
            fn drop(&mut self) {
                self.0.add([(0, 1)]);
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
                    inside.add([(1, 1)]);
                }
                LATE.set(Some(CountsWhenDropped(Arc::clone(&inside))));
                inside.add([(1, 1)]);
            });
            thread.join().unwrap();
            assert_eq!(cells.sum(0), 1);
            owned_no_longer += cells.others.shared.count(0);
        }
        assert!(owned_no_longer > 0, "what was given back is not written any more");
    }
}
