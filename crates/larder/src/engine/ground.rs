//! Grounds: answering what is asked without asking the queries below it, where nothing that any of them
//! observed has changed.
//!
//! The answer of a query is kept with all that lies outside and that it rests on, through others too
//! ([`Ground`]). If all of that is as it was, so is the answer: what is below was verified or computed from just that
//! before. It costs one look-up and looking at the outside, however many queries there are between. If anything
//! differs, or can't be told, the traces are verified as if there were no ground.
//!
//! What a ground does not tell is which queries are below. So it is not used if anything at all was invalidated since
//! it was laid, or if a kind of query that was below is not registered just so any more.
//! Queries that are asked by others are verified by their traces alone (`verify`), unless their type says that grounds
//! are worth it for them too ([`Query::GROUNDED`]).

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;

use super::flight::Seat;
use super::keep::{Began, FarBegan};
use super::lookup::InMemory;
use super::query::{Query, Registered};
use super::session::{Asked, Need, Session, Settled};
use super::verify::Verified;
use super::{Freshness, Kind};
use crate::key::{Digest, Key, KindName};
use crate::query::{Fingerprint, Ground, Observation, Question, Source, Trace, Why};
use crate::sync::AtomicU64;
use crate::tier::Epoch;

/// How many queries have to be below for a ground to be worth it.
const MIN_QUERIES: usize = 16;
/// And how many may be met in a session while grounds are laid: whoever asks for much from outside, each of it built
/// on the same, does not walk over that again and again.
const MAX_QUERIES: usize = 1 << 18;
/// On how many sources an answer with a ground may rest.
const MAX_SOURCES: usize = 1 << 16;

/// How many invalidations there were in this process.
#[derive(Debug, Default)]
pub(super) struct Generation(AtomicU64);

impl Generation {
    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Forgets something. It counts when that has ended: whoever began before may have met some of what was being
    /// forgotten, and what is laid by that one holds no longer.
    pub(super) fn forgetting<T>(&self, forget: impl FnOnce() -> T) -> T {
        let forgotten = forget();
        self.0.fetch_add(1, Ordering::AcqRel);
        forgotten
    }
}

/// What had been invalidated when a session began to look.
#[derive(Debug)]
pub(super) struct Since {
    generation: u64,
    /// Of each tier; `None` if one did not tell.
    epochs: Option<Vec<Epoch>>,
}

/// For which queries a session has laid a ground, and how many others it met for that.
#[derive(Debug, Default)]
pub(super) struct Laying {
    asked: HashSet<Key>,
    met: usize,
}

/// What a query that was settled rests on.
pub(super) struct RestsOn {
    pub(super) value: Digest,
    pub(super) why: Arc<Why>,
    pub(super) observations: Arc<[Observation]>,
}

impl Session {
    /// The kept answer of a query, if its ground is unchanged.
    pub(super) async fn on_ground<Q: Query>(
        &self,
        asked: &Asked<Q>,
        need: Need,
    ) -> Option<Settled<Q::Output>> {
        if Q::EXPIRY.is_some() {
            return None;
        }
        let (grounds, traces) = (&self.registry().grounds, &asked.kind.traces);
        let watch = traces.watch();
        let key = key_of(grounds, &asked.key);
        // At once: if something is invalidated in between, the ground is from before.
        let (since, kept) = tokio::join!(self.since(), grounds.peek(&key));
        let (entry, place) = kept?;
        let Ground { trace, kinds, epochs, generation } = &entry.value;
        let told = since.epochs.as_ref()?.iter().map(|epoch| epoch.0);
        let holds = grounds.freshness(&key, &entry) == Freshness::Fresh
            && *generation == self.larder().shared.generation.now()
            && told.eq(epochs.iter().copied())
            && kinds.iter().all(|kind| self.registry().verifiable(kind).is_some());
        if !holds {
            return None;
        }
        if !self.is_unchanged(&trace.observations).await {
            return None;
        }
        let (why, observations) = (Arc::new(Why::Unchanged), Arc::clone(&trace.observations));
        let verified = Verified { value: trace.value, why, observations, freshness: Freshness::Fresh };
        let settled = match need {
            Need::Digest => verified.without_value(),
            Need::Value | Need::Asked => self.with_value(asked, verified).await.ok()?,
        };
        let cost = settled.answer.as_ref().map(|answer| answer.entry.record.cost).unwrap_or_default();
        traces.series.hit(place, &asked.key, cost, watch.took(traces));
        Some(settled)
    }

    /// Whether all that a ground is made of is as it was.
    async fn is_unchanged(&self, observations: &Arc<[Observation]>) -> bool {
        if self.view().are_right(observations).await {
            return true;
        }
        // Globs come first: what they have looked at need not be looked at again.
        let is_glob = |seen: &Observation| matches!(seen.source, Source::Glob(_));
        let (globs, rest) = observations.split_at(observations.partition_point(is_glob));
        for seen in globs {
            if !self.view().fingerprint(&seen.source).await.is_ok_and(|now| now == seen.fingerprint) {
                return false;
            }
        }
        if self.view().are_right_at_first(observations, globs.len()).await {
            return true;
        }
        let sources: Vec<&Source> = rest.iter().map(|seen| &seen.source).collect();
        for (seen, looked) in rest.iter().zip(self.view().look_ahead(&sources).await) {
            let now = match looked {
                Some(now) => Ok(now),
                None => self.view().fingerprint(&seen.source).await,
            };
            if !now.is_ok_and(|now| now == seen.fingerprint) {
                return false;
            }
        }
        self.view().note_right(observations).await;
        true
    }

    /// Keeps what an answer that was verified or computed rests on.
    pub(super) async fn lay_ground<Q: Query>(&self, asked: &Asked<Q>, settled: &Settled<Q::Output>) {
        let larder = self.larder();
        let (Ok(value), true) = (&settled.holds, larder.mode().writes()) else { return };
        if *settled.why == Why::Unchanged || Q::EXPIRY.is_some() {
            return;
        }
        let since = self.since().await;
        let Some(epochs) = &since.epochs else { return };
        let Some((observations, kinds)) = self.outside_once(&asked.key, &settled.observations) else {
            return;
        };
        let ground = Ground {
            trace: Trace { observations: observations.into(), value: *value, at: larder.clock().wall() },
            kinds,
            epochs: epochs.iter().map(|epoch| epoch.0).collect(),
            generation: since.generation,
        };
        let grounds = &self.registry().grounds;
        let key = key_of(grounds, &asked.key);
        let began = Began {
            at: larder.clock().now(),
            epochs: epochs.iter().copied().map(Some).collect(),
            far: FarBegan::Apart,
            lease: None,
        };
        let cost = settled.answer.as_ref().map(|answer| answer.entry.record.cost).unwrap_or_default();
        // Whoever lays the same ground just now does as well.
        if let Seat::Lead(lead) = larder.shared.flights.board(&key) {
            grounds.keep(&key, lead.flight(), ground.into(), cost, &began).await;
        }
    }

    /// What [`outside_of`](Self::outside_of) tells, once a session for each key: it stays the same.
    fn outside_once(
        &self,
        key: &Key,
        observations: &Arc<[Observation]>,
    ) -> Option<(Vec<Observation>, Vec<KindName>)> {
        let mut laying = self.laying().lock();
        if laying.met >= MAX_QUERIES || !laying.asked.insert(key.clone()) {
            return None;
        }
        self.outside_of(observations, &mut laying.met)
    }

    /// All that lies outside and that these observations rest on, in an order in which it is looked at quickly, and
    /// the kinds of the queries between. `None` if there are too few or too many, or if not all is settled.
    fn outside_of(
        &self,
        observations: &Arc<[Observation]>,
        met_so_far: &mut usize,
    ) -> Option<(Vec<Observation>, Vec<KindName>)> {
        // Most answers that rest on no query are asked for again and again.
        if !observations.iter().any(|seen| matches!(seen.source, Source::Query(_))) {
            return None;
        }
        let mut outside: HashMap<Source, Fingerprint, RandomState> = HashMap::default();
        let (mut met, mut kinds) = (HashSet::new(), BTreeSet::new());
        let mut open = vec![Arc::clone(observations)];
        while let Some(observations) = open.pop() {
            for Observation { source, fingerprint, .. } in &*observations {
                let Source::Query(question) = source else {
                    match outside.entry(source.clone()) {
                        Slot::Vacant(slot) => _ = slot.insert(*fingerprint),
                        Slot::Occupied(slot) if slot.get() == fingerprint => {}
                        Slot::Occupied(_) => return None,
                    }
                    continue;
                };
                if !met.insert(question.clone()) {
                    continue;
                }
                *met_so_far += 1;
                if *met_so_far > MAX_QUERIES || outside.len() > MAX_SOURCES {
                    return None;
                }
                let kind = self.registry().verifiable(question.kind())?;
                // An answer that grows old does not hold by what lies outside alone.
                let below = kind.rests_on(self, question).filter(|_| !kind.expires())?;
                if *fingerprint != Fingerprint::Is(below.value) {
                    return None;
                }
                kinds.insert(question.kind().clone());
                if *below.why == Why::Unchanged {
                    // It was answered on a ground of its own: what it rests on is outside, and the kinds are known.
                    kinds.extend(self.kinds_below(question)?);
                }
                open.push(below.observations);
            }
        }
        if met.len() < MIN_QUERIES {
            return None;
        }
        let observations = outside.into_iter();
        let observations =
            observations.map(|(source, fingerprint)| Observation { source, fingerprint, together: false });
        let mut observations: Vec<Observation> = observations.collect();
        // Globs first, as they look at many files; then what lies in one directory next to each other.
        observations.sort_by_cached_key(|seen| match &seen.source {
            Source::Glob(patterns) => (0, patterns.join("\n").into_bytes()),
            Source::File(path) | Source::Listing(path) => (1, path.as_bytes().to_vec()),
            other => (2, other.to_string().into_bytes()),
        });
        Some((observations, kinds.into_iter().collect()))
    }

    fn kinds_below(&self, question: &Question) -> Option<Vec<KindName>> {
        let grounds = &self.registry().grounds;
        match grounds.in_memory(&key_of(grounds, &question.key(&self.registry().scope))) {
            InMemory::Fresh(entry) => Some(entry.value.kinds.clone()),
            _ => None,
        }
    }

    /// What had been invalidated when the session was first asked: whatever it settled is no older.
    pub(super) async fn since(&self) -> &Since {
        let note = || async {
            let shared = &self.larder().shared;
            let generation = shared.generation.now();
            let mut epochs = Some(Vec::with_capacity(shared.tiers.len()));
            for guarded in &shared.tiers {
                match (guarded.epoch().await, &mut epochs) {
                    (Ok(epoch), Some(epochs)) => epochs.push(epoch),
                    _ => epochs = None,
                }
            }
            Since { generation, epochs }
        };
        self.noted_since().get_or_init(note).await
    }
}

impl<Q: Query> Registered<Q> {
    pub(super) fn settled_on(&self, session: &Session, question: &Question) -> Option<RestsOn> {
        let settled = session.settled::<Q>(&question.key(&session.registry().scope))?.ok()?;
        let Settled { holds, why, observations, .. } = settled;
        Some(RestsOn { value: holds.ok()?, why, observations })
    }
}

/// What the ground of the query with this key is filed under.
fn key_of(grounds: &Kind<Ground>, key: &Key) -> Key {
    grounds.key_of_digest(Digest::of(key.to_string().as_bytes()))
}

/// Every schedule of a few threads, by the model checker: `cargo test -p larder --features shuttle scheduled`.
#[cfg(all(test, feature = "shuttle"))]
mod scheduled {
    use shuttle::thread;

    use super::*;
    use crate::sync::Mutex;

    /// An answer that is kept by a trace and on a ground, and what it is computed from, which no trace sees.
    #[derive(Default)]
    struct World {
        truth: AtomicU64,
        invalidated: AtomicU64,
        generation: Generation,
        trace: Mutex<Option<u64>>,
        ground: Mutex<Option<(u64, u64)>>,
    }

    impl World {
        /// Asks in a session of its own, as the engine does.
        fn ask(&self) -> u64 {
            let since = self.generation.now();
            let ground = *self.ground.lock();
            if let Some((answer, _)) = ground.filter(|(_, laid)| *laid == self.generation.now()) {
                return answer;
            }
            let kept = *self.trace.lock();
            let answer = kept.unwrap_or_else(|| self.truth.load(Ordering::SeqCst));
            *self.ground.lock() = Some((answer, since));
            answer
        }

        fn change(&self) {
            let truth = self.truth.fetch_add(1, Ordering::SeqCst) + 1;
            self.generation.forgetting(|| *self.trace.lock() = None);
            self.invalidated.fetch_max(truth, Ordering::SeqCst);
        }
    }

    fn check() {
        let world = Arc::new(World::default());
        *world.trace.lock() = Some(0);
        let threads = (0..3).map(|n| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                for _ in 0..2 {
                    if n == 0 {
                        world.change();
                    }
                    let invalidated = world.invalidated.load(Ordering::SeqCst);
                    let answer = world.ask();
                    assert!(answer >= invalidated, "{answer} from before {invalidated}");
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
    }

    #[test]
    fn scheduled_no_ground_that_was_laid_while_something_was_forgotten_is_used_after_it() {
        shuttle::check_random(check, 20_000);
        shuttle::check_pct(check, 20_000, 3);
    }
}
