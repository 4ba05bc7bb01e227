//! Whether a limit is exceeded, and gc of more than is picked at once.

use std::time::Duration;

use larder::key::Selector;
use larder::tier::disk::{Collected, Disk, Limits};

use super::{Lab, entry, keep, naming, noise, put};

/// Limits of bytes and entries by which `disk` is judged, each just met and just exceeded.
fn judged(disk: &Disk) -> [bool; 4] {
    let usage = disk.usage().unwrap();
    let bytes = usage.entry_bytes + usage.blob_bytes;
    let of_bytes = |max| Limits { max_bytes: Some(max), ..Limits::default() };
    let of_entries = |max| Limits { max_entries: Some(max), ..Limits::default() };
    [of_bytes(bytes), of_bytes(bytes - 1), of_entries(usage.entries), of_entries(usage.entries - 1)]
        .map(|limits| disk.exceeds(&limits).unwrap())
}

#[test]
fn a_limit_is_exceeded_from_one_byte_or_entry_too_many_on() {
    let lab = Lab::new();
    let disk = lab.open();
    let exactly = [false, true, false, true];
    for n in 0..20 {
        keep(&disk, &format!("inline {n}"), &noise(1_000, n));
        keep(&disk, &format!("spilled {n}"), &noise(100_000, n));
    }
    let blob = disk.put_blob_bytes(&noise(50_000, 99)).unwrap().digest;
    put(&disk, naming(&disk, "with a blob", &[blob]));
    assert_eq!(judged(&disk), exactly);
    // Now there are gaps between the rows, and pages that nothing is on.
    disk.blocking_invalidate(&Selector::all().with_glob("*1*").unwrap()).unwrap();
    assert_eq!(judged(&disk), exactly);
    assert!(!disk.exceeds(&Limits { min_free_bytes: Some(1), ..Limits::default() }).unwrap());
    assert!(disk.exceeds(&Limits { min_free_bytes: Some(u64::MAX), ..Limits::default() }).unwrap());
    let kept = Limits { min_free_bytes: Some(u64::MAX), reserved_bytes: 1 << 30, ..Limits::default() };
    assert!(!disk.exceeds(&kept).unwrap());
    disk.blocking_invalidate(&Selector::all()).unwrap();
    assert!(!disk.exceeds(&Limits { max_entries: Some(0), ..Limits::default() }).unwrap());
}

#[test]
fn all_that_was_unused_for_too_long_leaves_however_much_that_is() {
    let lab = Lab::in_memory();
    let disk = lab.open();
    let many: Vec<_> = (0..4_500).map(|n| entry(&disk, &format!("{n}"), b"", |_| ())).collect();
    disk.blocking_put(&many).unwrap();
    lab.options.clock.advance(Duration::from_secs(100));
    keep(&disk, "young", b"");
    let limits = Limits { max_age: Some(Duration::from_secs(50)), ..Limits::default() };
    let Collected::Done(reclaimed) = disk.gc(&limits).unwrap() else { panic!("nobody else collects") };
    assert_eq!((reclaimed.unused, disk.usage().unwrap().entries), (4_500, 1));
}
