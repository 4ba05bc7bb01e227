//! The engine: asks, computes, keeps and forgets. One file for each verb.
//!
//! The way of a question: [`Kind::get_or_compute`] looks in memory, without waiting; then boards the one flight
//! that this process has for the key (`flight`); whoever leads it looks in each tier, nearest first (`lookup`),
//! computes if all miss (`execute`), keeps the answer (`keep`) and hands it to all who wait. A computation that
//! waits for itself, perhaps through others, gets an error and not a deadlock (`waits`).
//!
//! A [`Query`] is a computation that says what it observes. It is asked in a [`Session`], one view of the outside
//! (`session`, `observe`, `ahead`), where a kept answer is given if all that it was built on is unchanged (`verify`), and is
//! else computed through a [`Context`] that writes down what it observes (`context`, `derive`).
//!
//! Invariants:
//! - no value computed from before an invalidation is kept after it (`invalidate` tells how);
//! - only the computation can fail the caller; a tier that fails is a miss;
//! - whoever waits is woken, also when the computation is cancelled or panics;
//! - with everything switched off the answers are the same, only slower.
//!
//! Not here: which entry leaves first (`policy`), where bytes lie (`tier`), what a computation looks at (`source`).

mod afar;
mod again;
mod ahead;
mod answer;
mod bring;
mod carry;
mod contents;
mod context;
mod dependents;
mod derive;
mod execute;
mod explain;
mod flight;
mod follow;
mod glob;
mod ground;
mod invalidate;
mod keep;
mod kind;
mod look;
mod lookup;
mod observe;
mod open;
mod outside;
mod owing;
mod put;
mod query;
mod recall;
mod reclaim;
mod refresh;
mod send;
mod session;
mod slots;
mod tables;
mod turn;
mod verify;
mod waits;
mod warm;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::OnceCell;

pub use afar::Afar;
pub use answer::{Answer, AskError, Computed, Entry, Freshness, Kept, NotKept, Origin};
pub use carry::Watch;
pub use context::Context;
pub use dependents::Dependents;
pub use invalidate::{Hook, HookError, InvalidationReport};
pub use kind::{Exclusion, Kind, KindOptions, Reach, Validity, Value, Write};
pub use open::{Opened, Process};
pub use outside::{LookError, Outside, Tool};
pub use query::{Expiry, Queries, Query, QueryError, RegisterError};
pub use session::{Derived, Session};
pub use warm::Warmed;

use crate::clock::Clock;
use crate::config::{Mode, processors};
use crate::entry::Record;
use crate::entry::compress::Level;
use crate::key::{Key, KeyError, KindName, Scope};
use crate::stats::{EvictionCause, Place, Stats, TierUsage};
use crate::tier::breaker::BreakerOptions;
use crate::tier::memory::{Cause, Config, Departed, Group, Limits, Memory};
use crate::tier::stack::{FarOptions, GuardOptions, Guarded};
use crate::tier::{Brief, Epoch, Tier, TierError};

/// What is limited for one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindLimits {
    /// How many bytes of memory its answers may take.
    pub memory_bytes: Option<u64>,
    /// How long an answer is kept after it was computed.
    pub max_age: Option<Duration>,
}

/// What an engine is made of.
#[derive(Debug)]
pub struct LarderOptions {
    /// The clocks.
    pub clock: Clock,
    /// Whether kept answers are given and new ones kept.
    pub mode: Mode,
    /// The memory tier; `None` switches it off.
    pub memory: Option<Config>,
    /// What is limited for a kind, by its name without its version.
    pub kinds: BTreeMap<String, KindLimits>,
    /// How many bytes of memory the answers of a scope may take.
    pub scopes: BTreeMap<String, u64>,
    /// How hard values are compressed on their way into the tiers.
    pub level: Level,
    /// The tiers below memory on this machine, nearest first.
    pub tiers: Vec<Arc<dyn Tier>>,
    /// The tier that a team shares, and how it is used.
    pub shared: Option<(Arc<dyn Tier>, FarOptions)>,
    /// Where everything is counted.
    pub stats: Stats,
    /// Who computes here, in words for people; stands in each record.
    pub producer: Arc<str>,
    /// Where brief waits for the file system are done.
    pub brief: Brief,
    /// How many bytes may wait to be written; what comes on top is dropped and counted.
    pub queue_bytes: u64,
    /// How long an operation of a tier may take before it counts as failed. For a shared one that holds where nobody
    /// waits; callers have its patience.
    pub tier_timeout: Duration,
    /// When a failing tier is left alone.
    pub breaker: BreakerOptions,
}

impl LarderOptions {
    /// 64 MiB of memory, no tiers, everything else at its default.
    pub fn new(clock: Clock, stats: Stats) -> Self {
        Self::with_memory(clock, stats, Some(Config::new(Limits::bytes(64 << 20), processors(), 0)))
    }

    /// The same with this memory tier.
    fn with_memory(clock: Clock, stats: Stats, memory: Option<Config>) -> Self {
        Self {
            clock,
            mode: Mode::ReadWrite,
            memory,
            kinds: BTreeMap::new(),
            scopes: BTreeMap::new(),
            level: Level::FAST,
            tiers: Vec::new(),
            shared: None,
            stats,
            producer: "".into(),
            brief: Brief::Aside,
            queue_bytes: 64 << 20,
            tier_timeout: Duration::from_secs(10),
            breaker: BreakerOptions::default(),
        }
    }
}

/// The engine. A clone is another handle to the same one.
///
/// ```
/// use larder::clock::Clock;
/// use larder::engine::{Kind, KindOptions, Larder, LarderOptions};
/// use larder::key::Scope;
/// use larder::stats::{Stats, StatsOptions};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let clock = Clock::system();
/// let stats = Stats::new(StatsOptions::default(), clock.clone());
/// let larder = Larder::new(LarderOptions::new(clock, stats));
/// let squares: Kind<u64> = larder.kind(&Scope::new("doc")?, "square", 1, KindOptions::default())?;
/// let key = squares.key("12")?;
/// for _ in 0..2 {
///     let answer = squares.get_or_compute(&key, || async { Ok::<_, std::io::Error>(144.into()) }).await?;
///     assert_eq!(*answer, 144);
/// }
/// larder.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Larder {
    shared: Arc<Shared>,
}

/// What memory holds: an entry, or a kept error, of a type that its kind knows.
trait Holdable: Any + Send + Sync {
    /// The entry's record; a kept error has none.
    fn record(&self) -> Option<&Record>;
}

type Held = Arc<dyn Holdable>;

/// Returns what is held as what its kind takes it for, or gives it back.
fn downcast<T: Any + Send + Sync>(held: Held) -> Result<Arc<T>, Held> {
    if (&*held as &dyn Any).is::<T>() {
        let any: Arc<dyn Any + Send + Sync> = held;
        Ok(any.downcast().expect("the type was just looked at"))
    } else {
        Err(held)
    }
}

/// The memory tier's numbers for a scope and a kind.
#[derive(Debug, Clone, Copy)]
struct Groups {
    scope: u32,
    kind: u32,
}

struct Shared {
    clock: Clock,
    mode: Mode,
    memory: Option<Memory<Key, Held>>,
    tiers: Vec<Guarded>,
    far: Option<Guarded>,
    stats: Stats,
    producer: Arc<str>,
    brief: Brief,
    flights: Arc<flight::Flights>,
    waits: Arc<waits::Waits>,
    queue: Arc<keep::Queue>,
    /// What waits to be sent to the far tier.
    sending: keep::Queue,
    /// Steps of sending, so that it can be seen whether anything moves.
    moved: AtomicU64,
    /// How many answers wait to be sent or are on their way.
    to_send: AtomicU64,
    /// How many answers were not sent that were to be.
    unsent: AtomicU64,
    /// Turns that are held until what was computed has arrived in the far tier.
    held_turns: send::HeldTurns,
    /// What the far tier is known to have.
    taken: afar::Taken,
    /// Whether the far tier's log was followed once.
    followed_afar: OnceCell<()>,
    /// The turn to follow it.
    following: tokio::sync::Mutex<()>,
    /// Whether it was noted that the far tier is left alone.
    recalled: Mutex<bool>,
    /// Up to where memory has followed the far tier's log.
    seen_afar: Mutex<Option<Epoch>>,
    soft: invalidate::SoftMarks,
    hooks: Mutex<Vec<Arc<dyn Hook>>>,
    followed: OnceCell<invalidate::Followed>,
    refreshing: Mutex<HashSet<Key>>,
    sessions: Mutex<Vec<Weak<session::State>>>,
    tables: tables::Tables,
    /// How many invalidations there were, so that what was known before the last can be told apart.
    generation: ground::Generation,
    groups: Mutex<GroupNumbers>,
    kinds: BTreeMap<String, KindLimits>,
    /// The kinds whose answers a far tier may have.
    team_kinds: RwLock<BTreeSet<KindName>>,
    scopes: BTreeMap<String, u64>,
    level: Level,
}

/// Numbers by which the memory tier knows scopes and kinds.
#[derive(Debug, Default)]
struct GroupNumbers {
    scopes: HashMap<String, u32>,
    kinds: HashMap<String, u32>,
}

impl Larder {
    /// Makes an engine. Starts nothing: work in the background begins with the first answer that needs it, on
    /// the runtime of whoever asked.
    pub fn new(options: LarderOptions) -> Self {
        let clock = options.clock;
        let (breaker, limit) = (options.breaker, options.tier_timeout);
        let guarded = |tier, far| Guarded::new(tier, GuardOptions { breaker, limit, far }, clock.clone());
        let far = options.shared.map(|(tier, far)| guarded(tier, Some(far)));
        let larder = Self {
            shared: Arc::new(Shared {
                mode: options.mode,
                memory: options.memory.map(Memory::new),
                tiers: options.tiers.into_iter().map(|tier| guarded(tier, None)).collect(),
                far,
                stats: options.stats,
                producer: options.producer,
                brief: options.brief,
                flights: Arc::default(),
                waits: Arc::default(),
                queue: Arc::new(keep::Queue::new(options.queue_bytes)),
                sending: keep::Queue::new(options.queue_bytes),
                moved: AtomicU64::new(0),
                to_send: AtomicU64::new(0),
                unsent: AtomicU64::new(0),
                held_turns: send::HeldTurns::default(),
                taken: afar::Taken::default(),
                followed_afar: OnceCell::new(),
                following: tokio::sync::Mutex::default(),
                recalled: Mutex::new(false),
                seen_afar: Mutex::new(None),
                soft: invalidate::SoftMarks::default(),
                hooks: Mutex::default(),
                followed: OnceCell::new(),
                refreshing: Mutex::default(),
                sessions: Mutex::default(),
                tables: tables::Tables::default(),
                generation: ground::Generation::default(),
                groups: Mutex::default(),
                kinds: options.kinds,
                team_kinds: RwLock::default(),
                scopes: options.scopes,
                level: options.level,
                clock,
            }),
        };
        let weak = Arc::downgrade(&larder.shared);
        larder.stats().probe(Place::Memory, move || {
            let usage = Self { shared: weak.upgrade()? }.memory_usage()?;
            let (bytes, entries) = (usage.bytes, usage.entries);
            Some(TierUsage { bytes, entries, budget_bytes: Some(usage.budget), series: Vec::new() })
        });
        larder
    }

    /// The handle for answers of type `T` of a kind in a scope.
    ///
    /// Two types under one name and version do not mix: what does not read back as `T` is a miss.
    pub fn kind<T: Value>(
        &self,
        scope: &Scope,
        name: &str,
        version: u32,
        options: KindOptions<T>,
    ) -> Result<Kind<T>, KeyError> {
        Ok(Kind::new(self, scope, KindName::new(name, version)?, options))
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// The clocks that the engine goes by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Where brief waits for the file system are done.
    pub fn brief(&self) -> Brief {
        self.shared.brief
    }

    /// Counts an entry that left memory other than by an invalidation.
    fn count_departed(&self, departed: &Departed<Key, Held>) {
        let cause = match departed.cause {
            Cause::Capacity => EvictionCause::Capacity,
            Cause::Quota => EvictionCause::Quota,
            Cause::Expired => EvictionCause::Expired,
            Cause::Idle => EvictionCause::Idle,
            Cause::Replaced => EvictionCause::Replaced,
            Cause::Resized => EvictionCause::Resized,
            Cause::Removed => return,
        };
        tracing::trace!(key = %departed.key, %cause, "evicted");
        let series = self.shared.stats.series(departed.key.scope(), departed.key.kind());
        series.evicted(Place::Memory, cause, departed.weight);
    }

    /// Whether kept answers are given and new ones kept.
    pub fn mode(&self) -> Mode {
        self.shared.mode
    }

    /// The memory tier, if it is switched on: for its use and its size, not for its values.
    pub fn memory_usage(&self) -> Option<MemoryUsage> {
        let memory = self.shared.memory.as_ref()?;
        let budget = memory.limits().bytes;
        Some(MemoryUsage { bytes: memory.bytes(), entries: memory.len() as u64, budget })
    }

    /// Gives the memory tier another budget. A smaller one evicts, in batches, before this returns.
    pub fn resize_memory(&self, budget_bytes: u64) {
        if let Some(memory) = &self.shared.memory {
            let limits = Limits { bytes: budget_bytes, ..memory.limits() };
            memory.resize(limits, |departed| self.count_departed(&departed));
        }
    }

    /// The memory tier's numbers for a scope and a kind. A name that is new gets the next number, and the quota
    /// that the options have for it.
    fn groups(&self, scope: &Scope, kind: &KindName) -> Groups {
        let mut groups = self.shared.groups.lock();
        let GroupNumbers { scopes, kinds } = &mut *groups;
        let number =
            |numbers: &mut HashMap<String, u32>, name: &str, quota: Option<u64>, group: fn(u32) -> Group| {
                if let Some(&number) = numbers.get(name) {
                    return number;
                }
                let number = numbers.len() as u32;
                numbers.insert(name.to_owned(), number);
                if let (Some(quota), Some(memory)) = (quota, &self.shared.memory) {
                    memory.set_quota(group(number), Some(quota), |departed| self.count_departed(&departed));
                }
                number
            };
        let scope_quota = self.shared.scopes.get(scope.as_str()).copied();
        let kind_quota = self.limits_of(kind).memory_bytes;
        Groups {
            scope: number(scopes, scope.as_str(), scope_quota, Group::Scope),
            kind: number(kinds, kind.name(), kind_quota, Group::Kind),
        }
    }

    /// What is limited for a kind.
    fn limits_of(&self, kind: &KindName) -> KindLimits {
        self.shared.kinds.get(kind.name()).copied().unwrap_or_default()
    }

    /// Waits until everything that was to be kept has reached the tiers or was given up.
    pub async fn close(&self) {
        self.save_stat_tables().await;
        self.written().await;
        self.close_far().await;
        for guarded in &self.shared.tiers {
            guarded.settle_at_last().await;
            if let Err(error) = guarded.tier().flush().await {
                tracing::warn!(
                    tier = guarded.name(),
                    error = &error as &dyn std::error::Error,
                    "flush failed"
                );
            }
        }
    }

    /// Whether a shared tier is in use.
    pub(crate) fn shares(&self) -> bool {
        self.shared.followed_afar.initialized()
    }

    /// What came of the shared tier so far; `None` where there is none.
    pub fn sharing(&self) -> Option<Sharing> {
        let far = self.shared.far.as_ref()?;
        let unsent = self.shared.unsent.load(std::sync::atomic::Ordering::Relaxed);
        let left_alone = far.is_left_alone();
        Some(Sharing { tier: far.name(), left_alone, trouble: far.trouble(), unsent })
    }

    /// Asks each tier whether it answers.
    pub async fn ping(&self) -> Vec<(&'static str, Result<(), TierError>)> {
        let mut answers = Vec::with_capacity(self.shared.tiers.len());
        for guarded in self.shared.tiers.iter().chain(&self.shared.far) {
            answers.push((guarded.name(), guarded.tier().ping().await));
        }
        answers
    }
}

/// What came of the shared tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// What people call the tier.
    pub tier: &'static str,
    /// Whether it is left alone now.
    pub left_alone: bool,
    /// Why it was left alone, if it ever was.
    pub trouble: Option<String>,
    /// How many answers were to be sent and were not.
    pub unsent: u64,
}

/// How full the memory tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Bytes in use.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes that may be in use.
    pub budget: u64,
}

impl fmt::Debug for Larder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Larder").field("mode", &self.shared.mode).field("tiers", &self.shared.tiers).finish()
    }
}
