//! The conformance suite: what each tier must do, as functions that the tests of every tier call.
//!
//! Each function takes a tier and works in scopes that no other test uses, so that a suite may run against a
//! server that others use too, and functions may run side by side. A promise that is broken is a panic that says
//! which. Not here: what one tier promises beyond the rest, such as blobs on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::Timestamp;
use crate::entry::compress::Level;
use crate::entry::{Codec, Record, open, seal};
use crate::key::{Key, Selector};
use crate::tier::{Brief, Epoch, NewEntry, PutOutcome, Refusal, Sealed, Tier};

/// Runs the whole suite.
pub async fn check_tier(tier: &dyn Tier) {
    what_is_put_comes_back_byte_for_byte(tier).await;
    what_was_never_put_is_a_miss(tier).await;
    a_later_put_replaces_an_earlier_one(tier).await;
    what_is_to_be_new_is_stored_where_nothing_is_and_nowhere_else(tier).await;
    each_part_of_a_key_tells_entries_apart(tier).await;
    an_invalidation_removes_what_its_selector_matches_and_nothing_else(tier).await;
    what_began_before_an_invalidation_is_refused_and_what_began_after_is_kept(tier).await;
    invalidations_are_told_in_order_to_whoever_asks(tier).await;
    an_epoch_that_the_tier_never_reached_means_that_anything_may_have_been_invalidated(tier).await;
    an_entry_in_quarantine_is_a_miss_and_no_invalidation(tier).await;
    callers_side_by_side_see_whole_entries(tier).await;
    a_tier_that_is_well_answers_a_ping_and_flushes(tier).await;
}

/// Makes a key in a scope of this test's own: `scope` is a word, `rest` is `kind@version/id`.
///
/// Two calls with one word in one test process give the same scope, two test processes different ones.
pub fn key(scope: &str, rest: &str) -> Key {
    static RUN: AtomicU64 = AtomicU64::new(0);
    if RUN.load(Ordering::Relaxed) == 0 {
        let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64 | 1);
        let _ = RUN.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }
    let run = RUN.load(Ordering::Relaxed);
    Key::parse(&format!("test-{run:x}-{scope}/{rest}")).expect("test keys are well formed")
}

/// Makes an entry whose value is `value`, and which carries `tags`.
pub fn sealed(key: &Key, value: &[u8], tags: &[&str], began: Epoch) -> Sealed {
    let mut tags: Vec<Arc<str>> = tags.iter().map(|&tag| tag.into()).collect();
    tags.sort();
    let record = Record {
        tags: tags.into(),
        producer: "conformance suite".into(),
        ..Record::new(Timestamp::from_millis(1_000_000), Duration::from_millis(5))
    };
    let envelope = seal(key, &record, Codec::Bytes, value, Level::FAST).expect("test values are small");
    Sealed { key: key.clone(), record, envelope, began }
}

async fn put(tier: &dyn Tier, key: &Key, value: &[u8], tags: &[&str]) -> PutOutcome {
    let began = tier.epoch().await.expect("epoch");
    let outcomes = tier.put(vec![sealed(key, value, tags, began)]).await.expect("put");
    assert_eq!(outcomes.len(), 1, "an outcome for each entry");
    outcomes.into_iter().next().expect("one outcome")
}

async fn value(tier: &dyn Tier, key: &Key) -> Option<Vec<u8>> {
    let envelope = tier.get(key).await.expect("get")?;
    Some(open(key, &envelope).expect("an envelope that opens").payload)
}

/// What is put comes back byte for byte, from nothing to two megabytes.
pub async fn what_is_put_comes_back_byte_for_byte(tier: &dyn Tier) {
    for bytes in [0, 1, 1_000, 40_000, 2_000_000_u32] {
        let key = key("whole", &format!("size@1/{bytes}"));
        let noise: Vec<u8> = (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let entry = sealed(&key, &noise, &["tag"], tier.epoch().await.expect("epoch"));
        let envelope = entry.envelope.clone();
        assert_eq!(tier.put(vec![entry]).await.expect("put"), [PutOutcome::Kept], "{bytes} bytes");
        assert_eq!(tier.get(&key).await.expect("get").as_ref(), Some(&envelope), "{bytes} bytes");
    }
}

/// What was never put is a miss, not an error.
pub async fn what_was_never_put_is_a_miss(tier: &dyn Tier) {
    assert_eq!(tier.get(&key("never", "any@1/thing")).await.expect("get"), None);
}

/// A later put of the same key replaces what was there, wholly.
pub async fn a_later_put_replaces_an_earlier_one(tier: &dyn Tier) {
    let key = key("twice", "any@1/thing");
    let long = vec![7; 100_000];
    for next in [b"one".as_slice(), &long, b"two", b""] {
        assert!(put(tier, &key, next, &["a", "b"]).await.is_kept());
        assert_eq!(value(tier, &key).await.as_deref(), Some(next));
    }
}

/// What is to be new is stored where nothing is, and leaves what is there. An invalidation from before it, however old,
/// does not revoke it.
pub async fn what_is_to_be_new_is_stored_where_nothing_is_and_nowhere_else(tier: &dyn Tier) {
    let key = key("new", "k@1/x");
    let new = |bytes| {
        let Sealed { key, record, envelope, .. } = sealed(&key, bytes, &[], Epoch(0));
        NewEntry { key, record, envelope }
    };
    assert!(put(tier, &key, b"before", &[]).await.is_kept());
    tier.invalidate(&Selector::key(&key)).await.expect("invalidate");
    assert_eq!(tier.put_new(new(b"first"), Brief::Aside).await.expect("put_new"), Some(PutOutcome::Kept));
    assert_eq!(tier.put_new(new(b"second"), Brief::Aside).await.expect("put_new"), None);
    assert_eq!(value(tier, &key).await.as_deref(), Some(b"first".as_slice()));
    tier.invalidate(&Selector::key(&key)).await.expect("invalidate");
    assert_eq!(tier.put_new(new(b"third"), Brief::InPlace).await.expect("put_new"), Some(PutOutcome::Kept));
    assert_eq!(value(tier, &key).await.as_deref(), Some(b"third".as_slice()));
}

/// Scope, kind, version and id each tell entries apart, and a batch stores each under its own key.
pub async fn each_part_of_a_key_tells_entries_apart(tier: &dyn Tier) {
    let keys =
        [key("a", "k@1/x"), key("b", "k@1/x"), key("a", "l@1/x"), key("a", "k@2/x"), key("a", "k@1/x/y")];
    let began = tier.epoch().await.expect("epoch");
    let batch = keys.iter().map(|key| sealed(key, key.to_string().as_bytes(), &[], began)).collect();
    assert_eq!(tier.put(batch).await.expect("put"), vec![PutOutcome::Kept; keys.len()]);
    for key in &keys {
        assert_eq!(value(tier, key).await, Some(key.to_string().into_bytes()), "{key}");
    }
}

/// What a selector matches is told; an invalidation removes it, says which keys that was, and leaves all else.
pub async fn an_invalidation_removes_what_its_selector_matches_and_nothing_else(tier: &dyn Tier) {
    let entries: [(Key, &[&str]); 6] = [
        (key("inv", "facts@1/src/app.py"), &["nightly"]),
        (key("inv", "facts@2/src/app.py"), &["nightly", "slow"]),
        (key("inv", "facts@2/src/app/views.py"), &[]),
        (key("inv", "facts@2/tests/app.py"), &["slow"]),
        (key("inv", "tree@2/src/app.py"), &[]),
        (key("inv2", "facts@2/src/app.py"), &["slow"]),
    ];
    let scope = entries[0].0.scope().clone();
    let all = || Selector::all().in_scope(&scope);
    let facts = entries[1].0.kind();
    let selectors = [
        Selector::key(&entries[1].0),
        all().of_kind("facts"),
        all().of_kind_version(facts),
        all().of_kind_version(facts).with_prefix("src/"),
        all().of_kind_version(facts).with_glob("src/*.py").expect("a glob"),
        all().with_glob("**/app.py").expect("a glob"),
        all().tagged("slow").expect("a tag"),
        all().of_kind("facts").with_prefix("src/app.").tagged("nightly").expect("a tag"),
        all().with_prefix("none/"),
        all(),
    ];
    for selector in selectors {
        for (key, tags) in &entries {
            assert!(put(tier, key, b"value", tags).await.is_kept());
        }
        let before = tier.epoch().await.expect("epoch");
        let mut selected = tier.select(&[selector.clone(), selector.clone()]).await.expect("select");
        selected.sort();
        let mut gone = tier.invalidate(&selector).await.expect("invalidate");
        assert!(gone.epoch > before, "an invalidation moves the epoch on");
        gone.keys.sort();
        let mut expected = Vec::new();
        for (key, tags) in &entries {
            let tags: Vec<Arc<str>> = tags.iter().map(|&tag| tag.into()).collect();
            let matches = selector.matches(key, &tags, None);
            assert_eq!(value(tier, key).await.is_none(), matches, "{key} under {selector}");
            expected.extend(matches.then(|| key.clone()));
        }
        expected.sort();
        assert_eq!(gone.keys, expected, "{selector}");
        assert_eq!(selected, expected, "what was told before it went: {selector}");
        assert_eq!(gone.bytes > 0, !expected.is_empty(), "{selector}");
    }
}

/// What began to be computed before an invalidation that covers it is refused; whatever it does not cover, and
/// what began after it, is kept.
pub async fn what_began_before_an_invalidation_is_refused_and_what_began_after_is_kept(tier: &dyn Tier) {
    let (covered, other) = (key("began", "k@1/covered"), key("began", "k@1/other"));
    let tagged = key("began", "k@1/tagged");
    let began = tier.epoch().await.expect("epoch");
    let scope = || Selector::all().in_scope(covered.scope());
    tier.invalidate(&Selector::key(&covered)).await.expect("invalidate");
    tier.invalidate(&scope().tagged("t").expect("a tag")).await.expect("invalidate");
    let batch = |began| {
        vec![
            sealed(&covered, b"old", &[], began),
            sealed(&other, b"fine", &[], began),
            sealed(&tagged, b"old", &["t"], began),
        ]
    };
    let revoked = || PutOutcome::Refused(Refusal::Revoked);
    let outcomes = tier.put(batch(began)).await.expect("put");
    assert_eq!(outcomes, [revoked(), PutOutcome::Kept, revoked()]);
    assert_eq!(value(tier, &covered).await, None);
    assert_eq!(value(tier, &tagged).await, None);
    let now = tier.epoch().await.expect("epoch");
    assert!(tier.put(batch(now)).await.expect("put").iter().all(PutOutcome::is_kept));
}

/// Whoever asks from an epoch hears of each invalidation since then, in order, and of none from before.
pub async fn invalidations_are_told_in_order_to_whoever_asks(tier: &dyn Tier) {
    let scope = key("told", "k@1/x").scope().clone();
    let start = tier.epoch().await.expect("epoch");
    let nothing = tier.invalidated_since(start).await.expect("invalidated_since");
    let mine = |selectors: Option<Vec<Selector>>| {
        let mut selectors = selectors.expect("the log reaches back this far");
        selectors.retain(|selector| selector.scope() == Some(&scope));
        selectors
    };
    assert_eq!(mine(nothing.selectors()), []);
    let given = [
        Selector::all().in_scope(&scope).with_prefix("a/"),
        Selector::all().in_scope(&scope).of_kind("k").tagged("t").expect("a tag"),
        Selector::all().in_scope(&scope),
    ];
    let mut epochs = vec![start];
    for selector in &given {
        epochs.push(tier.invalidate(selector).await.expect("invalidate").epoch);
    }
    for (n, &epoch) in epochs.iter().enumerate() {
        let told = tier.invalidated_since(epoch).await.expect("invalidated_since");
        assert!(told.epoch >= epoch);
        assert_eq!(mine(told.selectors()), &given[n..], "after {n}");
        // Each has the epoch that whoever invalidated was told.
        let all = told.all.expect("the log reaches back this far");
        let has =
            |nth: &usize| all.iter().any(|one| one.epoch == epochs[nth + 1] && one.selector == given[*nth]);
        assert!((n..given.len()).all(|nth| has(&nth)), "after {n}");
    }
}

/// An epoch that the tier never reached was told by another one: anything may have been invalidated.
pub async fn an_epoch_that_the_tier_never_reached_means_that_anything_may_have_been_invalidated(
    tier: &dyn Tier,
) {
    let key = key("future", "k@1/x");
    let future = Epoch(tier.epoch().await.expect("epoch").0 + 1_000_000);
    assert_eq!(tier.invalidated_since(future).await.expect("invalidated_since").all, None);
    let outcomes = tier.put(vec![sealed(&key, b"value", &[], future)]).await.expect("put");
    assert_eq!(outcomes, [PutOutcome::Refused(Refusal::Revoked)]);
}

/// An entry in quarantine is a miss. It is no invalidation, and the key can be put again.
pub async fn an_entry_in_quarantine_is_a_miss_and_no_invalidation(tier: &dyn Tier) {
    let (bad, good) = (key("bad", "k@1/bad"), key("bad", "k@1/good"));
    let began = tier.epoch().await.expect("epoch");
    for key in [&bad, &good] {
        assert!(put(tier, key, b"value", &[]).await.is_kept());
    }
    tier.quarantine(&bad).await.expect("quarantine");
    tier.quarantine(&key("bad", "k@1/never")).await.expect("quarantine of what is not there");
    assert_eq!(value(tier, &bad).await, None);
    assert!(value(tier, &good).await.is_some());
    assert_eq!(tier.put(vec![sealed(&bad, b"again", &[], began)]).await.expect("put"), [PutOutcome::Kept]);
    assert_eq!(value(tier, &bad).await.as_deref(), Some(b"again".as_slice()));
}

/// Callers side by side see whole entries: each value that is found is one that was put under its key.
pub async fn callers_side_by_side_see_whole_entries(tier: &dyn Tier) {
    let keys: Vec<Key> = (0..4).map(|n| key("side", &format!("k@1/{n}"))).collect();
    let began = tier.epoch().await.expect("epoch");
    for round in 0..8_u8 {
        let batch = keys
            .iter()
            .map(|key| sealed(key, &vec![round; 3_000 * usize::from(round)], &[], began))
            .collect();
        let (outcomes, a, b) = tokio::join!(tier.put(batch), tier.get(&keys[0]), tier.get(&keys[3]));
        assert!(outcomes.expect("put").iter().all(PutOutcome::is_kept));
        for (key, found) in [(&keys[0], a), (&keys[3], b)] {
            let Some(envelope) = found.expect("get") else { continue };
            let value = open(key, &envelope).expect("a whole entry").payload;
            let round = value.len() / 3_000;
            assert!(value.iter().all(|&byte| usize::from(byte) == round), "values of two rounds in one");
        }
    }
}

/// A tier that is well answers a ping and flushes.
pub async fn a_tier_that_is_well_answers_a_ping_and_flushes(tier: &dyn Tier) {
    tier.ping().await.expect("ping");
    tier.flush().await.expect("flush");
    assert!(!tier.name().is_empty());
}

/// Runs the suite of tiers that lease keys among processes and machines.
pub async fn check_leases(tier: &dyn Tier) {
    a_lease_has_one_holder_at_a_time_and_ends_with_it(tier).await;
}

/// While one holds the lease on a key no other gets it, that of another key is free, and its end frees it.
pub async fn a_lease_has_one_holder_at_a_time_and_ends_with_it(tier: &dyn Tier) {
    let (one, other) = (key("lease", "k@1/one"), key("lease", "k@1/other"));
    let held = tier.try_lease(&one).await.expect("try_lease").expect("a lease that is free");
    assert!(tier.try_lease(&one).await.expect("try_lease").is_none(), "it is held");
    assert!(tier.try_lease(&other).await.expect("try_lease").is_some(), "another key's is free");
    drop(held);
    let freed = async {
        // A tier that is far away hears of the end a moment later.
        while tier.try_lease(&one).await.expect("try_lease").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), freed).await.expect("the lease is free again");
}
