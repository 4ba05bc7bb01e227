//! Scopes with limits of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use larder::entry::compress::Level;
use larder::entry::{Codec, Record, seal};
use larder::key::{Key, Scope, Selector};
use larder::tier::Sealed;
use larder::tier::disk::{Collected, Disk, Eviction, Limits, Order, Reclaimed, ScopeLimits};
use proptest::prelude::*;

use super::{Lab, noise, put};

const SCOPES: [&str; 3] = ["lab", "main", "shop"];

fn collect(disk: &Disk, scopes: &[(&str, ScopeLimits)], eviction: Eviction) -> Reclaimed {
    let scopes = scopes.iter().map(|&(scope, limits)| (Scope::new(scope).unwrap(), limits)).collect();
    match disk.gc(&Limits { scopes, eviction, grace: Duration::ZERO, ..Limits::default() }).unwrap() {
        Collected::Done(reclaimed) => reclaimed,
        Collected::Busy => panic!("nobody else collects"),
    }
}

/// Puts an entry that names a blob of so many bytes, and lets a second pass.
fn keep(lab: &Lab, disk: &Disk, scope: &str, id: usize, (bytes, cost): (usize, u64)) {
    let key = Key::parse(&format!("{scope}/task@1/{id}")).unwrap();
    // Bytes that any number of scopes may have.
    let blob = disk.put_blob_bytes(&noise(bytes, bytes as u64)).unwrap().digest;
    let mut record = Record::new(lab.options.clock.wall(), Duration::from_secs(cost));
    record.blobs = [blob].into();
    let envelope = seal(&key, &record, Codec::Bytes, b"an entry", Level::FAST).unwrap();
    let began = disk.blocking_epoch().unwrap();
    assert!(put(disk, Sealed { key, record, envelope, began }).is_kept());
    lab.options.clock.advance(Duration::from_secs(1));
}

/// The ids of each scope in the order in which they were used, with their bytes.
fn kept(disk: &Disk) -> BTreeMap<String, Vec<(usize, u64)>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for one in disk.list(&Selector::all(), Order::Used, usize::MAX).unwrap().into_iter().rev() {
        let entry = (one.key.id().parse().unwrap(), one.bytes + one.blob_bytes);
        all.entry(one.key.scope().as_str().to_owned()).or_default().push(entry);
    }
    all
}

fn quota(bytes: u64) -> ScopeLimits {
    ScopeLimits { max_bytes: Some(bytes), ..ScopeLimits::default() }
}

#[test]
fn what_a_scope_has_too_much_leaves_that_scope_alone_and_what_saves_least_goes_first() {
    let lab = Lab::new();
    let disk = lab.open();
    for (id, cost) in [8, 1, 4, 2].into_iter().enumerate() {
        keep(&lab, &disk, "shop", id, (10_000, cost));
        // Older and cheaper than all of the shop's.
        keep(&lab, &disk, "main", id, (10_000, 0));
    }
    let limits = |bytes| Limits {
        scopes: BTreeMap::from([(Scope::new("shop").unwrap(), quota(bytes))]),
        ..Limits::default()
    };
    assert!(disk.exceeds(&limits(25_000)).unwrap() && !disk.exceeds(&limits(50_000)).unwrap());
    assert_eq!(collect(&disk, &[("shop", quota(25_000))], Eviction::Cost).evicted, 2);
    let ids = |scope: &str| kept(&disk)[scope].iter().map(|&(id, _)| id).collect::<Vec<_>>();
    assert_eq!((ids("shop"), ids("main")), (vec![0, 2], vec![0, 1, 2, 3]));
    assert_eq!(collect(&disk, &[("shop", quota(25_000))], Eviction::Cost), Reclaimed::default());
}

#[test]
fn what_was_unused_for_too_long_leaves_the_scope_that_says_so() {
    let lab = Lab::new();
    let disk = lab.open();
    for scope in SCOPES {
        keep(&lab, &disk, scope, 0, (100, 1));
    }
    lab.options.clock.advance(Duration::from_secs(100));
    keep(&lab, &disk, "shop", 1, (100, 1));
    let limits = ScopeLimits { max_age: Some(Duration::from_secs(50)), ..ScopeLimits::default() };
    let reclaimed = collect(&disk, &[("shop", limits)], Eviction::Cost);
    assert_eq!((reclaimed.unused, reclaimed.evicted), (1, 0));
    let left: Vec<usize> = kept(&disk).values().map(Vec::len).collect();
    assert_eq!((left, kept(&disk)["shop"][0].0), (vec![1, 1, 1], 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_scope_is_what_it_would_be_alone(
        puts in proptest::collection::vec((0..SCOPES.len(), 0..12_usize, 1..6_usize), 0..60),
        quotas in proptest::collection::vec(proptest::option::of(1_000..60_000_u64), SCOPES.len()),
    ) {
        let lab = Lab::in_memory();
        let disk = lab.open();
        for (scope, id, thousands) in puts {
            keep(&lab, &disk, SCOPES[scope], id, (thousands * 1000, 1));
        }
        let mut expected = kept(&disk);
        let limits: Vec<_> =
            SCOPES.into_iter().zip(&quotas).filter_map(|(scope, limit)| Some((scope, quota((*limit)?)))).collect();
        for (scope, limits) in &limits {
            let Some(entries) = expected.get_mut(*scope) else { continue };
            let total = |entries: &[(usize, u64)]| entries.iter().map(|&(_, bytes)| bytes).sum::<u64>();
            let limit = limits.max_bytes.unwrap();
            if total(entries) > limit {
                while total(entries) > (limit as f64 * 0.9) as u64 {
                    entries.remove(0);
                }
            }
        }
        expected.retain(|_, entries| !entries.is_empty());
        collect(&disk, &limits, Eviction::LeastRecentlyUsed);
        prop_assert_eq!(kept(&disk), expected);
        prop_assert_eq!(disk.verify().unwrap().problems, []);
    }
}
