//! Several processes on one directory, and processes that are killed.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use larder::entry::open;
use larder::key::{Digest, Selector};
use larder::testing::sealed;
use larder::tier::disk::{Collected, Disk, DiskOptions, Limits};
use larder::tier::{PutOutcome, Refusal};

use super::child::{process, run_well};
use super::{Lab, key, naming, noise};

/// How many names the processes fight for.
const NAMES: u64 = 40;

/// A value that shows whether it is whole: its length says which bytes it must have.
fn whole(seed: u64) -> Vec<u8> {
    let bytes = 100 + (seed % 17 * 3_000) as usize;
    noise(bytes, bytes as u64)
}

fn is_whole(value: &[u8]) -> bool {
    value == noise(value.len(), value.len() as u64)
}

/// Puts, gets, invalidates, stores and restores blobs, collects: for half a second.
pub(super) fn hammer(folder: &Path) {
    let disk = Disk::open(folder, DiskOptions::default()).unwrap();
    let mut seed = u64::from(std::process::id());
    let start = Instant::now();
    let mut counts = [0; 6];
    while start.elapsed() < Duration::from_millis(500) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (choice, n) = ((seed >> 40) % 16, (seed >> 50) % NAMES);
        step(&disk, folder, choice, n, seed >> 33, &mut counts);
    }
}

fn step(disk: &Disk, folder: &Path, choice: u64, n: u64, seed: u64, counts: &mut [u64; 6]) {
    let name = format!("dir{}/{n}", n % 4);
    match choice {
        0..6 => {
            let key = key(&name);
            if let Some(envelope) = disk.blocking_get(&key).unwrap() {
                let opened = open(&key, &envelope).unwrap();
                assert!(is_whole(&opened.payload));
                counts[0] += 1;
                for &digest in &opened.record.blobs {
                    restore(disk, folder, digest);
                }
            }
        }
        6..10 => {
            let began = disk.blocking_epoch().unwrap();
            match disk.blocking_put(&[sealed(&key(&name), &whole(seed), &["t"], began)]).unwrap()[0] {
                PutOutcome::Kept | PutOutcome::Replaced { .. } => counts[1] += 1,
                PutOutcome::Refused(Refusal::Revoked) => {}
                ref other => panic!("{other:?}"),
            }
        }
        10..13 => {
            let digest = disk.put_blob_bytes(&whole(seed)).unwrap().digest;
            let mut entry = naming(disk, &name, &[digest]);
            entry.envelope = larder::entry::seal(
                &entry.key,
                &entry.record,
                larder::entry::Codec::Bytes,
                &whole(seed),
                larder::entry::compress::Level::OFF,
            )
            .unwrap();
            match disk.blocking_put(&[entry]).unwrap()[0] {
                PutOutcome::Kept | PutOutcome::Replaced { .. } => counts[2] += 1,
                PutOutcome::Refused(Refusal::Revoked | Refusal::MissingBlob(_)) => {}
                ref other => panic!("{other:?}"),
            }
        }
        13 => {
            let selector = Selector::all().with_prefix(&format!("dir{}/", n % 4));
            let gone = disk.blocking_invalidate(&selector).unwrap();
            assert!(gone.keys.iter().all(|key| key.id().starts_with(&format!("dir{}/", n % 4))));
            counts[3] += 1;
        }
        14 => {
            if let Some(_lease) = disk.blocking_try_lease(&key(&name)).unwrap() {
                // Held by one process at a time, so nobody else's file is there.
                let file = folder.join(format!("held-{n}"));
                std::fs::File::create_new(&file).unwrap();
                std::fs::remove_file(file).unwrap();
                counts[4] += 1;
            }
        }
        _ => {
            let limits = Limits {
                max_entries: Some(NAMES / 2),
                max_bytes: Some(500_000),
                grace: Duration::ZERO,
                ..Limits::default()
            };
            if let Collected::Done(_) = disk.gc(&limits).unwrap() {
                counts[5] += 1;
            }
        }
    }
}

fn restore(disk: &Disk, folder: &Path, digest: Digest) {
    let pin = disk.pin(&[digest]).unwrap();
    let to = folder.join(format!("restored-{}", std::process::id()));
    let restored = disk.restore_blob(digest, &to, 0o644).unwrap();
    // What was there when it was pinned is there to be restored.
    assert_eq!(restored.is_some(), pin.missing().is_empty());
    if restored.is_some() {
        assert_eq!(Digest::of(&std::fs::read(&to).unwrap()), digest);
    }
}

fn together(number: usize) {
    let lab = Lab::new();
    let children: Vec<Child> =
        (0..number).map(|_| process("hammer", &lab.cache()).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let disk = lab.open();
    assert_eq!(disk.verify().unwrap().problems, []);
    assert_eq!(disk.usage().unwrap().quarantine.0, 0);
    std::fs::remove_dir_all(lab.cache().join("v1/tmp")).unwrap();
}

#[test]
fn two_processes_at_once_see_whole_entries_only() {
    together(2);
}

#[test]
fn eight_processes_at_once_see_whole_entries_only() {
    together(8);
}

#[test]
fn what_another_process_keeps_is_a_hit_and_what_it_invalidates_a_miss() {
    let lab = Lab::new();
    let disk = lab.open();
    super::keep(&disk, "dir9/x", b"value");
    run_well(process("hammer", &lab.cache()));
    let since = disk.blocking_invalidated_since(larder::tier::Epoch(0)).unwrap();
    assert_eq!(since.epoch.0 as usize, since.selectors().map_or(since.epoch.0 as usize, |all| all.len()));
    assert!(since.epoch.0 > 0);
    assert_eq!(disk.verify().unwrap().problems, []);
}

#[test]
fn after_a_kill_at_any_moment_the_tier_opens_with_whole_entries_only() {
    let lab = Lab::new();
    for round in 0..60_u64 {
        let mut children: Vec<Child> =
            (0..1 + round % 2).map(|_| process("hammer", &lab.cache()).spawn().unwrap()).collect();
        // The moment is spread over start, opening and work.
        let until = Instant::now() + Duration::from_micros(1_000 + round * 1_931 % 60_000);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let disk = Disk::open(lab.cache(), DiskOptions::default()).unwrap();
        assert!(disk.blocking_try_lease(&key("dir0/0")).unwrap().is_some(), "a dead process holds no lease");
        if round % 10 == 9 {
            let verified = disk.verify().unwrap();
            assert_eq!(verified.problems, [], "round {round}");
        }
        assert_eq!(disk.usage().unwrap().quarantine.0, 0, "round {round}");
        for n in 0..2 * NAMES {
            let file = lab.cache().join(format!("held-{n}"));
            let _ = std::fs::remove_file(file);
        }
    }
}

#[test]
fn all_that_open_a_new_directory_at_once_find_the_one_index_that_is_made() {
    for _ in 0..150 {
        let folder = tempfile::tempdir().unwrap();
        let open = || Disk::open(folder.path(), DiskOptions::default()).unwrap();
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    drop(open());
                });
            }
        });
        // An index that another was just making must not be taken for damaged.
        assert_eq!(open().usage().unwrap().quarantine.0, 0);
    }
}
