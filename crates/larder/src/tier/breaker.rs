//! A circuit breaker: leaves alone what keeps failing, and tries it again after a while.
//!
//! Pure but for its lock: time comes in as a parameter. The pattern is Nygard's (*Release It!*, 2007): closed,
//! open, half-open with one probe.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Instant;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOptions {
    /// How many failures in a row open it.
    pub failures: u32,
    /// How long it stays open the first time; twice as long after each probe that fails.
    pub pause: Duration,
    /// How long it stays open at most.
    pub longest_pause: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures: 3, pause: Duration::from_secs(1), longest_pause: Duration::from_secs(60) }
    }
}

/// Whether an operation may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Go on; report how it went.
    Allowed,
    /// Leave it alone until then.
    Refused(Instant),
}

/// Counts failures of one thing and says when to leave it alone.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        pause: Duration,
    },
    /// One probe is under way. Should its outcome never be reported, another may start after `until`.
    HalfOpen {
        until: Instant,
        pause: Duration,
    },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Asks whether an operation may go on at `now`.
    pub fn admit(&self, now: Instant) -> Admission {
        let mut state = self.state.lock();
        match *state {
            State::Closed { .. } => Admission::Allowed,
            State::Open { until, .. } | State::HalfOpen { until, .. } if now < until => {
                Admission::Refused(until)
            }
            State::Open { pause, .. } | State::HalfOpen { pause, .. } => {
                *state = State::HalfOpen { until: now.plus(pause), pause };
                Admission::Allowed
            }
        }
    }

    /// Reports that an operation went well.
    pub fn succeeded(&self) {
        *self.state.lock() = State::Closed { failures: 0 };
    }

    /// Reports that an operation failed at `now`. Says whether the breaker opened with it.
    pub fn failed(&self, now: Instant) -> Tripped {
        let mut state = self.state.lock();
        let pause = match *state {
            State::Closed { failures } if failures + 1 < self.options.failures => {
                *state = State::Closed { failures: failures + 1 };
                return Tripped::No;
            }
            State::Closed { .. } => self.options.pause,
            // Operations that were under way when it opened tell nothing new.
            State::Open { .. } => return Tripped::No,
            State::HalfOpen { pause, .. } => (pause * 2).min(self.options.longest_pause),
        };
        *state = State::Open { until: now.plus(pause), pause };
        Tripped::For(pause)
    }
}

/// What a failure did to a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tripped {
    /// Nothing visible.
    No,
    /// It opened, for so long.
    For(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_probes_ever_more_rarely() {
        let breaker = Breaker::new(BreakerOptions::default());
        let at = |millis| Instant::at(Duration::from_millis(millis));
        for _ in 0..2 {
            assert_eq!(breaker.failed(at(0)), Tripped::No);
        }
        breaker.succeeded();
        for _ in 0..2 {
            assert_eq!(breaker.failed(at(0)), Tripped::No);
        }
        assert_eq!(breaker.admit(at(0)), Admission::Allowed);
        assert_eq!(breaker.failed(at(0)), Tripped::For(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(999)), Admission::Refused(at(1000)));
        assert_eq!(breaker.admit(at(1000)), Admission::Allowed, "the probe");
        assert_eq!(breaker.admit(at(1001)), Admission::Refused(at(2000)), "one probe at a time");
        assert_eq!(breaker.failed(at(1500)), Tripped::For(Duration::from_secs(2)));
        assert_eq!(breaker.admit(at(3500)), Admission::Allowed);
        breaker.succeeded();
        assert_eq!(breaker.admit(at(3500)), Admission::Allowed);
    }

    #[test]
    fn a_probe_that_never_reports_does_not_keep_it_shut_for_ever() {
        let options = BreakerOptions { failures: 1, ..BreakerOptions::default() };
        let breaker = Breaker::new(options);
        let at = |seconds| Instant::at(Duration::from_secs(seconds));
        breaker.failed(at(0));
        assert_eq!(breaker.admit(at(1)), Admission::Allowed);
        assert_eq!(breaker.admit(at(2)), Admission::Allowed);
    }
}
