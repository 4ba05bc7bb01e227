//! What is limited stays within its limit, and no limit costs an answer.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::engine::{
    Answer, Computed, Freshness, Kept, Kind, KindLimits, KindOptions, Larder, LarderOptions, NotKept, Origin,
};
use larder::key::{Scope, Selector};
use larder::stats::{EvictionCause, Place, RefusalCause, Stats, StatsOptions, TierFigures};
use larder::tier::disk::{Disk, DiskOptions};
use larder::tier::memory::{self, Config, Limits};

const MEMORY: Origin = Origin::Kept(Place::Memory);
const DISK: Origin = Origin::Kept(Place::Disk);

/// An engine whose memory is in one piece, so that limits bite where they say.
struct Lab {
    clock: Clock,
    larder: Larder,
}

impl Lab {
    fn new(memory_bytes: u64, change: impl FnOnce(&mut LarderOptions)) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000_000));
        let stats = Stats::new(StatsOptions::default(), clock.clone());
        let mut options = LarderOptions::new(clock.clone(), stats);
        options.memory = Some(Config {
            shards: NonZero::<usize>::MIN,
            ..Config::new(Limits::bytes(memory_bytes), NonZero::<usize>::MIN, 1)
        });
        change(&mut options);
        Self { clock, larder: Larder::new(options) }
    }

    fn kind(&self, scope: &str, name: &str, options: KindOptions<String>) -> Kind<String> {
        self.larder.kind(&Scope::new(scope).unwrap(), name, 1, options).unwrap()
    }

    fn words(&self) -> Kind<String> {
        self.kind("lab", "word", KindOptions::default())
    }

    fn tier(&self, place: Place) -> TierFigures {
        self.larder.stats().report().total.unwrap().tiers[&place].clone()
    }
}

fn disk(dir: &Path, clock: &Clock) -> Arc<Disk> {
    Arc::new(Disk::open(dir, DiskOptions { clock: clock.clone(), ..DiskOptions::default() }).unwrap())
}

/// Asks for what is `bytes` letters long.
async fn ask(kind: &Kind<String>, id: &str, bytes: usize) -> Answer<String> {
    let compute = move || async move { Ok::<_, std::io::Error>(Computed::new("x".repeat(bytes))) };
    let answer = kind.get_or_compute(&kind.key(id).unwrap(), compute).await.unwrap();
    assert_eq!(answer.len(), bytes);
    answer
}

#[tokio::test]
async fn a_full_queue_drops_writes_and_says_so_and_no_answers() {
    let dir = tempfile::tempdir().unwrap();
    for memory in [true, false] {
        let lab = Lab::new(1 << 20, |options| {
            options.queue_bytes = 1_000;
            options.level = larder::entry::compress::Level::OFF;
            options.tiers = vec![disk(&dir.path().join(memory.to_string()), &options.clock)];
            options.memory = options.memory.filter(|_| memory);
        });
        let words = lab.words();
        assert_eq!(ask(&words, "small", 10).await.kept, Kept::Yes);
        let dropped = if memory { Kept::InMemoryOnly } else { Kept::No };
        assert_eq!(ask(&words, "large", 10_000).await.kept, dropped(NotKept::QueueFull));
        lab.larder.close().await;
        let figures = lab.tier(Place::Disk);
        assert_eq!((figures.puts, figures.dropped), (1, 1));
        assert_eq!(ask(&words, "small", 10).await.origin, if memory { MEMORY } else { DISK });
    }
}

#[tokio::test]
async fn kinds_and_scopes_stay_within_their_quotas_and_leave_others_alone() {
    let lab = Lab::new(1 << 20, |options| {
        let limits = KindLimits { memory_bytes: Some(10_000), ..KindLimits::default() };
        options.kinds.insert("small".into(), limits);
        options.scopes.insert("tight".into(), 10_000);
    });
    let of = |scope, name| lab.kind(scope, name, KindOptions::default());
    let (kind, scope, other) = (of("lab", "small"), of("tight", "word"), of("lab", "word"));
    for n in 0..50 {
        for kind in [&kind, &scope, &other] {
            ask(kind, &n.to_string(), 1_000).await;
        }
    }
    let here = async |kind: &Kind<String>| {
        let mut here = 0;
        for n in 0..50 {
            here += u32::from(kind.get(&kind.key(&n.to_string()).unwrap()).await.is_some());
        }
        here
    };
    assert!((5..10).contains(&here(&kind).await));
    assert!((5..10).contains(&here(&scope).await));
    assert_eq!(here(&other).await, 50);
    let evictions = lab.tier(Place::Memory).evictions;
    assert_eq!(evictions.keys().collect::<Vec<_>>(), [&EvictionCause::Quota]);

    let refused = NotKept::NoRoom(memory::Refusal::OverQuota);
    assert_eq!(ask(&kind, "huge", 20_000).await.kept, Kept::No(refused));
    assert_eq!(lab.tier(Place::Memory).refusals, [(RefusalCause::OverQuota, 1)].into());
}

#[tokio::test]
async fn a_kind_s_age_limit_holds_for_what_was_kept_before_it_was_set() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let lab = |max_age| {
        Lab::new(1 << 20, |options| {
            options.kinds.insert("word".into(), KindLimits { max_age, ..KindLimits::default() });
            options.tiers = vec![disk(dir.path(), &options.clock)];
        })
    };
    let before = lab(None);
    ask(&before.words(), "x", 10).await;
    before.larder.close().await;
    let after = lab(Some(hour));
    after.clock.advance(hour / 2);
    assert_eq!(ask(&after.words(), "x", 10).await.origin, DISK);
    after.clock.advance(hour / 2);
    assert_eq!(ask(&after.words(), "x", 10).await.origin, Origin::Computed);
}

#[tokio::test]
async fn what_is_too_large_for_memory_is_returned_and_told_not_to_be_kept() {
    let lab = Lab::new(10_000, |_| {});
    let refused = NotKept::NoRoom(memory::Refusal::TooLarge);
    assert_eq!(ask(&lab.words(), "huge", 20_000).await.kept, Kept::No(refused));
}

#[tokio::test]
async fn a_kind_says_what_its_values_take() {
    let lab = Lab::new(100_000, |_| {});
    let heavy = KindOptions { weigh: Some(|_: &String| 9_000), ..KindOptions::default() };
    let heavy = lab.kind("lab", "heavy", heavy);
    for n in 0..50 {
        ask(&heavy, &n.to_string(), 10).await;
    }
    let usage = lab.larder.memory_usage().unwrap();
    assert!((9..=11).contains(&usage.entries), "{usage:?}");
}

#[tokio::test]
async fn what_nobody_asks_for_leaves_memory_and_what_is_asked_for_stays() {
    let lab = Lab::new(1 << 20, |_| {});
    let idle = KindOptions { idle_after: Some(Duration::from_secs(10)), ..KindOptions::default() };
    let words = lab.kind("lab", "idle", idle);
    ask(&words, "asked", 1).await;
    ask(&words, "idle", 1).await;
    for _ in 0..3 {
        lab.clock.advance(Duration::from_secs(6));
        assert_eq!(ask(&words, "asked", 1).await.origin, MEMORY);
    }
    assert_eq!(ask(&words, "idle", 1).await.origin, Origin::Computed);
    assert_eq!(lab.tier(Place::Memory).evictions, [(EvictionCause::Idle, 1)].into());
}

#[tokio::test]
async fn warming_takes_the_highest_priorities_first_and_stops_when_memory_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let node = |memory_bytes| {
        Lab::new(memory_bytes, |options| options.tiers = vec![disk(dir.path(), &options.clock)])
    };
    let before = node(1 << 20);
    for n in 0..100 {
        ask(&before.words(), &n.to_string(), 1_000).await;
    }
    before.larder.close().await;

    let lab = node(50_000);
    let words = lab.words();
    let warmed = words.warm((0..100).map(|n| (words.key(&n.to_string()).unwrap(), n))).await;
    assert_eq!(warmed.promoted + warmed.left, 100);
    assert!((20..50).contains(&warmed.promoted), "{warmed:?}");
    for n in 0..100 {
        // Once it is full, warming tells what is there and brings nothing.
        let again = words.warm([(words.key(&n.to_string()).unwrap(), 0)]).await;
        assert_eq!(again.present, u64::from(n >= 100 - warmed.promoted), "{n}");
    }
}

#[tokio::test]
async fn more_soft_invalidations_than_are_remembered_are_hard_ones() {
    let lab = Lab::new(1 << 20, |_| {});
    let words = lab.words();
    for n in 0..300 {
        ask(&words, &n.to_string(), 1).await;
        lab.larder.invalidate_softly(&Selector::key(&words.key(&n.to_string()).unwrap())).await;
    }
    let mut seen = (0, 0);
    for n in 0..300 {
        let answer = ask(&words, &n.to_string(), 1).await;
        match (answer.origin, answer.freshness) {
            (MEMORY, Freshness::Stale) => seen.0 += 1,
            (Origin::Computed, _) => seen.1 += 1,
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(seen, (256, 44));
}
