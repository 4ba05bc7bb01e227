//! How much each identity may ask for: requests and bytes a second, requests at once.
//!
//! Requests over the limit are turned away and told when to come back. Bytes are known only while they pass: what is
//! under way is slowed to the rate, and while more than a second's worth is owed, nothing new is taken.
//! Invariant: there are as many meters as names that the rules know, whoever asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::clock::{Clock, Instant};
use parking_lot::Mutex;

use super::identity::{Allowance, Identity};

/// Somebody asks for more than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("too many requests a second; come back in {} s", seconds(*.0))]
    Requests(Duration),
    #[error("too many bytes a second; come back in {} s", seconds(*.0))]
    Bytes(Duration),
    #[error("too many requests at once; come back in 1 s")]
    Concurrent,
}

impl Exceeded {
    /// When it is worth another try, in whole seconds.
    pub(crate) fn retry_after(self) -> u64 {
        match self {
            Self::Requests(wait) | Self::Bytes(wait) => seconds(wait),
            Self::Concurrent => 1,
        }
    }
}

fn seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil().max(1.0) as u64
}

/// A meter for each name.
#[derive(Debug, Default)]
pub(super) struct Meters(Mutex<HashMap<Arc<str>, Arc<Meter>>>);

impl Meters {
    /// Takes one request, or says no.
    pub(super) fn admit(&self, identity: &Identity, clock: &Clock) -> Result<Admission, Exceeded> {
        let allowance = identity.allowance();
        let meter = (allowance != Allowance::default())
            .then(|| Arc::clone(self.0.lock().entry(Arc::clone(identity.name())).or_default()));
        let Some(meter) = meter else { return Ok(Admission(None)) };
        let now = clock.now();
        let mut state = meter.state.lock();
        if let Some(limit) = allowance.bytes_per_second {
            state.bytes.take(0, limit, now).map_err(Exceeded::Bytes)?;
        }
        if allowance.concurrent.is_some_and(|limit| meter.under_way.load(Ordering::Relaxed) >= limit) {
            return Err(Exceeded::Concurrent);
        }
        if let Some(limit) = allowance.requests_per_second {
            state.requests.take(1, limit, now).map_err(Exceeded::Requests)?;
        }
        meter.under_way.fetch_add(1, Ordering::Relaxed);
        drop(state);
        let pace = allowance.bytes_per_second;
        Ok(Admission(Some(Arc::new(Admitted { meter, pace, clock: clock.clone() }))))
    }
}

#[derive(Debug, Default)]
struct Meter {
    state: Mutex<State>,
    under_way: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    requests: Bucket,
    bytes: Bucket,
}

/// Holds a second's worth. What is taken from an empty one is owed.
#[derive(Debug, Default)]
struct Bucket {
    /// How much is missing to a full one.
    missing: f64,
    at: Instant,
}

impl Bucket {
    fn flow(&mut self, rate: u64, now: Instant) {
        let came = now.since(self.at).as_secs_f64() * rate as f64;
        self.missing = (self.missing - came).max(0.0);
        self.at = now.max(self.at);
    }

    /// Takes `number`, or says how long it takes until that is there. Zero is there while no more than a second's
    /// worth is owed.
    fn take(&mut self, number: u64, rate: u64, now: Instant) -> Result<(), Duration> {
        self.flow(rate, now);
        let owed = match number {
            0 => self.missing - 2.0 * rate as f64,
            number => self.missing + number as f64 - rate as f64,
        };
        if owed > 0.0 {
            return Err(Duration::from_secs_f64(owed / rate as f64));
        }
        self.missing += number as f64;
        Ok(())
    }

    /// Takes `number`, which has passed already, and says how long the next should wait.
    fn passed(&mut self, number: u64, rate: u64, now: Instant) -> Duration {
        self.flow(rate, now);
        self.missing += number as f64;
        Duration::from_secs_f64((self.missing - rate as f64).max(0.0) / rate as f64)
    }
}

/// A request that was taken. Clones are the same one; it is under way until the last is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Admission(Option<Arc<Admitted>>);

impl Admission {
    /// Counts bytes that passed, and says how long the next should wait.
    pub(crate) fn passed(&self, bytes: u64) -> Duration {
        let Some(Admitted { meter, pace: Some(rate), clock }) = self.0.as_deref() else {
            return Duration::ZERO;
        };
        meter.state.lock().bytes.passed(bytes, *rate, clock.now())
    }
}

#[derive(Debug)]
struct Admitted {
    meter: Arc<Meter>,
    pace: Option<u64>,
    clock: Clock,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.meter.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use larder::clock::Timestamp;

    use super::*;
    use crate::guard::{Reach, Role};

    fn lab(allowance: Allowance) -> (Meters, Identity, Clock) {
        let identity = Identity::new("ci", [(Reach::Everywhere, Role::Read)]).with_allowance(allowance);
        (Meters::default(), identity, Clock::manual(Timestamp::default()))
    }

    #[test]
    fn requests_over_the_rate_are_told_when_to_come_back_and_are_taken_then() {
        let allowance = Allowance { requests_per_second: Some(2), ..Allowance::default() };
        let (meters, ci, clock) = lab(allowance);
        assert!(meters.admit(&ci, &clock).is_ok() && meters.admit(&ci, &clock).is_ok());
        let refused = meters.admit(&ci, &clock).unwrap_err();
        assert_eq!(refused, Exceeded::Requests(Duration::from_millis(500)));
        assert_eq!(refused.retry_after(), 1);
        clock.advance(Duration::from_millis(500));
        assert!(meters.admit(&ci, &clock).is_ok());
        assert!(meters.admit(&ci, &clock).is_err());
        // Others have their own.
        let other = Identity::new("other", []).with_allowance(allowance);
        assert!(meters.admit(&other, &clock).is_ok());
    }

    #[test]
    fn a_request_is_under_way_until_all_that_belongs_to_it_is_gone() {
        let (meters, ci, clock) = lab(Allowance { concurrent: Some(1), ..Allowance::default() });
        let first = meters.admit(&ci, &clock).unwrap();
        let body = first.clone();
        drop(first);
        assert_eq!(meters.admit(&ci, &clock).unwrap_err(), Exceeded::Concurrent);
        drop(body);
        assert!(meters.admit(&ci, &clock).is_ok());
    }

    #[test]
    fn bytes_over_the_rate_slow_what_is_under_way_and_keep_out_what_is_new() {
        let (meters, ci, clock) = lab(Allowance { bytes_per_second: Some(100), ..Allowance::default() });
        let one = meters.admit(&ci, &clock).unwrap();
        assert_eq!(one.passed(100), Duration::ZERO);
        assert_eq!(one.passed(50), Duration::from_millis(500));
        assert!(meters.admit(&ci, &clock).is_ok(), "less than a second's worth is owed");
        assert_eq!(one.passed(250), Duration::from_secs(3));
        assert_eq!(meters.admit(&ci, &clock).unwrap_err(), Exceeded::Bytes(Duration::from_secs(2)));
        clock.advance(Duration::from_secs(2));
        assert!(meters.admit(&ci, &clock).is_ok());
    }
}
