//! A flipped byte anywhere: never a wrong value, never a removed one back, never a panic.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use larder::entry::open;
use larder::key::{Digest, Selector};
use larder::testing::sealed;
use larder::tier::disk::{Disk, Order};
use larder::tier::{Epoch, PutOutcome, Refusal};

use super::{Lab, files_under, key, naming, noise};

/// What is kept in the tier that is damaged.
fn fill(lab: &Lab) {
    let disk = &lab.open();
    // So that index and log both hold something.
    write_log_back(lab);
    let began = disk.blocking_epoch().unwrap();
    let entry = |n: u64| sealed(&key(&format!("s{n}")), &content(n), &["t"], began);
    let mut all: Vec<_> = (0..12).map(entry).collect();
    let text = disk.put_blob_bytes(&b"some text ".repeat(300)).unwrap().digest;
    let own = disk.put_blob_bytes(&noise(3_000, 3)).unwrap().digest;
    all.push(naming(disk, "blobs", &[text, own]));
    all.push(sealed(&key("large"), &noise(33_000, 77), &[], began));
    assert_eq!(disk.blocking_put(&all).unwrap(), vec![PutOutcome::Kept; 14]);
    for n in 8..12 {
        disk.blocking_invalidate(&Selector::key(&key(&format!("s{n}")))).unwrap();
    }
}

fn write_log_back(lab: &Lab) {
    let connection = rusqlite::Connection::open(lab.cache().join("v1/index.sqlite")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn content(n: u64) -> Vec<u8> {
    noise(200 + n as usize * 150, n)
}

/// Asks for everything: what comes must be right, what was removed must not come, and all can be put again.
fn ask(disk: &Disk, context: &str) {
    for n in 0..12 {
        let key = key(&format!("s{n}"));
        let envelope = disk.blocking_get(&key).unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let Some(envelope) = envelope else { continue };
        match open(&key, &envelope) {
            Ok(opened) => {
                assert!(n < 8, "{context}: s{n} was invalidated");
                assert_eq!(opened.payload, content(n), "{context}: s{n}");
            }
            Err(_) => disk.blocking_quarantine(&key).unwrap(),
        }
    }
    for content in [noise(3_000, 3), b"some text ".repeat(300)] {
        let found = disk.read_blob(Digest::of(&content)).unwrap();
        assert!(found.is_none_or(|found| found == content), "{context}");
    }
    let began = disk.blocking_epoch().unwrap();
    let since = disk.blocking_invalidated_since(Epoch(3)).unwrap();
    if let Some(selectors) = since.selectors() {
        assert_eq!(selectors, [Selector::key(&key("s11"))], "{context}");
    }
    for n in [0, 5, 11] {
        let put = |began| {
            let outcome = disk.blocking_put(&[sealed(&key(&format!("s{n}")), b"new", &[], began)]);
            outcome.unwrap_or_else(|error| panic!("{context}: {error:?}"))
        };
        // An index that is set aside revokes all that began before.
        if put(began) == [PutOutcome::Refused(Refusal::Revoked)] {
            assert_eq!(put(disk.blocking_epoch().unwrap()), [PutOutcome::Kept], "{context}");
        }
        let envelope = disk.blocking_get(&key(&format!("s{n}"))).unwrap().unwrap();
        assert_eq!(open(&key(&format!("s{n}")), &envelope).unwrap().payload, b"new", "{context}");
    }
    disk.blocking_invalidate(&Selector::all()).unwrap();
    assert_eq!(disk.list(&Selector::all(), Order::Key, 99).unwrap(), [], "{context}");
}

/// A cache with its files as they were before any damage.
struct Pristine {
    root: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Pristine {
    fn of(root: PathBuf) -> Self {
        let files =
            files_under(&root).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        Self { root, files }
    }

    fn put_back(&self) {
        fs::remove_dir_all(&self.root).unwrap();
        for folder in ["blobs", "tmp", "locks", "pins", "quarantine"] {
            fs::create_dir_all(self.root.join("v1").join(folder)).unwrap();
        }
        for (path, bytes) in &self.files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

fn flip(path: &Path, at: usize) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    // Which bits are flipped varies with the place.
    byte[0] ^= 1 << (at / 97 % 8) | 1 << (at / 13 % 8);
    file.write_all_at(&byte, at as u64).unwrap();
}

fn flip_everywhere(prepare: impl Fn(&Lab)) {
    let lab = Lab::in_memory();
    fill(&lab);
    prepare(&lab);
    let pristine = Pristine::of(lab.cache());
    for (path, bytes) in &pristine.files {
        for at in (0..bytes.len()).step_by(97) {
            pristine.put_back();
            flip(path, at);
            ask(&lab.open(), &format!("{} at {at}", path.display()));
        }
    }
}

#[test]
fn a_flipped_byte_in_any_file_is_never_a_wrong_answer() {
    flip_everywhere(|_| {});
}

#[test]
fn a_flipped_byte_after_the_log_was_written_back_is_never_a_wrong_answer() {
    flip_everywhere(write_log_back);
}

#[test]
fn a_flipped_byte_under_a_handle_that_is_open_is_never_a_wrong_answer() {
    let lab = Lab::in_memory();
    fill(&lab);
    let pristine = Pristine::of(lab.cache());
    for (path, bytes) in &pristine.files {
        for at in (0..bytes.len()).step_by(3 * 97) {
            pristine.put_back();
            let disk = lab.open();
            assert!(disk.blocking_get(&key("s0")).unwrap().is_some());
            flip(path, at);
            let context = format!("{} at {at}, open", path.display());
            ask(&disk, &context);
            drop(disk);
            lab.open().blocking_epoch().unwrap();
        }
    }
}
