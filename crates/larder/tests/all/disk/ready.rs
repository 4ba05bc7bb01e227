//! What is made ready while nobody waits.

use std::fs;

use super::{Lab, keep, value};

/// How many bytes of SQLite's log are its head (<https://www.sqlite.org/fileformat2.html#walformat>).
const HEAD: usize = 32;

#[test]
fn a_log_that_has_grown_is_written_back_and_begins_anew_and_nothing_in_it_is_lost() {
    let lab = Lab::new();
    let disk = lab.open();
    let log = || fs::read(lab.cache().join("v1/index.sqlite-wal")).unwrap();
    assert!(disk.long_log().is_none(), "nothing was stored yet");
    let names: Vec<String> = (0..100).map(|number| format!("entry-{number}")).collect();
    names.iter().for_each(|name| keep(&disk, name, b"value"));
    let before = log();
    disk.long_log().expect("a hundred entries make it long").write_back();
    assert!(disk.long_log().is_none());
    let begun = log();
    assert_ne!(begun[..HEAD], before[..HEAD], "it has begun anew before anybody stores");
    keep(&disk, "one more", b"value");
    assert_eq!(log()[..HEAD], begun[..HEAD]);
    assert_eq!(log().len(), before.len(), "what comes next stands at the beginning");
    let other = lab.open();
    assert!(names.iter().all(|name| value(&other, name).is_some()) && value(&other, "one more").is_some());
}

#[test]
fn getting_ready_for_an_entry_writes_nothing() {
    let lab = Lab::new();
    keep(&lab.open(), "x", b"value");
    let content =
        || ["", "-wal"].map(|suffix| fs::read(lab.cache().join(format!("v1/index.sqlite{suffix}"))));
    let (disk, before) = (lab.open(), content().map(Result::unwrap));
    disk.get_ready();
    assert_eq!(content().map(Result::unwrap), before);
    keep(&disk, "y", b"value");
    assert!(value(&lab.open(), "y").is_some());
}
