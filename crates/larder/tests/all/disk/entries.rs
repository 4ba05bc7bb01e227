//! Entries: what is put, found, listed and invalidated.

use std::fs;
use std::path::Path;
use std::time::Duration;

use larder::key::{Digest, Selector};
use larder::testing::{check_blobs, check_leases, check_tier, sealed};
use larder::tier::disk::{Disk, Order};
use larder::tier::{Epoch, PutOutcome, Refusal, Tier};

use super::{Lab, keep, key, naming, noise, put, run, value};

#[test]
fn it_conforms() {
    let lab = Lab::new();
    run(check_tier(&lab.open()));
    run(check_blobs(&lab.open()));
    run(check_leases(&lab.open()));
}

#[test]
fn it_conforms_where_everything_is_a_file() {
    let mut lab = Lab::new();
    lab.options.inline_bytes = 0;
    run(check_tier(&lab.open()));
}

#[test]
fn what_one_handle_puts_another_gets_before_and_after_the_first_is_closed() {
    let lab = Lab::new();
    let (first, second) = (lab.open(), lab.open());
    keep(&first, "small", b"value");
    keep(&first, "large", &noise(100_000, 1));
    assert_eq!(value(&second, "small").unwrap(), b"value");
    drop(first);
    assert_eq!(value(&second, "large").unwrap(), noise(100_000, 1));
    drop(second);
    assert_eq!(value(&lab.open(), "small").unwrap(), b"value");
}

#[test]
fn an_invalidation_through_one_handle_revokes_what_another_computes() {
    let lab = Lab::new();
    let (first, second) = (lab.open(), lab.open());
    keep(&first, "x", b"old");
    let began = second.blocking_epoch().unwrap();
    let gone = first.blocking_invalidate(&Selector::key(&key("x"))).unwrap();
    assert_eq!((gone.epoch, gone.keys), (Epoch(began.0 + 1), vec![key("x")]));
    assert_eq!(value(&second, "x"), None);
    assert_eq!(put(&second, sealed(&key("x"), b"old", &[], began)), PutOutcome::Refused(Refusal::Revoked));
    keep(&second, "x", b"new");
    assert_eq!(value(&first, "x").unwrap(), b"new");
}

#[test]
fn who_has_slept_through_more_invalidations_than_the_log_holds_is_told_that_anything_may_be_gone() {
    let lab = Lab::new();
    let disk = lab.open();
    let selector = Selector::key(&key("x"));
    let first = disk.blocking_invalidate(&selector).unwrap().epoch;
    for _ in 0..1_001 {
        disk.blocking_invalidate(&selector).unwrap();
    }
    assert_eq!(disk.blocking_invalidated_since(first).unwrap().selectors(), None);
    assert_eq!(put(&disk, sealed(&key("other"), b"", &[], first)), PutOutcome::Refused(Refusal::Revoked));
    let recent = disk.blocking_invalidated_since(Epoch(first.0 + 1)).unwrap();
    assert_eq!(recent.selectors().unwrap().len(), 1_000);
}

#[test]
fn an_index_that_lost_its_last_invalidations_is_emptied() {
    let lab = Lab::new();
    keep(&lab.open(), "x", b"value");
    let index = lab.cache().join("v1/index.sqlite");
    let all = |index: &Path| {
        ["", "-wal"].map(|suffix| fs::read(format!("{}{suffix}", index.display())).unwrap_or_default())
    };
    let before = all(&index);
    let epoch = lab.open().blocking_invalidate(&Selector::all()).unwrap().epoch;
    // As after a power cut: the index is back where it was before the invalidation.
    for (suffix, bytes) in ["", "-wal"].iter().zip(before) {
        fs::write(format!("{}{suffix}", index.display()), bytes).unwrap();
    }
    let disk = lab.open();
    assert_eq!(value(&disk, "x"), None);
    assert!(disk.blocking_epoch().unwrap() > epoch);
    assert_eq!(disk.blocking_invalidated_since(Epoch(0)).unwrap().selectors(), None);
}

#[test]
fn an_entry_whose_blobs_are_not_all_there_is_refused_by_the_name_of_the_missing_one() {
    let lab = Lab::new();
    let disk = lab.open();
    let there = disk.put_blob_bytes(b"there").unwrap().digest;
    let missing = Digest::of(b"missing");
    let refused = put(&disk, naming(&disk, "x", &[there, missing]));
    assert_eq!(refused, PutOutcome::Refused(Refusal::MissingBlob(missing)));
    assert_eq!(value(&disk, "x"), None);
    assert_eq!(put(&disk, naming(&disk, "x", &[there])), PutOutcome::Kept);
}

#[test]
fn an_entry_above_the_limit_is_refused_with_its_blobs_counted() {
    let mut lab = Lab::new();
    lab.options.max_entry_bytes = 50_000;
    let disk = lab.open();
    let began = disk.blocking_epoch().unwrap();
    let large = sealed(&key("large"), &noise(60_000, 1), &[], began);
    assert_eq!(put(&disk, large), PutOutcome::Refused(Refusal::TooLarge));
    let blob = disk.put_blob_bytes(&noise(60_000, 2)).unwrap().digest;
    assert_eq!(put(&disk, naming(&disk, "x", &[blob])), PutOutcome::Refused(Refusal::TooLarge));
    assert_eq!(put(&disk, naming(&disk, "y", &[])), PutOutcome::Kept);
}

#[test]
fn entries_are_listed_in_the_order_that_is_asked_for() {
    let lab = Lab::new();
    let disk = lab.open();
    for (name, size, cost) in [("b", 10, 30), ("a", 30_000, 10), ("c", 200_000, 20)] {
        lab.options.clock.advance(Duration::from_secs(1));
        let mut entry = sealed(&key(name), &noise(size, 1), &["tag"], disk.blocking_epoch().unwrap());
        entry.record.cost = Duration::from_secs(cost);
        entry.record.created = lab.options.clock.wall();
        assert_eq!(put(&disk, entry), PutOutcome::Kept);
    }
    lab.options.clock.advance(Duration::from_secs(3600));
    assert!(value(&disk, "b").is_some());
    run(disk.flush()).unwrap();
    let listed = |order, limit| -> String {
        let all = disk.list(&Selector::all(), order, limit).unwrap();
        all.iter().map(|one| one.key.id().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed(Order::Key, 9), "a b c");
    assert_eq!(listed(Order::Used, 9), "b c a");
    assert_eq!(listed(Order::Created, 2), "c a");
    assert_eq!(listed(Order::Cost, 1), "b");
    let largest = disk.list(&Selector::all(), Order::Size, 1).unwrap().pop().unwrap();
    assert_eq!(largest.key, key("c"));
    assert!(largest.bytes > 200_000);
    assert_eq!(*largest.record.tags, ["tag".into()]);
    assert_eq!((largest.blob_bytes, &*largest.record.blobs), (0, [].as_slice()));
}

#[test]
fn state_of_the_machine_is_updated_in_turn_and_damaged_state_is_none() {
    let lab = Lab::new();
    let (first, second) = (lab.open(), lab.open());
    let add = |disk: &Disk| {
        disk.update_meta("counters", "runs", |old| {
            let old = old.map_or(0, |old| u64::from_le_bytes(old.try_into().unwrap()));
            Some((old + 1).to_le_bytes().to_vec())
        })
    };
    std::thread::scope(|scope| {
        for disk in [&first, &second] {
            scope.spawn(|| (0..100).for_each(|_| add(disk).unwrap()));
        }
    });
    assert_eq!(lab.open().meta("counters", "runs").unwrap().unwrap(), 200_u64.to_le_bytes());
    first.update_meta("counters", "other", |_| Some(vec![1])).unwrap();
    first.update_meta("elsewhere", "runs", |_| Some(vec![2])).unwrap();
    let all = || -> Vec<String> {
        second.meta_all("counters").unwrap().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(all(), ["other", "runs"]);
    first.update_meta("counters", "other", |_| None).unwrap();
    assert_eq!(first.meta("counters", "other").unwrap(), None);
    let connection = rusqlite::Connection::open(lab.cache().join("v1/index.sqlite")).unwrap();
    connection.execute_batch("UPDATE meta SET bytes = x'00' WHERE namespace = 'counters'").unwrap();
    assert_eq!((first.meta("counters", "runs").unwrap(), all()), (None, vec![]));
    assert_eq!(first.meta("elsewhere", "runs").unwrap(), Some(vec![2]));
}

#[test]
fn reading_what_was_just_read_writes_nothing() {
    let lab = Lab::new();
    keep(&lab.open(), "x", b"value");
    let log = || fs::read(lab.cache().join("v1/index.sqlite-wal")).unwrap();
    let before = log();
    assert!(value(&lab.open(), "x").is_some());
    assert_eq!(log(), before);
    lab.options.clock.advance(Duration::from_secs(301));
    assert!(value(&lab.open(), "x").is_some());
    assert_ne!(log(), before);
}
