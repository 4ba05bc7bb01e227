//! The disk tier against raw SQLite and plain files, in one run: medians in microseconds, and ratios.
//!
//! `cargo bench -p larder --bench disk [-- PART...]`: of `open`, `entries`, `blobs`, `small` those that are named,
//! or all; a part that is a path is a folder whose files are stored to see how much disk they take. `TMPDIR` says on
//! which disk.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops at the first failure"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use larder::entry::Codec;
use larder::entry::compress::Level;
use larder::entry::{Record, seal};
use larder::key::{Digest, Key, Selector};
use larder::tier::Sealed;
use larder::tier::disk::{Collected, Disk, DiskOptions, Limits, Order};
use rusqlite::Connection;

const KEYS: usize = 2_000;

fn main() {
    let place = std::env::var("TMPDIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let folder = tempfile::tempdir_in(place).unwrap();
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    println!("{:<38}{:>10}{:>10}{:>10}{:>9}{:>9}", "µs", "larder", "sqlite", "files", "/sqlite", "/files");
    if wanted("open") {
        openings(folder.path());
    }
    for bytes in [256, 1 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10] {
        if wanted("entries") {
            let places = Places::new(folder.path(), bytes);
            places.put(bytes);
            places.get(bytes);
        }
    }
    if wanted("blobs") {
        blobs(folder.path());
    }
    if wanted("small") {
        small_operations(folder.path());
    }
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src").to_owned();
    let trees = if parts.is_empty() { std::slice::from_ref(&sources) } else { &parts[..] };
    for tree in trees {
        if tree.contains('/') {
            disk_use(folder.path(), Path::new(tree));
        }
    }
}

/// Runs the contestants in turn, several times, and returns the median time of each per operation.
fn race<const N: usize>(rounds: usize, per_round: usize, mut run: [&mut dyn FnMut(usize); N]) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..rounds {
        for (contestant, times) in run.iter_mut().zip(&mut times) {
            let start = Instant::now();
            contestant(round);
            times.push(start.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e6 / per_round as f64
    })
}

fn row(name: &str, [larder, sqlite, files]: [f64; 3]) {
    let cell = |time: f64| if time.is_nan() { String::new() } else { format!("{time:.1}") };
    let ratio = |time: f64| if time.is_nan() { String::new() } else { format!("{:.2}", larder / time) };
    let (l, s, f) = (cell(larder), cell(sqlite), cell(files));
    println!("{name:<38}{l:>10}{s:>10}{f:>10}{:>9}{:>9}", ratio(sqlite), ratio(files));
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

fn key(id: usize) -> Key {
    Key::parse(&format!("bench/task@1/{}", Digest::of(&id.to_le_bytes()))).unwrap()
}

fn entry(disk: &Disk, id: usize, bytes: usize) -> Sealed {
    let (key, record) = (key(id), Record::new(DiskOptions::default().clock.wall(), Duration::from_secs(1)));
    let envelope = seal(&key, &record, Codec::Bytes, &noise(bytes, id as u64), Level::OFF).unwrap();
    Sealed { key, record, envelope, began: disk.blocking_epoch().unwrap() }
}

fn raw_sqlite(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL);",
        )
        .unwrap();
    connection
}

fn write_file(folder: &Path, name: &str, bytes: &[u8]) {
    let temporary = folder.join(".temporary");
    fs::File::create(&temporary).unwrap().write_all(bytes).unwrap();
    fs::rename(temporary, folder.join(name)).unwrap();
}

fn openings(folder: &Path) {
    let cache = folder.join("open");
    let disk = Disk::open(&cache, DiskOptions::default()).unwrap();
    for id in 0..KEYS {
        disk.blocking_put(&[entry(&disk, id, 1_000)]).unwrap();
    }
    drop(disk);
    let raw = folder.join("open.sqlite");
    raw_sqlite(&raw).execute("INSERT INTO t(key, bytes) VALUES(x'00', x'00')", ()).unwrap();
    let times = race(
        201,
        1,
        [
            &mut |id| {
                let disk = Disk::open(&cache, DiskOptions::default()).unwrap();
                assert!(disk.blocking_get(&key(id)).unwrap().is_some());
            },
            &mut |_| {
                let connection = raw_sqlite(&raw);
                connection.query_row("SELECT bytes FROM t WHERE key = x'00'", (), |_| Ok(())).unwrap();
            },
        ],
    );
    row("open, get, close", [times[0], times[1], f64::NAN]);
    // As much of a log as is left for the next process to read.
    let disk = Disk::open(&cache, DiskOptions::default()).unwrap();
    let log = cache.join("v1/index.sqlite-wal");
    let mut id = KEYS;
    while fs::metadata(&log).unwrap().len() < 480 << 10 {
        disk.blocking_put(&[entry(&disk, id, 1_000)]).unwrap();
        id += 1;
    }
    drop(disk);
    let bytes = fs::metadata(&log).unwrap().len();
    let times = race(
        201,
        1,
        [&mut |id| {
            let disk = Disk::open(&cache, DiskOptions::default()).unwrap();
            assert!(disk.blocking_get(&key(id)).unwrap().is_some());
        }],
    );
    row(&format!("  the same after a log of {} KiB", bytes >> 10), [times[0], f64::NAN, f64::NAN]);
}

/// The places that hold the same entries.
struct Places {
    inline: Disk,
    spilled: Disk,
    raw: Connection,
    files: PathBuf,
    entries: Vec<Sealed>,
    names: Vec<String>,
}

/// How many entries a batch has.
const BATCH: usize = 20;

impl Places {
    fn new(folder: &Path, bytes: usize) -> Self {
        let place = folder.join(format!("entries{bytes}"));
        let files = place.join("files");
        fs::create_dir_all(&files).unwrap();
        let mut options = DiskOptions { inline_bytes: usize::MAX, ..DiskOptions::default() };
        let inline = Disk::open(place.join("inline"), options.clone()).unwrap();
        options.inline_bytes = 0;
        let spilled = Disk::open(place.join("spilled"), options).unwrap();
        let raw = raw_sqlite(&place.join("raw.sqlite"));
        let number = (KEYS * 1024 / bytes).clamp(200, KEYS);
        let entries: Vec<Sealed> = (0..number).map(|id| entry(&inline, id, bytes)).collect();
        let names = entries.iter().map(|entry| entry.key.digest().to_string()).collect();
        Self { inline, spilled, raw, files, entries, names }
    }

    fn insert(&self, entry: &Sealed) {
        self.raw
            .prepare_cached("INSERT INTO t(key, bytes) VALUES(?1, ?2)")
            .unwrap()
            .execute((entry.key.digest().as_bytes(), &entry.envelope))
            .unwrap();
    }

    /// Puts half of the entries one by one, and half in batches.
    fn put(&self, bytes: usize) {
        let half = self.entries.len() / 2 / BATCH * BATCH;
        let batch = |n: usize| &self.entries[n * BATCH..][..BATCH];
        let one_by_one = |disk: &Disk, n| {
            for one in batch(n) {
                disk.blocking_put(std::slice::from_ref(one)).unwrap();
            }
        };
        let single = race(
            half / BATCH,
            BATCH,
            [
                &mut |n| one_by_one(&self.inline, n),
                &mut |n| batch(n).iter().for_each(|one| self.insert(one)),
                &mut |n| {
                    for (one, name) in batch(n).iter().zip(&self.names[n * BATCH..]) {
                        write_file(&self.files, name, &one.envelope);
                    }
                },
                &mut |n| one_by_one(&self.spilled, n),
            ],
        );
        let later = |n: usize| &self.entries[half + n * BATCH..][..BATCH];
        let many = race(
            half / BATCH,
            BATCH,
            [
                &mut |n| drop(self.inline.blocking_put(later(n)).unwrap()),
                &mut |n| {
                    self.raw.execute_batch("BEGIN IMMEDIATE").unwrap();
                    later(n).iter().for_each(|one| self.insert(one));
                    self.raw.execute_batch("COMMIT").unwrap();
                },
                &mut |n| drop(self.spilled.blocking_put(later(n)).unwrap()),
            ],
        );
        row(&format!("put {bytes} B, one by one"), [single[0], single[1], single[2]]);
        row(&format!("put {bytes} B, by {BATCH}"), [many[0], many[1], f64::NAN]);
        row("  the same in files: put", [single[3], single[1], single[2]]);
        row(&format!("  the same in files: put by {BATCH}"), [many[2], many[1], f64::NAN]);
    }

    fn get(&self, bytes: usize) {
        let known = &self.entries[..self.entries.len() / 2 / BATCH * BATCH];
        let all_of = |disk: &Disk| {
            assert!(known.iter().all(|one| disk.blocking_get(&one.key).unwrap().is_some()));
        };
        let times = race(
            20,
            known.len(),
            [
                &mut |_| all_of(&self.inline),
                &mut |_| {
                    for one in known {
                        let mut query =
                            self.raw.prepare_cached("SELECT bytes FROM t WHERE key = ?1").unwrap();
                        let digest = one.key.digest();
                        let found: Vec<u8> = query.query_row([digest.as_bytes()], |row| row.get(0)).unwrap();
                        assert_eq!(found.len(), one.envelope.len());
                    }
                },
                &mut |_| {
                    for name in &self.names[..known.len()] {
                        assert!(!fs::read(self.files.join(name)).unwrap().is_empty());
                    }
                },
                &mut |_| all_of(&self.spilled),
            ],
        );
        row(&format!("get {bytes} B"), [times[0], times[1], times[2]]);
        row("  the same in files: get", [times[3], times[1], times[2]]);
    }
}

fn blobs(folder: &Path) {
    for (name, bytes, count, text) in [
        ("20 KiB of noise", 20 << 10, 100, false),
        ("20 KiB of text", 20 << 10, 100, true),
        ("64 MiB of noise", 64 << 20, 1, false),
        ("64 MiB of text", 64 << 20, 1, true),
    ] {
        let place = folder.join(name);
        let disk = Disk::open(place.join("cache"), DiskOptions::default()).unwrap();
        let rounds = if count == 1 { 5 } else { 21 };
        // Each round has contents of its own.
        let sources = |round: usize| -> Vec<PathBuf> {
            (0..count).map(|n| place.join(format!("source-{round}-{n}"))).collect()
        };
        for round in 0..rounds {
            for (n, path) in sources(round).iter().enumerate() {
                fs::write(path, content(bytes, round * 1_000 + n, text)).unwrap();
            }
        }
        let new_folder = |kind: &str, round: usize| {
            let folder = place.join(format!("{kind}{round}"));
            fs::create_dir_all(&folder).unwrap();
            folder
        };
        let put_all = |round| -> Vec<_> {
            sources(round).iter().map(|path| disk.put_blob_file(path).unwrap()).collect()
        };
        let copy_to = |folder: PathBuf, round| {
            for (n, path) in sources(round).iter().enumerate() {
                fs::copy(path, folder.join(n.to_string())).unwrap();
            }
        };
        let times = race(
            rounds,
            count,
            [&mut |round| drop(put_all(round)), &mut |round| copy_to(new_folder("copy", round), round)],
        );
        row(&format!("put blob file, {name}"), [times[0], f64::NAN, times[1]]);
        let digests: Vec<Vec<Digest>> = (0..rounds)
            .map(|round| put_all(round).into_iter().map(|stored| stored.digest).collect())
            .collect();
        let restore_to = |folder: PathBuf, round: usize| {
            for (n, digest) in digests[round].iter().enumerate() {
                assert!(disk.restore_blob(*digest, folder.join(n.to_string()), 0o644).unwrap().is_some());
            }
        };
        let times = race(
            rounds,
            count,
            [
                &mut |round| assert!(put_all(round).iter().all(|stored| stored.written == 0)),
                &mut |round| restore_to(new_folder("restore", round), round),
                &mut |round| copy_to(new_folder("copy again", round), round),
                &mut |round| restore_to(new_folder("restore", 0), round),
                &mut |round| copy_to(new_folder("copy again", 0), round),
            ],
        );
        row(&format!("  put again, {name}"), [times[0], f64::NAN, times[2]]);
        row(&format!("  restore, {name}"), [times[1], f64::NAN, times[2]]);
        row(&format!("  restore over others, {name}"), [times[3], f64::NAN, times[4]]);
    }
}

fn content(bytes: usize, seed: usize, text: bool) -> Vec<u8> {
    if !text {
        return noise(bytes, seed as u64);
    }
    let line = format!("let value_{seed} = compute({seed}); // {}\n", seed * 7);
    line.repeat(bytes / line.len() + 1).into_bytes()[..bytes].to_vec()
}

fn small_operations(folder: &Path) {
    let disk = Disk::open(folder.join("small"), DiskOptions::default()).unwrap();
    let name = key(1);
    let blobs: Vec<Digest> = (0..10).map(|n| disk.put_blob_bytes(&noise(100, n)).unwrap().digest).collect();
    let alone = |name: &str, each: usize, run: &mut dyn FnMut()| {
        let times = race(51, each, [&mut |_| (0..100).for_each(|_| run())]);
        row(name, [times[0], f64::NAN, f64::NAN]);
    };
    alone("epoch", 100, &mut || assert_eq!(disk.blocking_epoch().unwrap().0, 0));
    alone("get of what is not there", 100, &mut || assert!(disk.blocking_get(&name).unwrap().is_none()));
    alone("lease and its end", 100, &mut || drop(disk.blocking_try_lease(&name).unwrap().unwrap()));
    alone("has blob", 100, &mut || assert!(disk.has_blob(blobs[0]).unwrap()));
    alone("pin 1 blob", 100, &mut || assert!(disk.pin(&blobs[..1]).unwrap().missing().is_empty()));
    alone("pin 10 blobs", 100, &mut || assert!(disk.pin(&blobs).unwrap().missing().is_empty()));
    for id in 0..KEYS / BATCH {
        let batch: Vec<Sealed> = (0..BATCH).map(|n| entry(&disk, id * BATCH + n, 1_000)).collect();
        disk.blocking_put(&batch).unwrap();
    }
    let all = Selector::all();
    alone("list the last used, an entry", 100 * KEYS, &mut || {
        assert_eq!(disk.list(&all, Order::Used, 10).unwrap().len(), 10);
    });
    let roomy = Limits { max_bytes: Some(u64::MAX), max_entries: Some(u64::MAX), ..Limits::default() };
    alone("whether a limit is exceeded", 100, &mut || assert!(!disk.exceeds(&roomy).unwrap()));
    alone("usage, an entry", 100 * KEYS, &mut || assert_eq!(disk.usage().unwrap().entries as usize, KEYS));
    let times = race(21, 1, [&mut |_| drop(disk.blocking_invalidate(&Selector::key(&name)).unwrap())]);
    row("invalidate one key", [times[0], f64::NAN, f64::NAN]);
    let limits = Limits { max_entries: Some(KEYS as u64 / 2), ..Limits::default() };
    let start = Instant::now();
    let Collected::Done(reclaimed) = disk.gc(&limits).unwrap() else { return };
    let time = start.elapsed().as_secs_f64() * 1e6 / reclaimed.evicted as f64;
    row("gc, an entry that leaves", [time, f64::NAN, f64::NAN]);
}

fn disk_use(folder: &Path, tree: &Path) {
    let cache = folder.join("use").join(Digest::of(tree.as_os_str().as_encoded_bytes()).to_string());
    let disk = Disk::open(&cache, DiskOptions::default()).unwrap();
    let (mut bytes, mut blocks, mut files) = (0, 0, 0);
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap().flatten() {
            let metadata = file.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(file.path());
            } else if metadata.is_file() && disk.put_blob_file(file.path()).unwrap().written > 0 {
                bytes += metadata.len();
                blocks += metadata.blocks() * 512;
                files += 1;
            }
        }
    }
    let (mut kept_bytes, mut kept_blocks) = (0, 0);
    for folder in fs::read_dir(cache.join("v1/blobs")).unwrap().flatten() {
        for file in fs::read_dir(folder.path()).unwrap().flatten() {
            let metadata = file.metadata().unwrap();
            kept_bytes += metadata.len();
            kept_blocks += metadata.blocks() * 512;
        }
    }
    let saved = |kept: u64, all: u64| 100.0 - 100.0 * kept as f64 / all as f64;
    println!("{files} distinct files under {}: {bytes} bytes, {blocks} in blocks", tree.display());
    println!(
        "kept: {kept_bytes} bytes, {:.0} % less; {kept_blocks} in blocks, {:.0} % less",
        saved(kept_bytes, bytes),
        saved(kept_blocks, blocks)
    );
}
