//! The memory tier at its boundary, beside a model that believes only what it is told.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Instant;
use crate::policy::{PolicyName, Random};

fn memory<V: Clone>(policy: PolicyName, shards: usize, limits: Limits) -> Memory<u64, V> {
    Memory::new(Config { limits, policy, shards: NonZero::new(shards).unwrap(), seed: 7 })
}

fn at(millis: u64) -> Instant {
    Instant::at(Duration::from_millis(millis))
}

fn weighing(weight: u64) -> Terms {
    Terms { weight, ..Terms::default() }
}

fn never() -> Instant {
    panic!("nothing that expires is involved, so the clock should not be read")
}

#[derive(Debug, Clone)]
enum Step {
    Put { key: u64, terms: Terms },
    Get(u64),
    Remove(u64),
    Sweep(u64),
    Purge(usize),
    Resize(Limits),
    Quota(Group, Option<u64>),
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let millis = || prop::option::weighted(0.2, (1..40u64).prop_map(Duration::from_millis));
    let weight = prop_oneof![8 => 0..30u64, 1 => 30..400u64];
    let terms = (weight, 1..1_000_000u64, 0..3u32, 0..2u32, millis(), millis()).prop_map(
        |(weight, cost, scope, kind, expires_after, idle_after)| Terms {
            weight,
            cost: Duration::from_nanos(cost),
            scope,
            kind,
            expires_after,
            idle_after,
        },
    );
    let group = prop_oneof![(0..3u32).prop_map(Group::Scope), (0..2u32).prop_map(Group::Kind)];
    let limits =
        (0..800u64, prop::option::of(0..60u64)).prop_map(|(bytes, entries)| Limits { bytes, entries });
    let step = prop_oneof![
        20 => (0..80u64, terms).prop_map(|(key, terms)| Step::Put { key, terms }),
        20 => (0..80u64).prop_map(Step::Get),
        2 => (0..80u64).prop_map(Step::Remove),
        1 => (2..9u64).prop_map(Step::Sweep),
        1 => (0..100usize).prop_map(Step::Purge),
        1 => limits.prop_map(Step::Resize),
        1 => (group, prop::option::of(0..400u64)).prop_map(|(group, bytes)| Step::Quota(group, bytes)),
        3 => (1..20u64).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 0..300)
}

struct Known {
    value: u64,
    terms: Terms,
    stored: u64,
    used: u64,
}

impl Known {
    fn weight(&self) -> u64 {
        self.terms.weight.max(1)
    }
    fn lapsed(&self, now: u64) -> Option<Cause> {
        let over = |since: u64, limit: Option<Duration>| {
            limit.is_some_and(|limit| now - since >= limit.as_millis() as u64)
        };
        if over(self.stored, self.terms.expires_after) {
            Some(Cause::Expired)
        } else {
            over(self.used, self.terms.idle_after).then_some(Cause::Idle)
        }
    }
}

/// Knows who is there by what it was told, and checks each answer against that.
struct Model {
    memory: Memory<u64, u64>,
    known: HashMap<u64, Known>,
    quotas: HashMap<Group, u64>,
    limits: Limits,
    now: u64,
    next_value: u64,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.known.values().map(Known::weight).sum()
    }

    fn take(&mut self, departed: &Departed<u64, u64>, causes: &[Cause]) {
        let known = self.known.remove(&departed.key).expect("who left was there");
        assert_eq!(
            (departed.value, departed.weight, departed.scope, departed.kind),
            (known.value, known.weight(), known.terms.scope, known.terms.kind)
        );
        assert!(causes.contains(&departed.cause), "{departed:?}");
        if matches!(departed.cause, Cause::Expired | Cause::Idle) {
            assert_eq!(known.lapsed(self.now), Some(departed.cause));
        }
    }

    fn put(&mut self, key: u64, terms: Terms) {
        let before = (self.bytes(), self.known.len() as u64);
        let value = self.next_value;
        self.next_value += 1;
        let put = self.memory.put(key, value, terms, || at(self.now));
        let weight = terms.weight.max(1);
        for departed in put.gone.iter() {
            match departed.cause {
                Cause::Replaced => assert_eq!(departed.key, key),
                Cause::Quota => {
                    let scope =
                        departed.scope == terms.scope && self.quotas.contains_key(&Group::Scope(terms.scope));
                    let kind =
                        departed.kind == terms.kind && self.quotas.contains_key(&Group::Kind(terms.kind));
                    assert!(scope || kind, "{departed:?} left for {terms:?}");
                }
                Cause::Capacity => {
                    let shards = self.memory.cells.len() as u64;
                    let full = |used: u64, more: u64, pool: &Pool| {
                        used + more + 2 * shards * pool.chunk() > pool.limit()
                    };
                    assert!(
                        full(before.0, weight, &self.memory.bytes) || full(before.1, 1, &self.memory.entries)
                    );
                }
                _ => {}
            }
            self.take(departed, &[Cause::Replaced, Cause::Quota, Cause::Capacity]);
        }
        assert!(!self.known.contains_key(&key), "an older value has to leave");
        let fits = |quota: Option<&u64>| quota.is_none_or(|&quota| weight <= quota);
        match put.keeping {
            Keeping::Kept => {
                assert!(weight <= self.limits.heaviest());
                self.known.insert(key, Known { value, terms, stored: self.now, used: self.now });
            }
            Keeping::Refused(Refusal::TooLarge) => assert!(weight > self.limits.heaviest()),
            Keeping::Refused(Refusal::OverQuota) => assert!(
                !fits(self.quotas.get(&Group::Scope(terms.scope)))
                    || !fits(self.quotas.get(&Group::Kind(terms.kind)))
            ),
            Keeping::Refused(Refusal::Crowded) => {
                assert_eq!(self.limits.entries, Some(0), "only then nobody can make room for one");
            }
        }
    }

    fn get(&mut self, key: u64) {
        let lapsed = self.known.get(&key).and_then(|known| known.lapsed(self.now));
        match self.memory.get(&key, || at(self.now)) {
            Lookup::Hit(value) => {
                let known = self.known.get_mut(&key).expect("what is found was put");
                assert_eq!((value, lapsed), (known.value, None));
                known.used = self.now;
            }
            Lookup::Miss => assert!(!self.known.contains_key(&key)),
            Lookup::Lapsed(departed) => {
                assert_eq!((departed.key, lapsed), (key, Some(departed.cause)));
                self.take(&departed, &[Cause::Expired, Cause::Idle]);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let mut left = Vec::new();
        match *step {
            Step::Put { key, terms } => self.put(key, terms),
            Step::Get(key) => self.get(key),
            Step::Remove(key) => match self.memory.remove(&key) {
                Some(departed) => self.take(&departed, &[Cause::Removed]),
                None => assert!(!self.known.contains_key(&key)),
            },
            Step::Sweep(of) => {
                let judge = |seen: Seen<'_, u64, u64>| {
                    if seen.key.is_multiple_of(of) { Verdict::Drop } else { Verdict::Keep }
                };
                self.memory.sweep(judge, |departed| left.push(departed));
                left.iter().for_each(|departed| self.take(departed, &[Cause::Removed]));
                assert!(!self.known.keys().any(|key| key.is_multiple_of(of)));
            }
            Step::Purge(most) => {
                for departed in self.memory.purge(at(self.now), most) {
                    self.take(&departed, &[Cause::Expired, Cause::Idle]);
                }
            }
            Step::Resize(limits) => {
                self.limits = limits;
                self.memory.resize(limits, |departed| left.push(departed));
                left.iter().for_each(|departed| self.take(departed, &[Cause::Resized]));
            }
            Step::Quota(group, bytes) => {
                match bytes {
                    Some(bytes) => self.quotas.insert(group, bytes),
                    None => self.quotas.remove(&group),
                };
                self.memory.set_quota(group, bytes, |departed| left.push(departed));
                for departed in &left {
                    assert!([Group::Scope(departed.scope), Group::Kind(departed.kind)].contains(&group));
                    self.take(departed, &[Cause::Quota]);
                }
            }
            Step::Advance(millis) => self.now += millis,
        }
    }

    fn check(&self) {
        self.memory.audit();
        assert_eq!((self.memory.bytes(), self.memory.len()), (self.bytes(), self.known.len()));
        assert_eq!(self.memory.limits(), self.limits);
        assert!(self.bytes() <= self.limits.bytes);
        assert!(self.limits.entries.is_none_or(|most| self.known.len() as u64 <= most));
        for (&group, &quota) in &self.quotas {
            assert!(self.memory.usage(group).bytes <= quota, "{group:?}");
        }
    }
}

proptest! {
    #[test]
    fn answers_are_what_was_put_and_limits_and_quotas_hold_after_each_step(
        steps in steps(),
        policy in prop::sample::select(PolicyName::ALL.to_vec()),
        shards in prop::sample::select(vec![1, 2, 8]),
    ) {
        let limits = Limits { bytes: 500, entries: Some(40) };
        let mut model = Model {
            memory: memory(policy, shards, limits),
            known: HashMap::new(),
            quotas: HashMap::new(),
            limits,
            now: 1,
            next_value: 0,
        };
        for step in &steps {
            model.step(step);
            model.check();
        }
        model.now += 1000;
        for key in 0..80 {
            model.get(key);
        }
        model.check();
    }
}

/// A value that knows how many of its kind there are.
struct Counted(Arc<AtomicI64>);

impl Counted {
    fn new(live: &Arc<AtomicI64>) -> Arc<Self> {
        live.fetch_add(1, SeqCst);
        Arc::new(Self(Arc::clone(live)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Threads that do everything at once for a while.
fn crowd(policy: PolicyName, shards: usize) {
    let limits = Limits { bytes: 2_000, entries: Some(150) };
    let memory: Memory<u64, Arc<Counted>> = memory(policy, shards, limits);
    let live = Arc::new(AtomicI64::new(0));
    let done = AtomicBool::new(false);
    let act = |thread: u64| {
        let mut random = Random::new(thread);
        for n in 0..4_000u64 {
            let key = random.bits() % 300;
            let terms = Terms {
                weight: if random.bits().is_multiple_of(50) { 900 } else { random.bits() % 40 },
                cost: Duration::from_nanos(random.bits() % 1_000_000),
                scope: (key % 3) as u32,
                kind: (key % 5) as u32,
                expires_after: key.is_multiple_of(7).then_some(Duration::from_millis(5)),
                idle_after: None,
            };
            match random.bits() % 100 {
                0..50 => drop(memory.get(&key, || at(n))),
                50..96 => drop(memory.put(key, Counted::new(&live), terms, || at(n))),
                96 => drop(memory.remove(&key)),
                97 => drop(memory.purge(at(n), 20)),
                98 if thread == 0 => {
                    let bytes = 500 + random.bits() % 1_000;
                    memory.resize(Limits { bytes, entries: Some(bytes / 10) }, drop);
                    assert_eq!((memory.bytes.missing(), memory.entries.missing()), (0, 0));
                }
                _ => {
                    let group = Group::Scope((random.bits() % 3) as u32);
                    let bytes = Some(random.bits() % 1_500).filter(|bytes| *bytes > 300);
                    memory.set_quota(group, bytes, drop);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let actors: Vec<_> = (0..3).map(|thread| scope.spawn(move || act(thread))).collect();
        let (memory, done) = (&memory, &done);
        scope.spawn(move || {
            while !done.load(SeqCst) {
                let (bytes, entries) = memory.held();
                assert!(bytes <= limits.bytes && entries <= 150, "{bytes} bytes, {entries} entries");
                std::thread::yield_now();
            }
        });
        let outcomes: Vec<_> = actors.into_iter().map(|actor| actor.join()).collect();
        done.store(true, SeqCst);
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
    memory.audit();
    assert_eq!(live.load(SeqCst), memory.len() as i64, "each value is in the memory or dropped");
    memory.sweep(|_| Verdict::Drop, drop);
    assert_eq!((live.load(SeqCst), memory.bytes(), memory.len()), (0, 0, 0));
}

#[test]
fn threads_that_do_everything_at_once_leave_nothing_uncounted() {
    for policy in PolicyName::ALL {
        crowd(policy, 1);
        crowd(policy, 4);
    }
}

#[test]
fn no_clock_is_read_where_nothing_expires() {
    let memory = memory(PolicyName::Cost, 1, Limits::bytes(100));
    assert_eq!(memory.put(1, "one", weighing(1), never).keeping, Keeping::Kept);
    assert_eq!(memory.get(&1, never), Lookup::Hit("one"));
    assert_eq!(memory.get(&2, never), Lookup::Miss);
}

#[test]
fn a_value_of_half_the_budget_is_kept_and_takes_a_little_from_each_shard() {
    let memory = memory(PolicyName::Lru, 8, Limits::bytes(80_000));
    for key in 0..2_000 {
        assert_eq!(memory.put(key, key, weighing(40), never).keeping, Keeping::Kept);
    }
    let put = memory.put(1 << 40, 0, weighing(40_000), never);
    assert_eq!((put.keeping, put.gone.len() <= 1_001), (Keeping::Kept, true));
    let loads: Vec<u64> = memory.cells.iter().map(|cell| cell.lock.lock().load()).collect();
    assert!(loads.iter().all(|&load| load > 3_000), "{loads:?}");
    // Newcomers push out what was used longest ago, wherever it is, and not the large one for being there.
    for key in 2_000..2_900 {
        assert_eq!(memory.put(key, key, weighing(40), never).keeping, Keeping::Kept);
        assert_eq!(memory.get(&(1 << 40), never), Lookup::Hit(0));
    }
    let loads: Vec<u64> = memory.cells.iter().map(|cell| cell.lock.lock().load()).collect();
    assert!(loads.iter().all(|&load| load > 3_000), "{loads:?}");
    assert!(memory.bytes() > 79_000, "{}", memory.bytes());
    let put = memory.put(1 << 40, 0, weighing(40_001), never);
    assert_eq!(put.keeping, Keeping::Refused(Refusal::TooLarge));
    assert_eq!(memory.get(&(1 << 40), never), Lookup::Miss, "an older value is not what was put last");
}

#[test]
fn what_is_put_again_is_refused_where_limits_were_lowered_to_less_than_twice_of_it() {
    let memory = memory(PolicyName::Cost, 1, Limits::bytes(300));
    let terms = Terms { weight: 100, ..Terms::default() };
    assert_eq!(memory.put(1, 1, terms, never).keeping, Keeping::Kept);
    memory.resize(Limits::bytes(150), |_| panic!("it fits"));
    assert_eq!(memory.get(&1, never), Lookup::Hit(1));
    assert_eq!(memory.put(1, 2, terms, never).keeping, Keeping::Refused(Refusal::TooLarge));
    assert_eq!(memory.get(&1, never), Lookup::Miss);
    memory.audit();
}

#[test]
fn what_was_dear_to_compute_outlasts_what_was_cheap() {
    let memory = memory(PolicyName::Cost, 4, Limits::bytes(20_000));
    for key in 0..20_000u64 {
        let cost = if key % 10 == 0 { Duration::from_secs(10) } else { Duration::from_millis(1) };
        let terms = Terms { weight: 10, cost, ..Terms::default() };
        assert_eq!(memory.put(key, (), terms, never).keeping, Keeping::Kept);
    }
    let (mut dear, mut cheap) = (0, 0);
    memory.sweep(
        |seen| {
            *(if seen.key % 10 == 0 { &mut dear } else { &mut cheap }) += 1;
            Verdict::Keep
        },
        |_| panic!("nothing was to leave"),
    );
    assert!(dear > cheap, "of {} entries {dear} are dear, of what arrived a tenth", dear + cheap);
}

#[test]
fn a_shard_finds_each_of_more_entries_than_two_bytes_tell_apart() {
    let memory = memory(PolicyName::Fifo, 1, Limits::bytes(70_000));
    for key in 0..80_000 {
        assert_eq!(memory.put(key, key, weighing(1), never).keeping, Keeping::Kept);
    }
    let found = |key| memory.get(&key, never).hit();
    assert!((0..80_000).all(|key| found(key) == (key >= 10_000).then_some(key)));
    assert!((0..80_000).step_by(7).all(|key| memory.remove(&key).is_some() == (key >= 10_000)));
    assert!((0..80_000).all(|key| found(key) == (key >= 10_000 && key % 7 != 0).then_some(key)));
    memory.audit();
}
