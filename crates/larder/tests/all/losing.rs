//! A tier that is lost costs the cache a bounded time, and never an answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::engine::{Computed, Kind, KindOptions, Larder, LarderOptions, Origin, Write};
use larder::key::{Scope, Selector};
use larder::stats::{Place, Stats, StatsOptions};
use larder::testing::{Fault, Faulty};
use larder::tier::disk::{Disk, DiskOptions};

/// An engine without memory over a disk tier that misbehaves on demand.
struct Lab {
    larder: Larder,
    words: Kind<String>,
    tier: Arc<Faulty>,
    clock: Clock,
}

impl Lab {
    fn new(dir: &Path) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000_000));
        let disk = Disk::open(dir, DiskOptions { clock: clock.clone(), ..DiskOptions::default() }).unwrap();
        let tier = Faulty::new(Arc::new(disk));
        let stats = Stats::new(StatsOptions::default(), clock.clone());
        let mut options = LarderOptions::new(clock.clone(), stats);
        options.memory = None;
        options.tiers = vec![Arc::clone(&tier) as _];
        options.tier_timeout = Duration::from_secs(2);
        let larder = Larder::new(options);
        let through = KindOptions { write: Write::Through, ..KindOptions::default() };
        let words = larder.kind(&Scope::new("lab").unwrap(), "word", 1, through).unwrap();
        Self { larder, words, tier, clock }
    }

    async fn check(&self, id: &str, value: &str, expected: (&str, Origin)) {
        let value = value.to_owned();
        let compute = || async { Ok::<_, std::io::Error>(Computed::new(value)) };
        let answer = self.words.get_or_compute(&self.words.key(id).unwrap(), compute).await.unwrap();
        assert_eq!((answer.as_str(), answer.origin), expected, "{id}");
    }
}

const DISK: Origin = Origin::Kept(Place::Disk);

#[tokio::test]
async fn a_tier_that_fails_is_a_miss_then_left_alone_then_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::new(dir.path());
    lab.check("a", "one", ("one", Origin::Computed)).await;
    lab.tier.misbehave(Fault::Fails);
    for _ in 0..3 {
        lab.check("a", "two", ("two", Origin::Computed)).await;
    }
    lab.tier.take_asked();
    lab.check("a", "two", ("two", Origin::Computed)).await;
    assert_eq!(lab.tier.take_asked(), 0, "it is left alone");
    lab.tier.misbehave(Fault::None);
    lab.check("a", "two", ("two", Origin::Computed)).await;
    lab.clock.advance(Duration::from_secs(1));
    lab.check("a", "two", ("one", DISK)).await;
}

#[tokio::test]
async fn a_tier_that_could_not_be_told_of_an_invalidation_gives_nothing_that_it_covers() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::new(dir.path());
    lab.check("a", "one", ("one", Origin::Computed)).await;
    lab.check("b", "one", ("one", Origin::Computed)).await;
    lab.tier.misbehave(Fault::Fails);
    let report = lab.larder.invalidate(&Selector::key(&lab.words.key("a").unwrap())).await;
    assert_eq!(report.failed_tiers.len(), 1);
    lab.tier.misbehave(Fault::None);
    lab.check("a", "two", ("two", Origin::Computed)).await;
    lab.check("b", "two", ("one", DISK)).await;
    // The new answer is kept: what was owed was paid before it was written.
    lab.check("a", "three", ("two", DISK)).await;
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_hangs_costs_its_time_limit_and_is_then_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::new(dir.path());
    lab.tier.misbehave(Fault::Hangs);
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        lab.check("a", "one", ("one", Origin::Computed)).await;
    }
    assert_eq!(began.elapsed().as_secs(), 3 * 2, "three operations of two seconds each opened the breaker");
}

#[tokio::test]
async fn bytes_that_changed_are_set_aside_counted_and_computed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::new(dir.path());
    lab.check("a", "one", ("one", Origin::Computed)).await;
    lab.tier.misbehave(Fault::Flips);
    lab.check("a", "two", ("two", Origin::Computed)).await;
    lab.tier.misbehave(Fault::None);
    lab.check("a", "three", ("two", DISK)).await;
    let report = lab.larder.stats().report();
    assert_eq!(report.total.unwrap().tiers[&Place::Disk].corrupt, 1);
}
