//! Single flight: one process computes a key once at a time.
//!
//! Invariants: whoever waits for a flight is woken when it lands, fails, is cancelled or panics; a flight that an
//! invalidation overtook stores nothing and takes no new passengers.
//! Not here: what is computed (`execute`), waiting in circles (`waits`).

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::key::{Key, Selector};
use crate::sync::Mutex;

/// What a flight brought home, of a type that its passengers know.
pub(super) type Cargo = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
enum State {
    Flying,
    Landed(Cargo),
    Abandoned,
}

/// One computation under way.
#[derive(Debug)]
pub(super) struct Flight {
    key: Key,
    revoked: Mutex<bool>,
    state: watch::Sender<State>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flying => "Flying",
            Self::Landed(_) => "Landed",
            Self::Abandoned => "Abandoned",
        })
    }
}

impl Flight {
    /// One that nobody boards and that stores nothing: for whoever only looks while another computes.
    pub(super) fn storing_nothing(key: &Key) -> Arc<Self> {
        let state = watch::Sender::new(State::Abandoned);
        Arc::new(Self { key: key.clone(), revoked: Mutex::new(true), state })
    }

    /// Tells this flight from all others that the process has at the same time, of whichever table.
    pub(super) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// A seat among those who wait for this flight.
    pub(super) fn follow(self: &Arc<Self>) -> Follow {
        Follow { state: self.state.subscribe(), flight: Arc::clone(self) }
    }

    /// The key that it computes.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Runs `store` unless an invalidation overtook the flight. None can do so while `store` runs, so that it
    /// either comes before and prevents the storing, or after and removes what was stored.
    pub(super) fn unless_revoked<R>(&self, store: impl FnOnce() -> R) -> Option<R> {
        let revoked = self.revoked.lock();
        (!*revoked).then(store)
    }
}

/// All computations under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_key: Mutex<HashMap<Key, Arc<Flight>>>,
}

/// How a caller takes part in a flight.
#[derive(Debug)]
pub(super) enum Seat {
    /// It computes.
    Lead(Lead),
    /// It waits for another caller who does.
    Follow(Follow),
}

impl Flights {
    /// Joins the flight for `key`, or begins one.
    pub(super) fn board(self: &Arc<Self>, key: &Key) -> Seat {
        let mut by_key = self.by_key.lock();
        if let Some(flight) = by_key.get(key) {
            return Seat::Follow(flight.follow());
        }
        let flight = Arc::new(Flight {
            key: key.clone(),
            revoked: Mutex::new(false),
            state: watch::Sender::new(State::Flying),
        });
        by_key.insert(key.clone(), Arc::clone(&flight));
        Seat::Lead(Lead { flights: Arc::clone(self), flight, landed: false })
    }

    /// Revokes the right to store of each flight whose key `selector` could select. Callers from now on begin
    /// new flights; those who wait already get what they asked for.
    pub(super) fn revoke(&self, selector: &Selector) {
        self.revoke_but(selector, |_| false);
    }

    /// The same, but for flights whose keys are spared.
    pub(super) fn revoke_but(&self, selector: &Selector, is_spared: impl Fn(&Key) -> bool) {
        let mut overtaken = Vec::new();
        self.by_key.lock().retain(|key, flight| {
            let covered = selector.matches_key(key) && !is_spared(key);
            if covered {
                overtaken.push(Arc::clone(flight));
            }
            !covered
        });
        // Outside the table's lock: `unless_revoked` may be storing.
        for flight in overtaken {
            *flight.revoked.lock() = true;
        }
    }

    fn remove(&self, flight: &Arc<Flight>) {
        let mut by_key = self.by_key.lock();
        if by_key.get(&flight.key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            by_key.remove(&flight.key);
        }
    }
}

/// The seat of the caller who computes. Dropping it before it landed wakes the others, of whom one takes over.
#[derive(Debug)]
pub(super) struct Lead {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    landed: bool,
}

impl Lead {
    pub(super) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// The seat of whoever begins to compute only now: what an invalidation overtook before does not count. Those who wait
    /// for the overtaken flight board anew. `None` if another caller boarded since that invalidation, and leads.
    pub(super) fn beginning_now(self) -> Option<Self> {
        let is_revoked = *self.flight.revoked.lock();
        if !is_revoked {
            return Some(self);
        }
        match self.flights.board(&self.flight.key) {
            Seat::Lead(lead) => Some(lead),
            Seat::Follow(_) => None,
        }
    }

    /// Ends the flight and hands `cargo` to all who wait.
    pub(super) fn land(mut self, cargo: Cargo) {
        self.landed = true;
        self.flights.remove(&self.flight);
        self.flight.state.send_replace(State::Landed(cargo));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.landed {
            self.flights.remove(&self.flight);
            self.flight.state.send_replace(State::Abandoned);
        }
    }
}

/// The seat of a caller who waits.
#[derive(Debug)]
pub(super) struct Follow {
    flight: Arc<Flight>,
    state: watch::Receiver<State>,
}

impl Follow {
    pub(super) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits until the flight ends. `None`: it was abandoned, and the caller should board again.
    pub(super) async fn landed(mut self) -> Option<Cargo> {
        let state = self.state.wait_for(|state| !matches!(state, State::Flying)).await.ok()?;
        match &*state {
            State::Landed(cargo) => Some(Arc::clone(cargo)),
            State::Flying | State::Abandoned => None,
        }
    }
}

/// Every schedule of a few threads, by the model checker: `cargo test -p larder --features shuttle scheduled`.
#[cfg(all(test, feature = "shuttle"))]
mod scheduled {
    use shuttle::sync::atomic::{AtomicU64, Ordering};
    use shuttle::thread;

    use super::*;

    /// What is kept, and the world from which it is computed.
    struct World {
        flights: Arc<Flights>,
        kept: Mutex<Option<u64>>,
        truth: AtomicU64,
        invalidated: AtomicU64,
    }

    impl World {
        /// Computes and keeps, as the engine does.
        fn ask(&self, key: &Key) {
            if let Seat::Lead(lead) = self.flights.board(key) {
                let value = self.truth.load(Ordering::SeqCst);
                thread::yield_now();
                lead.flight().unless_revoked(|| *self.kept.lock() = Some(value));
                lead.land(Arc::new(value));
            }
        }

        /// Changes the world, and then invalidates, as the engine does.
        fn change(&self, key: &Key) {
            let truth = self.truth.fetch_add(1, Ordering::SeqCst) + 1;
            self.flights.revoke(&Selector::key(key));
            *self.kept.lock() = None;
            self.invalidated.fetch_max(truth, Ordering::SeqCst);
        }
    }

    fn check() {
        let key = Key::parse("lab/number@1/a").expect("well formed");
        let world = Arc::new(World {
            flights: Arc::default(),
            kept: Mutex::new(None),
            truth: AtomicU64::new(0),
            invalidated: AtomicU64::new(0),
        });
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (world, key) = (Arc::clone(&world), key.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        if n == 0 {
                            world.change(&key)
                        } else {
                            world.ask(&key)
                        }
                        let invalidated = world.invalidated.load(Ordering::SeqCst);
                        let kept = *world.kept.lock();
                        assert!(
                            kept.is_none_or(|value| value >= invalidated),
                            "{kept:?} from before {invalidated}"
                        );
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no thread panics");
        }
    }

    /// Asks for one key in several tasks, of which the first to lead gives up if `gives_up`, and returns how often it
    /// was computed.
    fn ask_together(gives_up: bool) -> u64 {
        let key = Key::parse("lab/number@1/a").expect("well formed");
        let (flights, given_up) = (Arc::<Flights>::default(), Arc::new(Mutex::new(!gives_up)));
        let (kept, computed) = (Arc::new(Mutex::new(None)), Arc::new(AtomicU64::new(0)));
        let inside = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let (flights, key, given_up) = (Arc::clone(&flights), key.clone(), Arc::clone(&given_up));
                let (kept, computed, inside) =
                    (Arc::clone(&kept), Arc::clone(&computed), Arc::clone(&inside));
                shuttle::future::spawn(async move {
                    loop {
                        if let Some(value) = *kept.lock() {
                            return value;
                        }
                        let lead = match flights.board(&key) {
                            Seat::Lead(lead) => lead,
                            Seat::Follow(follow) => match follow.landed().await {
                                Some(cargo) => return *cargo.downcast::<u64>().expect("a number"),
                                None => continue,
                            },
                        };
                        // Another flight may have landed between the look and the boarding.
                        let known = *kept.lock();
                        let value = match known {
                            Some(value) => value,
                            None => {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two compute at once");
                                shuttle::future::yield_now().await;
                                inside.fetch_sub(1, Ordering::SeqCst);
                                if !std::mem::replace(&mut *given_up.lock(), true) {
                                    continue;
                                }
                                computed.fetch_add(1, Ordering::SeqCst);
                                7
                            }
                        };
                        *kept.lock() = Some(value);
                        lead.land(Arc::new(value));
                        return value;
                    }
                })
            })
            .collect();
        for task in tasks {
            let answer = shuttle::future::block_on(task).expect("no task panics");
            assert_eq!(answer, 7);
        }
        computed.load(Ordering::SeqCst)
    }

    #[test]
    fn scheduled_all_who_wait_are_woken_and_one_computes_once_also_after_another_gave_up() {
        for gives_up in [false, true] {
            shuttle::check_random(move || assert_eq!(ask_together(gives_up), 1), 10_000);
            shuttle::check_pct(move || assert_eq!(ask_together(gives_up), 1), 10_000, 3);
        }
    }

    #[test]
    fn scheduled_nothing_from_before_an_invalidation_is_kept_after_it() {
        shuttle::check_random(check, 20_000);
        shuttle::check_pct(check, 20_000, 3);
    }
}
