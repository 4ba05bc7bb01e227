//! The disk tier: what it promises beyond the conformance suite.

mod blobs;
mod child;
mod contents;
mod damage;
mod entries;
mod faults;
mod gathering;
mod leases;
mod limits;
mod model;
mod notes;
mod processes;
mod quotas;
mod ready;
mod transfer;
mod upkeep;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::entry::compress::Level;
use larder::entry::{Codec, Record, open, seal};
use larder::key::{Digest, Key};
use larder::testing::sealed;
use larder::tier::disk::{Disk, DiskOptions};
use larder::tier::{PutOutcome, Sealed};
use tempfile::TempDir;

/// A cache directory with a clock that stands still.
struct Lab {
    folder: TempDir,
    options: DiskOptions,
}

impl Lab {
    fn new() -> Self {
        let clock = Clock::manual(std::time::SystemTime::now().into());
        Self { folder: TempDir::new().unwrap(), options: DiskOptions { clock, ..DiskOptions::default() } }
    }

    /// For tests that write very often: in memory, where the system has a place for that.
    fn in_memory() -> Self {
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        Self { folder, ..Self::new() }
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.folder.path().join(rest)
    }

    fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// The file of a blob.
    fn blob(&self, digest: &Digest, suffix: &str) -> PathBuf {
        let hex = digest.to_string();
        self.cache().join(format!("v1/blobs/{}/{hex}{suffix}", &hex[..2]))
    }

    /// Changes one byte of a file.
    fn flip(&self, file: &Path, at: usize) {
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= 0x20;
        fs::write(file, bytes).unwrap();
    }

    fn open(&self) -> Disk {
        Disk::open(self.cache(), self.options.clone()).unwrap()
    }
}

fn key(rest: &str) -> Key {
    Key::parse(&format!("acme/task@1/{rest}")).unwrap()
}

fn put(disk: &Disk, entry: Sealed) -> PutOutcome {
    disk.blocking_put(&[entry]).unwrap().pop().unwrap()
}

fn keep(disk: &Disk, rest: &str, value: &[u8]) {
    let began = disk.blocking_epoch().unwrap();
    assert!(put(disk, sealed(&key(rest), value, &[], began)).is_kept());
}

/// An entry whose record `change` has changed.
fn entry(disk: &Disk, rest: &str, value: &[u8], change: impl FnOnce(&mut Record)) -> Sealed {
    let mut record = Record::new(disk_time(), Duration::from_secs(1));
    change(&mut record);
    let envelope = seal(&key(rest), &record, Codec::Bytes, value, Level::FAST).unwrap();
    Sealed { key: key(rest), record, envelope, began: disk.blocking_epoch().unwrap() }
}

/// When the entries of these tests were made.
fn disk_time() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

fn naming(disk: &Disk, rest: &str, blobs: &[Digest]) -> Sealed {
    entry(disk, rest, b"names blobs", |record| record.blobs = blobs.into())
}

fn value(disk: &Disk, rest: &str) -> Option<Vec<u8>> {
    let envelope = disk.blocking_get(&key(rest)).unwrap()?;
    Some(open(&key(rest), &envelope).unwrap().payload)
}

/// Bytes that do not compress.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(&mut noise);
    noise
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
