//! Random operations against a model that is two maps and a list.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use larder::clock::Timestamp;
use larder::key::{Digest, Key, Selector};
use larder::tier::disk::{Collected, Disk, Eviction, Limits, Order};
use larder::tier::{Epoch, PutOutcome, Refusal, Sealed};
use proptest::prelude::*;

use super::{Lab, entry, noise};

const NAMES: [&str; 6] = ["a/1", "a/2", "a/b/3", "b/1", "b/2", "c"];
const TAGS: [&str; 2] = ["red", "blue"];

#[derive(Debug, Clone)]
enum Step {
    Put {
        name: usize,
        bytes: usize,
        tag: Option<usize>,
        blobs: Vec<u64>,
        expires_in: Option<u64>,
        began: u64,
    },
    PutBlob(u64),
    Get(usize),
    ReadBlob(u64),
    DamageBlob(u64),
    Invalidate(Target),
    Advance(u64),
    Gc {
        max_entries: Option<u64>,
        max_age: Option<u64>,
    },
    Reopen,
    Repair,
}

#[derive(Debug, Clone)]
enum Target {
    One(usize),
    Prefix(usize),
    Glob,
    Tag(usize),
    Unused(u64),
}

#[derive(Debug, Clone)]
struct Entry {
    envelope: Vec<u8>,
    tags: Vec<usize>,
    blobs: BTreeSet<u64>,
    expires: Option<Timestamp>,
    used: Timestamp,
}

/// What the tier should hold.
#[derive(Default)]
struct Model {
    entries: BTreeMap<usize, Entry>,
    blobs: BTreeMap<u64, Timestamp>,
    log: Vec<Selector>,
}

fn key(name: usize) -> Key {
    super::key(NAMES[name])
}

fn blob(n: u64) -> Vec<u8> {
    // Every other one compresses.
    if n.is_multiple_of(2) { format!("blob {n} ").repeat(400).into_bytes() } else { noise(3_000, n) }
}

fn selector(target: &Target, now: Timestamp) -> Selector {
    match *target {
        Target::One(name) => Selector::key(&key(name)),
        Target::Prefix(bytes) => Selector::all().in_scope(key(0).scope()).with_prefix(&"a/b/3"[..bytes]),
        Target::Glob => Selector::all().with_glob("*/1").unwrap(),
        Target::Tag(tag) => Selector::all().tagged(TAGS[tag]).unwrap(),
        Target::Unused(seconds) => {
            Selector::all().unused_since(Timestamp::from_millis(now.as_millis() - seconds * 1_000))
        }
    }
}

struct Run {
    lab: Lab,
    disk: Option<Disk>,
    model: Model,
}

impl Run {
    fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    fn now(&self) -> Timestamp {
        self.lab.options.clock.wall()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put { .. } => self.put(step),
            Step::PutBlob(n) => {
                let stored = self.disk().put_blob_bytes(&blob(*n)).unwrap();
                assert_eq!(stored.written == 0, self.model.blobs.contains_key(n));
                self.model.blobs.insert(*n, self.now());
            }
            Step::Get(name) => {
                let found = self.disk().blocking_get(&key(*name)).unwrap();
                let now = self.now();
                let known = self.model.entries.get_mut(name);
                assert_eq!(found.as_ref(), known.as_ref().map(|entry| &entry.envelope));
                if let Some(known) = known
                    && now.since(known.used) > self.lab.options.touch_after
                {
                    known.used = now;
                }
            }
            Step::ReadBlob(n) => {
                let found = self.disk().read_blob(Digest::of(&blob(*n))).unwrap();
                assert_eq!(found, self.model.blobs.contains_key(n).then(|| blob(*n)));
            }
            Step::DamageBlob(n) => {
                if self.model.blobs.remove(n).is_some() {
                    let digest = Digest::of(&blob(*n));
                    let suffix = if n.is_multiple_of(2) { ".zst" } else { "" };
                    self.lab.flip(&self.lab.blob(&digest, suffix), 10);
                    assert_eq!(self.disk().read_blob(digest).unwrap(), None);
                }
            }
            Step::Invalidate(target) => self.invalidate(target),
            Step::Advance(seconds) => self.lab.options.clock.advance(Duration::from_secs(*seconds)),
            Step::Gc { max_entries, max_age } => self.gc(*max_entries, *max_age),
            Step::Reopen => {
                self.disk = None;
                self.disk = Some(self.lab.open());
            }
            Step::Repair => {
                self.disk().repair().unwrap();
                let blobs = &self.model.blobs;
                self.model.entries.retain(|_, entry| entry.blobs.iter().all(|n| blobs.contains_key(n)));
                self.forget_blobs(true);
            }
        }
    }

    fn put(&mut self, step: &Step) {
        let Step::Put { name, bytes, tag, blobs, expires_in, began } = step else { return };
        let now = self.now();
        let expires = expires_in.map(|seconds| now.plus(Duration::from_secs(seconds)));
        let began = (self.model.log.len() as u64).saturating_sub(*began);
        let mut sealed: Sealed = entry(self.disk(), NAMES[*name], &noise(*bytes, *bytes as u64), |record| {
            record.tags = tag.iter().map(|&tag| TAGS[tag].into()).collect();
            record.blobs = blobs.iter().map(|&n| Digest::of(&blob(n))).collect();
            record.expires = expires;
        });
        sealed.began = Epoch(began);
        let outcome = self.disk().blocking_put(std::slice::from_ref(&sealed)).unwrap().remove(0);
        let covers = |selector: &Selector| selector.matches(&sealed.key, &sealed.record.tags, None);
        let missing = blobs.iter().find(|n| !self.model.blobs.contains_key(n));
        let expected = if self.model.log[began as usize..].iter().any(covers) {
            PutOutcome::Refused(Refusal::Revoked)
        } else if let Some(&missing) = missing {
            PutOutcome::Refused(Refusal::MissingBlob(Digest::of(&blob(missing))))
        } else {
            let entry = Entry {
                envelope: sealed.envelope,
                tags: tag.iter().copied().collect(),
                blobs: blobs.iter().copied().collect(),
                expires,
                used: now,
            };
            let old = self.model.entries.insert(*name, entry);
            old.map_or(PutOutcome::Kept, |old| PutOutcome::Replaced { bytes: old.envelope.len() as u64 })
        };
        assert_eq!(outcome, expected);
    }

    fn invalidate(&mut self, target: &Target) {
        // Uses count only once they are written down.
        self.step(&Step::Reopen);
        let selector = selector(target, self.now());
        let mut gone = self.disk().blocking_invalidate(&selector).unwrap();
        gone.keys.sort();
        let mut expected = Vec::new();
        self.model.entries.retain(|&name, entry| {
            let tags: Vec<_> = entry.tags.iter().map(|&tag| TAGS[tag].into()).collect();
            let selected = selector.matches(&key(name), &tags, Some(entry.used));
            expected.extend(selected.then(|| key(name)));
            !selected
        });
        expected.sort();
        self.model.log.push(selector);
        assert_eq!((gone.keys, gone.epoch), (expected, Epoch(self.model.log.len() as u64)));
    }

    fn gc(&mut self, max_entries: Option<u64>, max_age: Option<u64>) {
        let limits = Limits {
            max_entries,
            max_age: max_age.map(Duration::from_secs),
            eviction: Eviction::LeastRecentlyUsed,
            ..Limits::default()
        };
        let Collected::Done(reclaimed) = self.disk().gc(&limits).unwrap() else { panic!("busy") };
        let now = self.now();
        let before = self.model.entries.len();
        self.model.entries.retain(|_, entry| entry.expires.is_none_or(|expires| expires > now));
        assert_eq!(reclaimed.expired as usize, before - self.model.entries.len());
        if let Some(age) = max_age {
            self.model.entries.retain(|_, entry| now.since(entry.used) <= Duration::from_secs(age));
        }
        if let Some(limit) = max_entries.filter(|&limit| self.model.entries.len() as u64 > limit) {
            let goal = (limit as f64 * 0.9) as usize;
            let left = self.disk().list(&Selector::all(), Order::Used, 99).unwrap();
            assert_eq!(left.len(), goal);
            // Ties are broken by which was put first, which the model does not know.
            let left: Vec<_> = left.into_iter().map(|one| one.key).collect();
            let youngest_gone = self
                .model
                .entries
                .iter()
                .filter(|&(&name, _)| !left.contains(&key(name)))
                .map(|(_, e)| e.used)
                .max();
            self.model.entries.retain(|&name, _| left.contains(&key(name)));
            assert!(self.model.entries.values().all(|entry| Some(entry.used) >= youngest_gone));
        }
        self.forget_blobs(false);
    }

    /// Blobs that no entry names and that are old go. Of those that no entry ever named, gc takes care once a day,
    /// so that they may stay; the model then asks the tier.
    fn forget_blobs(&mut self, all: bool) {
        let now = self.now();
        let named: BTreeSet<u64> =
            self.model.entries.values().flat_map(|entry| entry.blobs.clone()).collect();
        let grace = Limits::default().grace;
        let disk = self.disk.as_ref().unwrap();
        self.model.blobs.retain(|n, put| {
            let there = disk.has_blob(Digest::of(&blob(*n))).unwrap();
            // What was put within the last minute is not made young again by another put.
            let young = now.since(*put) + Duration::from_secs(61) < grace;
            if named.contains(n) || young {
                assert!(there, "blob {n} is needed");
            } else if all && now.since(*put) > grace + Duration::from_secs(61) {
                assert!(!there, "blob {n} is not needed");
            }
            there
        });
    }

    fn compare(&mut self) {
        for name in 0..NAMES.len() {
            let found = self.disk().blocking_get(&key(name)).unwrap();
            assert_eq!(found.as_ref(), self.model.entries.get(&name).map(|entry| &entry.envelope));
        }
        let since = self.disk().blocking_invalidated_since(Epoch(0)).unwrap();
        assert_eq!(since.selectors().as_ref(), Some(&self.model.log));
        let usage = self.disk().usage().unwrap();
        assert_eq!(usage.entries as usize, self.model.entries.len());
        self.disk().repair().unwrap();
        assert_eq!(self.disk().verify().unwrap().problems, []);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..NAMES.len();
    let put = (
        name.clone(),
        prop_oneof![0..200_usize, 30_000..40_000_usize],
        proptest::option::of(0..TAGS.len()),
        proptest::collection::vec(0..5_u64, 0..3),
        proptest::option::of(1..5_000_u64),
        0..3_u64,
    )
        .prop_map(|(name, bytes, tag, mut blobs, expires_in, began)| {
            blobs.dedup();
            Step::Put { name, bytes, tag, blobs, expires_in, began }
        });
    let target = prop_oneof![
        name.clone().prop_map(Target::One),
        (0..5_usize).prop_map(Target::Prefix),
        Just(Target::Glob),
        (0..TAGS.len()).prop_map(Target::Tag),
        (0..5_000_u64).prop_map(Target::Unused),
    ];
    let step = prop_oneof![
        6 => put,
        4 => (0..5_u64).prop_map(Step::PutBlob),
        4 => name.prop_map(Step::Get),
        2 => (0..5_u64).prop_map(Step::ReadBlob),
        1 => (0..5_u64).prop_map(Step::DamageBlob),
        2 => target.prop_map(Step::Invalidate),
        3 => (1..4_000_u64).prop_map(Step::Advance),
        2 => (proptest::option::of(0..5_u64), proptest::option::of(1..9_000_u64))
            .prop_map(|(max_entries, max_age)| Step::Gc { max_entries, max_age }),
        2 => Just(Step::Reopen),
        1 => Just(Step::Repair),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_operations_does_what_two_maps_would_do(steps in steps()) {
        let lab = Lab::in_memory();
        let disk = Some(lab.open());
        let mut run = Run { lab, disk, model: Model::default() };
        for step in &steps {
            run.step(step);
        }
        run.compare();
    }
}
