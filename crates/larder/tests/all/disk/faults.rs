//! Places that do not let themselves be written to, foreign formats, and folders that vanish.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use larder::key::{Digest, Selector};
use larder::testing::sealed;
use larder::tier::disk::{BlobError, Collected, Disk, DiskOptions, Limits};
use larder::tier::{PutOutcome, Refusal, TierError};

use super::child::{process_with_mounts, run_well};
use super::{Lab, keep, key, naming, noise, put, value};

fn kind<T: std::fmt::Debug>(outcome: Result<T, TierError>) -> ErrorKind {
    match outcome {
        Err(TierError::Io(error)) => error.kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_refuses_new_things_keeps_the_old_and_recovers() {
    let lab = Lab::new();
    fs::create_dir(lab.cache()).unwrap();
    let mount = format!("mount -t tmpfs -o size=3m tmpfs {}", lab.cache().display());
    run_well(process_with_mounts("full disk", &lab.cache(), &mount));
}

pub(super) fn on_a_full_disk(folder: &Path) {
    let disk = Disk::open(folder, DiskOptions::default()).unwrap();
    keep(&disk, "old", &noise(5_000, 1));
    let blob = disk.put_blob_bytes(&noise(200_000, 2)).unwrap().digest;
    assert_eq!(put(&disk, naming(&disk, "blobs", &[blob])), PutOutcome::Kept);
    let began = disk.blocking_epoch().unwrap();
    let put = |n: u64| disk.blocking_put(&[sealed(&key(&format!("{n}")), &noise(20_000, n), &[], began)]);
    let kept = (0..1_000).take_while(|&n| put(n).is_ok()).count() as u64;
    assert!((20..200).contains(&kept), "{kept}");
    assert_eq!(kind(put(kept)), ErrorKind::StorageFull);
    while disk.put_blob_bytes(&noise(4_000, rand())).is_ok() {}
    assert_eq!(kind(disk.put_blob_bytes(&noise(100_000, 9))), ErrorKind::StorageFull);
    fs::write("/dev/shm/larder-test-source", noise(2_000_000, 8)).unwrap();
    let large = disk.put_blob_file("/dev/shm/larder-test-source");
    fs::remove_file("/dev/shm/larder-test-source").unwrap();
    assert!(matches!(large, Err(BlobError::Tier(TierError::Io(_)))), "{large:?}");
    assert_eq!(fs::read_dir(folder.join("v1/tmp")).unwrap().count(), 0, "leftovers of what failed");

    let still_there = |disk: &Disk| {
        assert_eq!(value(disk, "old").unwrap(), noise(5_000, 1));
        assert_eq!(value(disk, "0").unwrap(), noise(20_000, 0));
        assert_eq!(disk.read_blob(blob).unwrap().unwrap(), noise(200_000, 2));
    };
    still_there(&disk);
    let to = folder.join("restored");
    let restored = disk.restore_blob(blob, &to, 0o644);
    assert!(
        matches!(&restored, Err(BlobError::Destination(error)) if error.kind() == ErrorKind::StorageFull)
    );
    assert!(!to.exists());
    let made = disk.make_from_blob(blob, &to, 0o644);
    assert!(matches!(&made, Err(BlobError::Destination(error)) if error.kind() == ErrorKind::StorageFull));
    assert!(!to.exists());
    drop(disk);
    let disk = Disk::open(folder, DiskOptions::default()).unwrap();
    still_there(&disk);
    let limits = Limits { max_entries: Some(10), grace: std::time::Duration::ZERO, ..Limits::default() };
    let collected = disk.gc(&limits).unwrap();
    assert!(matches!(collected, Collected::Done(reclaimed) if reclaimed.evicted > 0), "{collected:?}");
    keep(&disk, "new", &noise(20_000, 3));
    assert_eq!(disk.verify().unwrap().found, 0);
}

fn rand() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 40);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn a_read_only_place_is_read_and_refuses_the_rest() {
    for (role, clean) in [("read only", true), ("read only, log", false)] {
        let lab = Lab::new();
        let disk = lab.open();
        keep(&disk, "old", b"value");
        let blob = disk.put_blob_bytes(b"blob").unwrap().digest;
        assert_eq!(blob, Digest::of(b"blob"));
        drop(disk);
        if clean {
            let connection = rusqlite::Connection::open(lab.cache().join("v1/index.sqlite")).unwrap();
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        } else {
            fs::remove_file(lab.cache().join("v1/index.sqlite-shm")).unwrap();
        }
        let cache = lab.cache().display().to_string();
        let mounts = format!("mount --bind {cache} {cache}; mount -o remount,ro,bind {cache}");
        run_well(process_with_mounts(role, &lab.cache(), &mounts));
        assert_eq!(value(&lab.open(), "old").unwrap(), b"value");
    }
}

pub(super) fn where_nothing_can_be_written(folder: &Path) {
    let disk = Disk::open(folder, DiskOptions::default()).unwrap();
    assert!(disk.read_only());
    assert_eq!(value(&disk, "old").unwrap(), b"value");
    assert_eq!(value(&disk, "new"), None);
    let blob = Digest::of(b"blob");
    assert_eq!(disk.read_blob(blob).unwrap().unwrap(), b"blob");
    assert_eq!(disk.pin(&[blob, Digest::of(b"")]).unwrap().missing(), [Digest::of(b"")]);
    let began = disk.blocking_epoch().unwrap();
    assert_eq!(put(&disk, sealed(&key("new"), b"", &[], began)), PutOutcome::Refused(Refusal::ReadOnly));
    let read_only = ErrorKind::ReadOnlyFilesystem;
    assert_eq!(kind(disk.blocking_invalidate(&Selector::all())), read_only);
    assert_eq!(kind(disk.put_blob_bytes(b"new")), read_only);
    assert_eq!(kind(disk.gc(&Limits::default())), read_only);
    assert_eq!(kind(disk.repair()), read_only);
    assert_eq!(kind(disk.update_meta("n", "m", |_| None)), read_only);
    assert_eq!(kind(disk.blocking_try_lease(&key("x"))), read_only);
    disk.blocking_quarantine(&key("old")).unwrap();
    assert_eq!(disk.verify().unwrap().found, 0);
    assert_eq!(disk.usage().unwrap().entries, 1);
    let to = std::env::temp_dir().join(format!("larder-test-{}", std::process::id()));
    assert!(disk.restore_blob(blob, &to, 0o600).unwrap().is_some());
    assert_eq!(
        (fs::read(&to).unwrap(), fs::metadata(&to).unwrap().permissions().mode() & 0o777),
        (b"blob".to_vec(), 0o600)
    );
    fs::remove_file(to).unwrap();
}

/// What the log holds may be that an entry was removed: without it nothing may be answered.
pub(super) fn where_a_log_can_not_be_read(folder: &Path) {
    let opened = Disk::open(folder, DiskOptions::default());
    assert_eq!(kind(opened), ErrorKind::Other);
}

#[test]
fn a_place_where_no_folder_can_be_made_says_so() {
    let lab = Lab::new();
    fs::write(lab.cache(), b"a file").unwrap();
    let opened = Disk::open(lab.cache(), lab.options.clone());
    assert!(matches!(opened, Err(TierError::Io(_))), "{opened:?}");
    assert_eq!(fs::read(lab.cache()).unwrap(), b"a file");
}

#[test]
fn a_newer_format_is_refused_by_number_and_left_as_it_is() {
    let lab = Lab::new();
    keep(&lab.open(), "x", b"value");
    let index = lab.cache().join("v1/index.sqlite");
    let set_version = |version: u32| {
        let connection = rusqlite::Connection::open(&index).unwrap();
        connection.pragma_update(None, "user_version", i64::from(version)).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    };
    set_version(0x0202_0202);
    let before = fs::read(&index).unwrap();
    let opened = Disk::open(lab.cache(), lab.options.clone());
    assert!(matches!(opened, Err(TierError::Format { found: 2, supported: 1 })), "{opened:?}");
    assert_eq!(fs::read(&index).unwrap(), before);
    set_version(0x0101_0101);
    assert_eq!(value(&lab.open(), "x").unwrap(), b"value");
}

#[test]
fn an_index_that_is_none_is_set_aside_and_a_fresh_one_made() {
    let text = b"this is no index ".repeat(1_000);
    let foreign = {
        let lab = Lab::new();
        let path = lab.path("foreign");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE entries(x)").unwrap();
        fs::read(path).unwrap()
    };
    for bytes in [&text[..], &text[..10], &foreign] {
        let lab = Lab::new();
        keep(&lab.open(), "x", b"value");
        fs::remove_file(lab.cache().join("v1/index.sqlite-wal")).unwrap();
        fs::write(lab.cache().join("v1/index.sqlite"), bytes).unwrap();
        let disk = lab.open();
        assert_eq!(value(&disk, "x"), None);
        keep(&disk, "x", b"again");
        assert_eq!(value(&lab.open(), "x").unwrap(), b"again");
        assert!(disk.usage().unwrap().quarantine.0 > 0);
    }
}

#[test]
fn files_that_are_deleted_or_cut_while_the_tier_is_open_cost_what_was_in_them_and_no_more() {
    for cut in [false, true] {
        for name in ["index.sqlite", "index.sqlite-wal", "epochs", "open.lock"] {
            let lab = Lab::new();
            let disk = lab.open();
            for n in 0..50 {
                keep(&disk, &format!("{n}"), &noise(3_000, n));
            }
            let file = lab.cache().join("v1").join(name);
            if cut {
                let length = fs::metadata(&file).unwrap().len();
                fs::File::options().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
            } else {
                fs::remove_file(&file).unwrap();
            }
            for disk in [disk, lab.open()] {
                for n in 0..50 {
                    let found = value(&disk, &format!("{n}"));
                    assert!(found.is_none_or(|found| found == noise(3_000, n)), "{name} {cut}");
                }
                keep(&disk, "new", b"new");
                assert_eq!(value(&disk, "new").unwrap(), b"new", "{name} {cut}");
            }
        }
    }
}

#[test]
fn a_cache_that_is_deleted_under_an_open_handle_begins_anew() {
    let lab = Lab::new();
    let disk = lab.open();
    keep(&disk, "x", b"value");
    fs::remove_dir_all(lab.cache()).unwrap();
    assert!(disk.blocking_epoch().is_ok());
    assert_eq!(value(&disk, "x"), None);
    keep(&disk, "x", b"again");
    disk.put_blob_bytes(b"blob").unwrap();
    assert_eq!(value(&lab.open(), "x").unwrap(), b"again");
    fs::remove_dir_all(lab.cache()).unwrap();
    disk.put_blob_bytes(b"blob").unwrap();
    assert!(disk.blocking_try_lease(&key("x")).unwrap().is_some());
    drop(disk.pin(&[]).unwrap());
}

#[test]
fn a_temporary_folder_that_vanished_is_made_again() {
    let lab = Lab::new();
    let disk = lab.open();
    for folder in ["tmp", "blobs", "quarantine", "pins", "locks"] {
        fs::remove_dir_all(lab.cache().join("v1").join(folder)).unwrap();
    }
    let digest = disk.put_blob_bytes(b"blob").unwrap().digest;
    assert!(disk.pin(&[digest]).unwrap().missing().is_empty());
    fs::write(lab.blob(&digest, ""), b"bad").unwrap();
    assert_eq!(disk.read_blob(digest).unwrap(), None);
    assert!(!disk.has_blob(digest).unwrap());
    assert!(matches!(disk.gc(&Limits::default()), Ok(Collected::Done(_))));
}

#[test]
fn when_the_clock_stepped_back_an_hour_all_works_on() {
    let lab = Lab::new();
    let disk = lab.open();
    keep(&disk, "x", b"value");
    let blob = disk.put_blob_bytes(b"blob").unwrap().digest;
    let before = lab.options.clock.wall();
    lab.options.clock.step_wall(larder::clock::Timestamp::from_millis(before.as_millis() - 3_600_000));
    assert_eq!(value(&disk, "x").unwrap(), b"value");
    assert_eq!(disk.put_blob_bytes(b"blob").unwrap().written, 0);
    keep(&disk, "y", b"value");
    assert_eq!(put(&disk, naming(&disk, "z", &[blob])), PutOutcome::Kept);
    drop(disk);
    let disk = lab.open();
    let used = |name: &str| {
        disk.list(&Selector::key(&key(name)), larder::tier::disk::Order::Key, 1).unwrap()[0].used
    };
    assert!(used("x") < before, "the use is put down under the new time");
    let limits = Limits { max_age: Some(std::time::Duration::from_secs(7_000)), ..Limits::default() };
    let collected = disk.gc(&limits).unwrap();
    assert!(matches!(collected, Collected::Done(reclaimed) if reclaimed.unused == 0), "{collected:?}");
}
