//! Time as a parameter.
//!
//! Two times are told apart. [`Instant`] is monotonic and measures how long something took or has been there
//! within this process. [`Timestamp`] is wall-clock time for what outlives the process; it may step back, and
//! whoever compares two of them says what happens then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Monotonic time since the clock was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// Takes a time since the clock was made; what does not fit in 64 bits of nanoseconds (584 years) saturates.
    pub fn at(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the clock was made.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time `duration` later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time in milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Takes milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not, as after a step back of the clock.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The time `duration` later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

/// A source of both times. Clones tell the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { start: std::time::Instant },
    Manual(Arc<Manual>),
}

struct Manual {
    nanos: AtomicU64,
    wall_millis: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Source::System { start: std::time::Instant::now() })
    }

    /// A clock that stands still until it is told otherwise, for tests and simulations.
    pub fn manual(wall: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            nanos: AtomicU64::new(0),
            wall_millis: AtomicU64::new(wall.0),
        })))
    }

    /// Monotonic time. Costs about 20 ns.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System { start } => Instant::at(start.elapsed()),
            Source::Manual(manual) => Instant(manual.nanos.load(Ordering::Relaxed)),
        }
    }

    /// Wall-clock time.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => SystemTime::now().into(),
            Source::Manual(manual) => Timestamp(manual.wall_millis.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock forward in both times; the machine's clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            manual.nanos.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
            manual.wall_millis.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// Steps the wall-clock time of a manual clock, back or forth, and leaves the monotonic time alone.
    pub fn step_wall(&self, to: Timestamp) {
        if let Source::Manual(manual) = &self.0 {
            manual.wall_millis.store(to.0, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System { .. } => "Clock::System",
            Source::Manual(_) => "Clock::Manual",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_leaves_monotonic_time_alone() {
        let clock = Clock::manual(Timestamp::from_millis(10_000));
        clock.advance(Duration::from_secs(1));
        let before = clock.now();
        clock.step_wall(Timestamp::from_millis(1));
        assert_eq!((clock.now(), clock.wall()), (before, Timestamp::from_millis(1)));
        assert_eq!(Timestamp::from_millis(1).since(Timestamp::from_millis(10_000)), Duration::ZERO);
    }
}
