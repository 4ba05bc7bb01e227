//! What making keys costs: canonical hashing of values, and the fingerprint of a task's inputs.
//!
//! Prints the least time of rounds that take turns. Canonical hashing stands beside BLAKE3 over the canonical bytes
//! alone, which is its floor, and beside JSON text hashed by BLAKE3, which depends on the order of maps and so is no
//! identity, but is what one would do without a canonical form. The
//! fingerprint of 0 to 10,000 files of 4 KiB is made cold, when each is read, and warm, when the last snapshot is
//! there; beside them reading and hashing the files one by one. Run with `cargo bench -p larder --bench keys`.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::key::{Canonical, Digest};
use larder::source::{FileSet, Scan, ScanOptions, Snapshot};
use serde::Serialize;

const ROUNDS: usize = 9;

#[derive(Serialize)]
struct Params {
    name: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    limits: Vec<u64>,
}

fn params(size: usize) -> Params {
    let text = |n: usize| format!("some text with the number {n}");
    Params {
        name: text(0),
        arguments: (0..size).map(text).collect(),
        environment: (0..size).map(|n| (format!("NAME_{n}"), text(n))).collect(),
        limits: (0..size as u64).collect(),
    }
}

/// The least time of several runs, each of `times` calls, for one call.
fn least(times: u32, mut work: impl FnMut()) -> Duration {
    let run = |_| {
        let began = Instant::now();
        (0..times).for_each(|_| work());
        began.elapsed() / times
    };
    (0..ROUNDS).map(run).min().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn values() {
    println!(
        "{:<28}{:>10}{:>12}{:>8}{:>12}{:>8}{:>12}{:>8}",
        "canonical digest", "bytes", "canonical", "MB/s", "raw BLAKE3", "ratio", "JSON text", "ratio"
    );
    for size in [1, 10, 100, 1_000] {
        let params = params(size);
        let times = 20_000 / size as u32 + 1;
        let canonical = least(times, || {
            black_box(Canonical::new().digest(black_box(&params)).expect("it has a canonical form"));
        });
        let bytes = Canonical::new().bytes(&params).expect("it has a canonical form");
        let raw = least(times, || {
            black_box(Digest::of(black_box(&bytes)));
        });
        let json = least(times, || {
            black_box(Digest::of(&serde_json::to_vec(black_box(&params)).expect("it can be written")));
        });
        let rate = bytes.len() as f64 / canonical.as_secs_f64() / 1e6;
        let [to_raw, to_json] = [raw, json].map(|one| canonical.as_secs_f64() / one.as_secs_f64());
        let (name, bytes) = (format!("{} fields", 3 * size + 1), bytes.len());
        println!(
            "{name:<28}{bytes:>10}{canonical:>12.2?}{rate:>8.0}{raw:>12.2?}{to_raw:>8.2}{json:>12.2?}{to_json:>8.2}"
        );
    }
}

fn scan(root: &Path, previous: Option<&Arc<Snapshot>>) -> Scan {
    let set = FileSet::inputs(root).patterns(["src/**"]).build().expect("the pattern is right");
    let options = ScanOptions { clock: &Clock::system(), stop: &AtomicBool::new(false), threads: None };
    set.scan(previous, &options).expect("the files can be read")
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn inputs() {
    println!("\n{:<28}{:>14}{:>14}{:>14}", "fingerprint of inputs", "warm", "cold", "read + hash");
    for count in [0, 10, 100, 1_000, 10_000] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let sources = directory.path().join("src");
        fs::create_dir(&sources).expect("it can be written to");
        let paths: Vec<_> = (0..count).map(|n| sources.join(format!("file_{n:05}"))).collect();
        for (n, path) in paths.iter().enumerate() {
            fs::write(path, format!("{n:08}").repeat(512)).expect("it can be written to");
        }
        // Younger files are read again, whatever their stamps say.
        std::thread::sleep(Duration::from_millis(2_100));
        let snapshot = scan(directory.path(), None).snapshot;
        let warm = least(3, || drop(black_box(scan(directory.path(), Some(&snapshot)))));
        let cold = least(1, || drop(black_box(scan(directory.path(), None))));
        let floor = least(1, || {
            for path in &paths {
                black_box(Digest::of(&fs::read(path).expect("it is there")));
            }
        });
        println!("{:<28}{warm:>14.2?}{cold:>14.2?}{floor:>14.2?}", format!("{count} files of 4 KiB"));
    }
}

fn main() {
    values();
    inputs();
}
