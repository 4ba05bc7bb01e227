//! The lock of a shard: one locked instruction to take it, none to give it back.
//!
//! A hit holds it for tens of nanoseconds, so what the lock itself costs is a good part of a hit. A lock that knows
//! of waiters, like `parking_lot`'s or the standard library's, gives itself back by a locked instruction too, and one
//! that lets readers in together writes its count at both ends all the same. This one is a flag: who finds it taken
//! looks again for a while, then lets others run.
//!
//! Good for sections that neither wait nor run a caller's code of unknown length, which those of a shard are. Its
//! bad case is a holder that the system stops in the middle: others then give up their turns until it goes on.

use std::sync::atomic::Ordering;

use crate::sync::{AtomicBool, spin_loop, yield_now};

/// How often to look again before others are let run.
const LOOKS: u32 = 100;

/// A flag that says whether somebody is in.
pub(super) struct Flag(AtomicBool);

/// A value that one thread uses at a time.
pub(super) type Lock<T> = lock_api::Mutex<Flag, T>;

/// Whoever has one is the one.
pub(super) type LockGuard<'a, T> = lock_api::MutexGuard<'a, Flag, T>;

// SAFETY: `lock` returns only after a swap found `false`, and the flag stays `true` until the caller's `unlock`, which
// the guard's state allows once; so meanwhile nobody else's swap finds `false`. The swap acquires what the store of
// `unlock` releases.
unsafe impl lock_api::RawMutex for Flag {
    const INIT: Self = Self(AtomicBool::new(false));

    type Guard = lock_api::GuardNoSend;

    #[inline]
    fn lock(&self) -> Self::Guard {
        if self.0.swap(true, Ordering::Acquire) {
            self.wait();
        }
        lock_api::GuardNoSend::new()
    }

    #[inline]
    fn try_lock(&self) -> Option<Self::Guard> {
        (!self.0.swap(true, Ordering::Acquire)).then_some(lock_api::GuardNoSend::new())
    }

    #[inline]
    unsafe fn unlock(&self, _: Self::Guard) {
        self.0.store(false, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Flag {
    #[cold]
    fn wait(&self) {
        loop {
            for _ in 0..LOOKS {
                // Only looks, so that the holder's cache line stays where it is.
                if !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Acquire) {
                    return;
                }
                spin_loop();
            }
            yield_now();
        }
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_at_a_time_and_sees_what_the_last_one_did() {
        let lock = Lock::new([0u64; 8]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let mut numbers = lock.lock();
                        let first = numbers[0];
                        assert!(numbers.iter().all(|&number| number == first));
                        numbers.iter_mut().for_each(|number| *number += 1);
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), [80_000; 8]);
    }
}

/// Every schedule of a few threads, by the model checker: `cargo test -p larder --features shuttle scheduled`.
#[cfg(all(test, feature = "shuttle"))]
mod scheduled {
    use std::sync::Arc;

    use shuttle::sync::atomic::AtomicU64;
    use shuttle::thread;

    use super::*;

    fn check() {
        let lock = Arc::new(Lock::new(()));
        let inside = Arc::new(AtomicU64::new(0));
        let enter = |lock: &Lock<()>, inside: &AtomicU64| {
            let guard = lock.lock();
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst) % 2, 0, "somebody else is in");
            yield_now();
            inside.fetch_add(1, Ordering::SeqCst);
            drop(guard);
            lock.try_lock().is_some()
        };
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                thread::spawn(move || (0..2).for_each(|_| _ = enter(&lock, &inside)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        assert!(lock.try_lock().is_some(), "all have left");
    }

    #[test]
    fn scheduled_one_is_in_at_a_time_and_all_get_in() {
        shuttle::check_random(check, 5_000);
        shuttle::check_pct(check, 5_000, 3);
    }
}
