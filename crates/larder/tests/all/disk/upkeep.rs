//! gc, pins, verify and repair.

use std::fs;
use std::time::Duration;

use larder::key::{Digest, Selector};
use larder::testing::sealed;
use larder::tier::disk::{Collected, Disk, Eviction, Limits, Order, Problem, Reclaimed, Repaired};
use larder::tier::{PutOutcome, Tier};

use super::{Lab, entry, files_under, keep, key, naming, noise, put, run, value};

const HOUR: Duration = Duration::from_secs(3600);

fn collect(disk: &Disk, limits: &Limits) -> Reclaimed {
    match disk.gc(limits).unwrap() {
        Collected::Done(reclaimed) => reclaimed,
        Collected::Busy => panic!("nobody else collects"),
    }
}

fn names(disk: &Disk) -> String {
    let all = disk.list(&Selector::all(), Order::Key, usize::MAX).unwrap();
    all.iter().map(|one| one.key.id().to_owned()).collect::<Vec<_>>().join(" ")
}

/// Entries a, b, c and d of 10 KB, used in this order an hour apart, that took 8, 1, 4 and 2 seconds to compute.
fn four(lab: &Lab) -> Disk {
    let disk = lab.open();
    for (name, cost) in [("a", 8), ("b", 1), ("c", 4), ("d", 2)] {
        let entry = entry(&disk, name, &noise(10_000, 1), |record| record.cost = Duration::from_secs(cost));
        assert_eq!(put(&disk, entry), PutOutcome::Kept);
        lab.options.clock.advance(HOUR);
    }
    disk
}

#[test]
fn within_its_limits_nothing_leaves() {
    let lab = Lab::new();
    let disk = four(&lab);
    let limits = Limits {
        max_bytes: Some(100_000),
        max_entries: Some(4),
        max_age: Some(5 * HOUR),
        min_free_bytes: Some(1),
        ..Limits::default()
    };
    assert_eq!(collect(&disk, &limits), Reclaimed::default());
    assert_eq!(names(&disk), "a b c d");
}

#[test]
fn what_saves_least_per_byte_leaves_first_or_what_was_used_longest_ago() {
    for (eviction, left) in [(Eviction::Cost, "a c"), (Eviction::LeastRecentlyUsed, "c d")] {
        for by_entries in [true, false] {
            let lab = Lab::new();
            let disk = four(&lab);
            let mut limits = Limits { eviction, ..Limits::default() };
            if by_entries {
                limits.max_entries = Some(3);
            } else {
                limits.max_bytes = Some(32_000);
            }
            let reclaimed = collect(&disk, &limits);
            assert_eq!((reclaimed.evicted, reclaimed.bytes > 20_000), (2, true), "{reclaimed:?}");
            assert_eq!(names(&disk), left, "{eviction:?}");
        }
    }
}

#[test]
fn a_use_that_was_noted_counts_for_who_leaves() {
    let lab = Lab::new();
    let disk = four(&lab);
    assert!(value(&disk, "a").is_some());
    collect(
        &disk,
        &Limits { max_entries: Some(3), eviction: Eviction::LeastRecentlyUsed, ..Limits::default() },
    );
    assert_eq!(names(&disk), "a d");
}

#[test]
fn what_expired_or_was_unused_for_too_long_leaves() {
    let lab = Lab::new();
    let disk = four(&lab);
    let expiring = entry(&disk, "e", b"", |record| {
        record.expires = Some(lab.options.clock.wall().plus(HOUR));
    });
    assert_eq!(put(&disk, expiring), PutOutcome::Kept);
    let limits = Limits { max_age: Some(Duration::from_secs(3 * 3600 + 1)), ..Limits::default() };
    let reclaimed = collect(&disk, &limits);
    assert_eq!((reclaimed.expired, reclaimed.unused), (0, 1));
    assert_eq!(names(&disk), "b c d e");
    lab.options.clock.advance(HOUR);
    let reclaimed = collect(&disk, &limits);
    assert_eq!((reclaimed.expired, reclaimed.unused), (1, 1));
    assert_eq!(names(&disk), "c d");
}

#[test]
fn after_the_clock_stepped_back_entries_grow_old_again() {
    let lab = Lab::new();
    let disk = four(&lab);
    let before = lab.options.clock.wall();
    lab.options.clock.step_wall(larder::clock::Timestamp::from_millis(before.as_millis() - 48 * 3_600_000));
    let limits = Limits { max_age: Some(2 * HOUR), ..Limits::default() };
    collect(&disk, &limits);
    assert_eq!(names(&disk), "a b c d");
    lab.options.clock.advance(HOUR);
    assert!(value(&disk, "b").is_some());
    lab.options.clock.advance(HOUR + Duration::from_secs(1));
    collect(&disk, &limits);
    assert_eq!(names(&disk), "b");
}

#[test]
fn a_blob_goes_with_the_last_entry_that_names_it() {
    let lab = Lab::new();
    let disk = lab.open();
    let [own, shared] = [1, 2].map(|n| disk.put_blob_bytes(&noise(10_000, n)).unwrap().digest);
    assert_eq!(put(&disk, naming(&disk, "a", &[own, shared])), PutOutcome::Kept);
    assert_eq!(put(&disk, naming(&disk, "b", &[shared])), PutOutcome::Kept);
    lab.options.clock.advance(HOUR);
    for (name, left, bytes) in [("a", [false, true], 10_000), ("b", [false, false], 0)] {
        disk.blocking_invalidate(&Selector::key(&key(name))).unwrap();
        assert_eq!(collect(&disk, &Limits::default()).blobs, 1);
        assert_eq!([own, shared].map(|digest| disk.has_blob(digest).unwrap()), left);
        assert_eq!(disk.usage().unwrap().blob_bytes, bytes);
    }
}

#[test]
fn a_blob_that_is_young_pinned_or_just_put_again_stays() {
    let lab = Lab::new();
    let (disk, other) = (lab.open(), lab.open());
    let content = noise(10_000, 1);
    let digest = disk.put_blob_bytes(&content).unwrap().digest;
    assert_eq!(put(&disk, naming(&disk, "a", &[digest])), PutOutcome::Kept);
    disk.blocking_invalidate(&Selector::all()).unwrap();
    let gc = || collect(&disk, &Limits::default());
    assert_eq!(gc().held_bytes, 10_000, "young");
    lab.options.clock.advance(HOUR);
    let pin = other.pin(&[digest, digest]).unwrap();
    let second = other.pin(&[digest]).unwrap();
    assert_eq!(pin.missing(), []);
    assert_eq!(gc().held_bytes, 10_000, "pinned");
    drop(pin);
    assert_eq!(gc().held_bytes, 10_000, "pinned once more");
    drop(second);
    assert_eq!(disk.put_blob_bytes(&content).unwrap().written, 0);
    assert_eq!(gc().held_bytes, 10_000, "put again");
    lab.options.clock.advance(HOUR);
    assert_eq!((gc().blobs, disk.has_blob(digest).unwrap()), (1, false));
    assert_eq!(other.pin(&[digest]).unwrap().missing(), [digest]);
}

#[test]
fn a_burst_of_young_blobs_does_not_drive_out_all_entries() {
    let lab = Lab::new();
    let disk = lab.open();
    for n in 0..10 {
        let digest = disk.put_blob_bytes(&noise(10_000, n)).unwrap().digest;
        assert_eq!(put(&disk, naming(&disk, &format!("{n}"), &[digest])), PutOutcome::Kept);
        lab.options.clock.advance(Duration::from_secs(1));
    }
    let reclaimed = collect(&disk, &Limits { max_bytes: Some(60_000), ..Limits::default() });
    assert_eq!((reclaimed.blobs, reclaimed.evicted), (0, 5), "{reclaimed:?}");
    assert_eq!(reclaimed.held_bytes, 50_000);
}

#[test]
fn blobs_that_no_entry_ever_named_go_after_a_day_and_leftovers_too() {
    let lab = Lab::new();
    let disk = lab.open();
    collect(&disk, &Limits::default());
    let digest = disk.put_blob_bytes(&noise(10_000, 1)).unwrap().digest;
    for leftover in ["tmp/.larder-tmp-1-2-3", "locks/0123", "pins/1-2-3"] {
        fs::write(lab.cache().join("v1").join(leftover), b"").unwrap();
    }
    let lease = disk.blocking_try_lease(&key("held")).unwrap().unwrap();
    lab.options.clock.advance(25 * HOUR);
    let reclaimed = collect(&disk, &Limits::default());
    assert_eq!((reclaimed.blobs, reclaimed.leftovers), (1, 2), "{reclaimed:?}");
    assert!(!disk.has_blob(digest).unwrap());
    assert!(lab.open().blocking_try_lease(&key("held")).unwrap().is_none());
    drop(lease);
    assert_eq!(files_under(&lab.cache().join("v1/locks")).len(), 0);
}

#[test]
fn the_quarantine_is_bounded() {
    let lab = Lab::new();
    let disk = lab.open();
    for n in 0..80 {
        fs::write(lab.cache().join(format!("v1/quarantine/{n}")), b"bad").unwrap();
    }
    collect(&disk, &Limits::default());
    assert_eq!(disk.usage().unwrap().quarantine, (64, 64 * 3));
    lab.options.clock.advance(Duration::from_secs(31 * 24 * 3600));
    collect(&disk, &Limits::default());
    assert_eq!(disk.usage().unwrap().quarantine.0, 0);
}

#[test]
fn what_left_gives_its_pages_back() {
    let lab = Lab::new();
    let disk = lab.open();
    for n in 0..400 {
        keep(&disk, &format!("{n}"), &noise(20_000, n));
    }
    let index = || fs::metadata(lab.cache().join("v1/index.sqlite")).unwrap().len();
    collect(&disk, &Limits { max_entries: Some(10), ..Limits::default() });
    drop(disk);
    assert!(index() < 3_000_000, "{}", index());
    assert_eq!(lab.open().usage().unwrap().entries, 9);
}

#[test]
fn one_collects_at_a_time() {
    let lab = Lab::new();
    let disk = lab.open();
    let lock = fs::File::create(lab.cache().join("v1/gc.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(disk.gc(&Limits::default()).unwrap(), Collected::Busy);
}

#[test]
fn a_free_disk_floor_that_cannot_be_met_empties_the_tier_and_is_no_error() {
    let lab = Lab::new();
    let disk = four(&lab);
    let reclaimed = collect(&disk, &Limits { min_free_bytes: Some(u64::MAX), ..Limits::default() });
    assert_eq!((reclaimed.evicted, names(&disk).as_str()), (4, ""));
}

#[test]
fn what_is_reserved_stays_however_little_of_the_disk_is_free() {
    let lab = Lab::new();
    let disk = four(&lab);
    let mut limits =
        Limits { min_free_bytes: Some(u64::MAX), reserved_bytes: 1_000_000, ..Limits::default() };
    assert_eq!(collect(&disk, &limits), Reclaimed::default());
    limits.reserved_bytes = 25_000;
    let reclaimed = collect(&disk, &limits);
    assert_eq!((reclaimed.evicted, reclaimed.tight, names(&disk).as_str()), (2, true, "a c"));
    limits.max_bytes = Some(15_000);
    assert_eq!((collect(&disk, &limits).evicted, names(&disk).as_str()), (1, "a"), "a budget counts anyway");
}

#[test]
fn usage_counts_what_is_there_by_scope_and_kind() {
    let lab = Lab::new();
    let disk = four(&lab);
    keep(&disk, "large", &noise(100_000, 1));
    let usage = disk.usage().unwrap();
    assert_eq!((usage.entries, usage.blobs), (5, 1));
    assert!((40_000..45_000).contains(&usage.entry_bytes), "{usage:?}");
    assert!((100_000..101_000).contains(&usage.blob_bytes), "{usage:?}");
    let kinds: Vec<_> = usage.kinds.into_iter().collect();
    assert_eq!(kinds.len(), 1);
    assert_eq!((kinds[0].0.0.as_str(), kinds[0].0.1.as_str(), kinds[0].1.0), ("acme", "task@1", 5));
    assert!(kinds[0].1.1 > 140_000);
}

/// A tier with every kind of thing in it.
fn varied(lab: &Lab) -> (Disk, Digest) {
    let disk = lab.open();
    let began = disk.blocking_epoch().unwrap();
    for n in 0..20 {
        assert_eq!(
            put(&disk, sealed(&key(&format!("s{n}")), &noise(500, n), &["t"], began)),
            PutOutcome::Kept
        );
    }
    keep(&disk, "large", &noise(100_000, 1));
    let text = disk.put_blob_bytes(&b"some text ".repeat(1_000)).unwrap().digest;
    let noise = disk.put_blob_bytes(&noise(20_000, 3)).unwrap().digest;
    assert_eq!(put(&disk, naming(&disk, "blobs", &[text, noise])), PutOutcome::Kept);
    disk.blocking_invalidate(&Selector::key(&key("s19"))).unwrap();
    run(disk.flush()).unwrap();
    (disk, noise)
}

#[test]
fn a_sound_tier_verifies_and_repairing_it_changes_nothing() {
    let lab = Lab::new();
    let (disk, _) = varied(&lab);
    let verified = disk.verify().unwrap();
    assert_eq!((verified.found, verified.entries, verified.blobs), (0, 21, 3), "{verified:?}");
    let before = names(&disk);
    assert_eq!(disk.repair().unwrap(), Repaired::default());
    assert_eq!(names(&disk), before);
    assert_eq!(disk.verify().unwrap(), verified);
}

#[test]
fn each_kind_of_damage_is_found_and_repaired() {
    let sql = |lab: &Lab, statement: &str| {
        let connection = rusqlite::Connection::open(lab.cache().join("v1/index.sqlite")).unwrap();
        connection.execute_batch(statement).unwrap();
    };
    let text = Digest::of(&b"some text ".repeat(1_000));
    let check = |damage: &dyn Fn(&Lab), problem: &dyn Fn(&Problem) -> bool, expected: Repaired| {
        let lab = Lab::new();
        let (disk, _) = varied(&lab);
        damage(&lab);
        let verified = disk.verify().unwrap();
        assert!(verified.problems.iter().any(problem), "{verified:?}");
        let repaired = disk.repair().unwrap();
        assert_eq!(Repaired { swept: Reclaimed::default(), ..repaired }, expected, "{verified:?}");
        let again = disk.verify().unwrap();
        assert_eq!(again.found, 0, "{again:?}");
        let repaired = disk.repair().unwrap();
        assert_eq!(Repaired { swept: Reclaimed::default(), ..repaired }, Repaired::default());
    };
    let nothing = Repaired::default();
    check(
        &|lab| sql(lab, "UPDATE envelopes SET bytes = substr(bytes, 1, 100) WHERE id = 3"),
        &|problem| matches!(problem, Problem::Entry { key, .. } if key.id() == "s2"),
        Repaired { entries_dropped: 1, ..nothing },
    );
    check(
        &|lab| sql(lab, "DELETE FROM envelopes WHERE id = 3"),
        &|problem| matches!(problem, Problem::Empty(key) if key.id() == "s2"),
        Repaired { entries_dropped: 1, ..nothing },
    );
    check(
        &|lab| sql(lab, "DELETE FROM tags WHERE entry = 3; UPDATE entries SET cost = 0 WHERE id = 4"),
        &|problem| matches!(problem, Problem::Disagrees(key) if key.id() == "s2"),
        Repaired { entries_derived: 2, ..nothing },
    );
    check(
        &|lab| sql(lab, "DELETE FROM refs"),
        &|problem| matches!(problem, Problem::Disagrees(key) if key.id() == "blobs"),
        Repaired { entries_derived: 2, ..nothing },
    );
    check(
        &|lab| sql(lab, "UPDATE totals SET blobs = 7, blob_bytes = -1"),
        &|problem| *problem == Problem::Totals,
        nothing,
    );
    check(
        &|lab| sql(lab, "UPDATE log SET selector = 'any:zoo/*'"),
        &|problem| *problem == Problem::Log,
        nothing,
    );
    check(
        &|lab| fs::remove_file(lab.blob(&text, ".zst")).unwrap(),
        &|problem| matches!(problem, Problem::MissingBlob { digest, .. } if *digest == text),
        Repaired { entries_dropped: 1, ..nothing },
    );
    check(
        &|lab| lab.flip(&lab.blob(&text, ".zst"), 20),
        &|problem| matches!(problem, Problem::BadBlob(_)),
        Repaired { entries_dropped: 1, blobs_dropped: 1, ..nothing },
    );
}

/// Damages the index's structure after `change`, and repairs it.
fn damaged_and_repaired(change: &str) -> (Lab, Disk, Repaired) {
    let lab = Lab::new();
    drop(varied(&lab));
    let index = lab.cache().join("v1/index.sqlite");
    let root: i64 = {
        let connection = rusqlite::Connection::open(&index).unwrap();
        connection.execute_batch(change).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'entries_key'";
        connection.query_row(root, [], |row| row.get(0)).unwrap()
    };
    lab.flip(&index, (root as usize - 1) * 4096 + 4_090);
    let disk = lab.open();
    let problems = disk.verify().unwrap().problems;
    assert!(problems.iter().any(|problem| matches!(problem, Problem::Index(_))), "{problems:?}");
    let repaired = disk.repair().unwrap();
    assert!(repaired.index_renewed);
    assert_eq!(disk.verify().unwrap().problems, []);
    assert_eq!(disk.usage().unwrap().entries, repaired.entries_rescued);
    assert_eq!(value(&disk, "s19"), None);
    (lab, disk, repaired)
}

#[test]
fn from_an_index_whose_structure_is_damaged_repair_rescues_what_it_still_gives() {
    let (_lab, disk, repaired) = damaged_and_repaired("");
    assert_eq!(repaired.entries_rescued, 21);
    assert_eq!(value(&disk, "s3").unwrap(), noise(500, 3));
    assert_eq!(value(&disk, "large").unwrap(), noise(100_000, 1));
}

#[test]
fn nothing_is_rescued_from_a_damaged_index_that_does_not_know_all_invalidations() {
    let (_lab, _disk, repaired) =
        damaged_and_repaired("INSERT INTO log SELECT 2, at, selector, checksum FROM log");
    assert_eq!(repaired.entries_rescued, 0);
}

#[test]
fn the_same_envelope_is_kept_again_after_its_file_was_found_bad() {
    let lab = Lab::new();
    let disk = lab.open();
    let entry = sealed(&key("x"), &noise(100_000, 1), &[], disk.blocking_epoch().unwrap());
    assert_eq!(put(&disk, entry.clone()), PutOutcome::Kept);
    let file = files_under(&lab.cache().join("v1/blobs")).pop().unwrap();
    lab.flip(&file, 1_000);
    assert!(larder::entry::open(&key("x"), &disk.blocking_get(&key("x")).unwrap().unwrap()).is_err());
    disk.blocking_quarantine(&key("x")).unwrap();
    assert_eq!(put(&disk, entry), PutOutcome::Kept);
    assert_eq!(value(&disk, "x").unwrap(), noise(100_000, 1));
}
