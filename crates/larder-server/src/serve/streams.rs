//! The requests that one connection has under way, and whether their client takes what it asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::clock::{Clock, Instant};
use parking_lot::Mutex;

/// The requests of a connection that are under way. A clone is another handle.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// Since when the client has to take the next piece, in nanoseconds of the clock; 0 while it waits for the server.
    marks: HashMap<u64, Arc<AtomicU64>>,
    /// When the last one ended.
    ended: Instant,
}

/// How a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Requests are under way, or were a moment ago.
    Busy,
    /// The client does not take what it asked for.
    Stalled,
    /// Nothing was asked for some time.
    Idle,
}

/// One request. It is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Mark {
    inner: Arc<Inner>,
    id: u64,
    since: Arc<AtomicU64>,
}

impl Streams {
    pub(super) fn new(clock: Clock) -> Self {
        let under_way = UnderWay { ended: clock.now(), ..UnderWay::default() };
        Self { inner: Arc::new(Inner { clock, under_way: Mutex::new(under_way) }) }
    }

    /// A request that begins.
    pub(super) fn begin(&self) -> Mark {
        let since = Arc::new(AtomicU64::new(0));
        let mut under_way = self.inner.under_way.lock();
        let id = under_way.next;
        under_way.next += 1;
        under_way.marks.insert(id, Arc::clone(&since));
        Mark { inner: Arc::clone(&self.inner), id, since }
    }

    /// Since when none is under way; `None` if one is.
    pub(super) fn rest_since(&self) -> Option<Instant> {
        let under_way = self.inner.under_way.lock();
        under_way.marks.is_empty().then_some(under_way.ended)
    }

    /// How it stands, where a client may take `stall` for a piece and ask for nothing for `idle`.
    pub(super) fn state(&self, stall: Duration, idle: Duration) -> State {
        let now = self.inner.clock.now();
        let under_way = self.inner.under_way.lock();
        if under_way.marks.is_empty() {
            return if now.since(under_way.ended) > idle { State::Idle } else { State::Busy };
        }
        let now = now.as_nanos();
        let stalls = under_way.marks.values().any(|since| {
            let since = since.load(Ordering::Relaxed);
            since > 0 && u128::from(now.saturating_sub(since)) > stall.as_nanos()
        });
        if stalls { State::Stalled } else { State::Busy }
    }
}

impl Mark {
    /// The server is at work.
    pub(super) fn ours(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// The client has to take the next piece.
    pub(super) fn the_clients(&self) {
        self.since.store(self.inner.clock.now().as_nanos().max(1), Ordering::Relaxed);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let ended = self.inner.clock.now();
        let mut under_way = self.inner.under_way.lock();
        under_way.marks.remove(&self.id);
        under_way.ended = ended;
    }
}

#[cfg(test)]
mod tests {
    use larder::clock::Timestamp;

    use super::*;

    #[test]
    fn a_client_stalls_when_it_takes_nothing_and_not_when_the_server_takes_its_time() {
        let clock = Clock::manual(Timestamp::default());
        let streams = Streams::new(clock.clone());
        let (stall, idle) = (Duration::from_secs(10), Duration::from_secs(60));
        let state = || streams.state(stall, idle);
        let (one, _other) = (streams.begin(), streams.begin());
        clock.advance(Duration::from_secs(1000));
        assert_eq!(state(), State::Busy, "the server has not answered yet");
        one.the_clients();
        clock.advance(stall);
        assert_eq!(state(), State::Busy);
        one.ours();
        one.the_clients();
        clock.advance(stall + Duration::from_secs(1));
        assert_eq!(state(), State::Stalled);
        one.ours();
        assert_eq!(state(), State::Busy);
    }

    #[test]
    fn a_connection_is_idle_when_nothing_was_under_way_for_long() {
        let clock = Clock::manual(Timestamp::default());
        let streams = Streams::new(clock.clone());
        let (stall, idle) = (Duration::from_secs(10), Duration::from_secs(60));
        let one = streams.begin();
        clock.advance(Duration::from_secs(100));
        assert_eq!(streams.state(stall, idle), State::Busy);
        drop(one);
        clock.advance(idle);
        assert_eq!(streams.state(stall, idle), State::Busy);
        clock.advance(Duration::from_secs(1));
        assert_eq!(streams.state(stall, idle), State::Idle);
    }
}
