//! Places of connections that are served.
//!
//! Invariant: there are no more than so many; where one more comes, the one that has had no request under way for longest
//! is asked to leave. So whoever asks for nothing more keeps nobody out, whatever they were told before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use larder::clock::{Clock, Instant};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::streams::Streams;

/// How long is waited for a place before another is asked to leave, and at least from one vain search to the next.
const PAUSE: Duration = Duration::from_millis(250);

/// Places to be served at. A clone is another handle.
#[derive(Debug, Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    guests: Arc<Mutex<Guests>>,
    clock: Clock,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    guests: Arc<Mutex<Guests>>,
    number: u64,
    /// Ends when another waits for the place.
    pub(super) wanted: oneshot::Receiver<()>,
}

/// Those who have a place and were not asked to leave.
#[derive(Debug, Default)]
struct Guests {
    next: u64,
    all: HashMap<u64, Guest>,
    /// Since when each rests, or longer ago than it does.
    by_rest: BTreeSet<(Instant, u64)>,
    /// Until then nobody is looked for, as none rested.
    all_busy_until: Instant,
}

#[derive(Debug)]
struct Guest {
    streams: Streams,
    /// Where it stands among all.
    rests: Instant,
    leave: oneshot::Sender<()>,
}

impl Places {
    pub(super) fn new(places: usize, clock: Clock) -> Self {
        Self { free: Arc::new(Semaphore::new(places)), guests: Arc::default(), clock }
    }

    /// Waits for a place for a connection with these requests.
    pub(super) async fn enter(&self, streams: &Streams) -> Place {
        let permit = Arc::clone(&self.free).acquire_owned();
        tokio::pin!(permit);
        let permit = loop {
            tokio::select! {
                biased;
                permit = &mut permit => break permit.expect("the semaphore is never closed"),
                () = async {
                    self.guests.lock().ask_one(self.clock.now());
                    tokio::time::sleep(PAUSE).await;
                } => {}
            }
        };
        let (leave, wanted) = oneshot::channel();
        let number = self.guests.lock().add(streams.clone(), self.clock.now(), leave);
        Place { _permit: permit, guests: Arc::clone(&self.guests), number, wanted }
    }
}

impl Guests {
    fn add(&mut self, streams: Streams, now: Instant, leave: oneshot::Sender<()>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_rest.insert((now, number));
        self.all.insert(number, Guest { streams, rests: now, leave });
        number
    }

    fn remove(&mut self, number: u64) -> Option<Guest> {
        let guest = self.all.remove(&number)?;
        self.by_rest.remove(&(guest.rests, number));
        Some(guest)
    }

    /// Asks the one that rests for longest to leave, if any does.
    fn ask_one(&mut self, now: Instant) {
        if now < self.all_busy_until {
            return;
        }
        for _ in 0..self.all.len() {
            let Some(&(rests, number)) = self.by_rest.first() else { return };
            let Some(guest) = self.all.get_mut(&number) else { return };
            match guest.streams.rest_since() {
                Some(since) if since <= rests => {
                    if let Some(guest) = self.remove(number) {
                        // One that leaves by itself need not be asked.
                        let _ = guest.leave.send(());
                    }
                    return;
                }
                since => {
                    guest.rests = since.unwrap_or(now);
                    self.by_rest.remove(&(rests, number));
                    self.by_rest.insert((guest.rests, number));
                }
            }
        }
        self.all_busy_until = now.plus(PAUSE);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use larder::clock::Timestamp;

    use super::*;

    #[test]
    fn the_one_that_rests_for_longest_is_asked_to_leave_and_none_that_is_busy() {
        let clock = Clock::manual(Timestamp::default());
        let second = || clock.advance(Duration::from_secs(1));
        let mut guests = Guests::default();
        let streams = [(), (), ()].map(|()| Streams::new(clock.clone()));
        let mut asked = Vec::new();
        for streams in &streams {
            let (leave, wanted) = oneshot::channel();
            guests.add(streams.clone(), clock.now(), leave);
            asked.push(wanted);
            second();
        }
        let mut check = |guests: &mut Guests, expected: &[usize]| {
            second();
            guests.ask_one(clock.now());
            let were_asked = |&n: &usize| asked[n].try_recv().is_ok();
            assert_eq!((0..3).filter(were_asked).collect::<Vec<_>>(), expected);
        };
        let busy = streams[0].begin();
        // It asked for something since.
        drop(streams[1].begin());
        check(&mut guests, &[2]);
        let also_busy = streams[1].begin();
        check(&mut guests, &[]);
        drop(also_busy);
        second();
        drop(busy);
        check(&mut guests, &[1]);
        check(&mut guests, &[0]);
        check(&mut guests, &[]);
        assert!(guests.all.is_empty() && guests.by_rest.is_empty());
    }

    #[tokio::test]
    async fn who_has_a_place_has_it_until_it_is_dropped() {
        let clock = Clock::system();
        let places = Places::new(1, clock.clone());
        let mut place = places.enter(&Streams::new(clock.clone())).await;
        let (streams, other) = (Streams::new(clock.clone()), places.clone());
        let entering = tokio::spawn(async move { other.enter(&streams).await });
        (&mut place.wanted).await.unwrap();
        assert!(!entering.is_finished());
        drop(place);
        drop(entering.await.unwrap());
        assert!(places.guests.lock().all.is_empty());
    }
}
