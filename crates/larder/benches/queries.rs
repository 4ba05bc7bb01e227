//! What verifying kept answers costs, against the system calls that it can't do without, in one run.
//!
//! `cargo bench -p larder --bench queries` prints, for a project of 2,000 files, the median and the least of rounds
//! that are taken in turns, in milliseconds, and the ratio of the medians to the floor's. The floor asks for the stat
//! data of each file on its directory's descriptor and does nothing with it. Each round verifies in a new session:
//! once with the traces in memory, once with a watch besides, once with an engine that has just been opened on the disk
//! tier. Then follow graphs of up to a million queries, computed and verified in memory; `LARDER_BENCH_MILLION=0`
//! leaves them out.

#![allow(clippy::print_stdout, reason = "its output is what a benchmark is for")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::config::{Amount, ByteSize, Machine, Settings};
use larder::engine::{Context, Larder, LookError, Opened, Outside, Queries, Query, Watch};
use larder::key::Scope;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use serde::{Deserialize, Serialize};

const DIRECTORIES: usize = 100;
const FILES: usize = 20;
const ROUNDS: usize = 31;

/// The length of all files, each read by this query itself.
#[derive(Serialize, Deserialize)]
struct Whole;

impl Query for Whole {
    type Output = u64;
    type Error = LookError;
    const KIND: &'static str = "whole";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, LookError> {
        let mut sum = 0;
        for directory in 0..DIRECTORIES {
            for file in 0..FILES {
                sum += cx.read(path(directory, file)).await?.map_or(0, |content| content.len() as u64);
            }
        }
        Ok(sum)
    }
}

/// The length of one file.
#[derive(Serialize, Deserialize)]
struct Length(String);

impl Query for Length {
    type Output = u64;
    type Error = LookError;
    const KIND: &'static str = "length";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, LookError> {
        Ok(cx.read(&self.0).await?.map_or(0, |content| content.len() as u64))
    }
}

/// The length of all files that there are, each read by a query of its own.
#[derive(Serialize, Deserialize)]
struct Parts;

impl Query for Parts {
    type Output = u64;
    type Error = LookError;
    const KIND: &'static str = "parts";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, LookError> {
        let files = cx.glob(["**/*.txt"]).await?;
        let lengths = cx.get_all(files.iter().map(|file| Length(file.to_string()))).await;
        Ok(lengths.into_iter().map(|length| length.expect("a file can be read").value).sum())
    }
}

/// A node of a layered graph: it asks for some of the layer below, and the lowest for one variable.
#[derive(Serialize, Deserialize)]
struct Node {
    layer: u32,
    at: u32,
    width: u32,
}

impl Query for Node {
    type Output = u64;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "node";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, Self::Error> {
        let Some(layer) = self.layer.checked_sub(1) else {
            return Ok(cx.env(&format!("V{}", self.at % 64)).map_or(1, |value| value.len() as u64));
        };
        let mut sum = 1;
        for step in [0, 1, 7] {
            let below = Self { layer, at: (self.at + step) % self.width, width: self.width };
            sum += cx.get(below).await.map_or(0, |node| node.value % 1000);
        }
        Ok(sum)
    }
}

/// All nodes of the highest layer.
#[derive(Serialize, Deserialize)]
struct Top {
    layers: u32,
    width: u32,
}

impl Query for Top {
    type Output = u64;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "top";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, Self::Error> {
        let nodes = (0..self.width).map(|at| Node { layer: self.layers - 1, at, width: self.width });
        Ok(cx.get_all(nodes).await.into_iter().flatten().map(|node| node.value).sum())
    }
}

fn path(directory: usize, file: usize) -> String {
    format!("source/module_{directory:02}/file_{file:02}.txt")
}

fn main() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    // `cargo test --all-targets` runs benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (root, cache) = (temporary.path().join("project"), temporary.path().join("cache"));
    for directory in 0..DIRECTORIES {
        fs::create_dir_all(root.join(format!("source/module_{directory:02}"))).expect("a directory");
        for file in 0..FILES {
            fs::write(root.join(path(directory, file)), [b'x'; 4096]).expect("a file");
        }
    }
    // Stamps settle, so that they are believed.
    std::thread::sleep(Duration::from_millis(2_100));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(project(&root, &cache));
    if std::env::var_os("LARDER_BENCH_MILLION").is_none_or(|wanted| wanted != "0") {
        for (layers, width) in [(100, 100), (1_000, 100), (1_000, 1_000)] {
            runtime.block_on(graph(layers, width));
        }
    }
}

fn open(cache: &Path, memory_bytes: u64) -> (Opened, Queries) {
    let mut settings = Settings::new(cache.to_owned());
    settings.memory.budget = Some(Amount::Bytes(ByteSize(memory_bytes)));
    let opened = Larder::open(&settings, &Machine::probe(Path::new("/")), Clock::system(), "bench");
    let queries = Queries::new(&opened.larder, &Scope::new("bench").expect("well formed"));
    let queries = queries.with::<Whole>().and_then(Queries::with::<Length>).and_then(Queries::with::<Parts>);
    let queries = queries.and_then(Queries::with::<Node>).and_then(Queries::with::<Top>);
    (opened, queries.expect("kinds differ"))
}

async fn project(root: &PathBuf, cache: &Path) {
    let (opened, queries) = open(cache, 256 << 20);
    let (outside, watch) = (Outside::new(root), Watch::new());
    let watched = outside.clone().watched(&watch);
    for _ in 0..2 {
        queries.session(watched.clone()).get(Parts).await.expect("files can be read");
        queries.session(outside.clone()).get(Whole).await.expect("files can be read");
        queries.session(outside.clone()).get(Parts).await.expect("files can be read");
    }
    opened.close().await;
    let mut times: Vec<(&str, Vec<Duration>)> = Vec::new();
    let mut note = |case: &'static str, took: Duration| match times.iter_mut().find(|(name, _)| *name == case)
    {
        Some((_, times)) => times.push(took),
        None => times.push((case, vec![took])),
    };
    for _ in 0..ROUNDS {
        let began = Instant::now();
        floor(root);
        note("floor: fstatat of each file", began.elapsed());

        let began = Instant::now();
        black_box(queries.session(outside.clone()).get(Whole).await.is_ok());
        note("one query that read them, in memory", began.elapsed());
        let began = Instant::now();
        black_box(queries.session(outside.clone()).get(Parts).await.is_ok());
        note("a query a file, in memory", began.elapsed());

        let began = Instant::now();
        black_box(queries.session(watched.clone()).get(Whole).await.is_ok());
        note("one query that read them, watched", began.elapsed());
        let began = Instant::now();
        black_box(queries.session(watched.clone()).get(Parts).await.is_ok());
        note("a query a file, watched", began.elapsed());

        let began = Instant::now();
        let (_opened, queries) = open(cache, 256 << 20);
        let opening = began.elapsed();
        let began = Instant::now();
        black_box(queries.session(outside.clone()).get(Whole).await.is_ok());
        note("one query that read them, from disk", began.elapsed());
        note("(opening an engine)", opening);
        let (_opened, queries) = open(cache, 256 << 20);
        let began = Instant::now();
        black_box(queries.session(outside.clone()).get(Parts).await.is_ok());
        note("a query a file, from disk", began.elapsed());
    }
    println!("verifying a project of {} files: median, least, ratio to the floor", DIRECTORIES * FILES);
    let mut base = None;
    for (case, mut times) in times {
        times.sort_unstable();
        let (median, least) = (times[times.len() / 2], times[0]);
        let ratio = median.as_secs_f64() / base.get_or_insert(median).as_secs_f64();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        println!("  {case:40} {:8.2} {:8.2} {ratio:8.2}", millis(median), millis(least));
    }
}

fn floor(root: &Path) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for directory in 0..DIRECTORIES {
        let path = root.join(format!("source/module_{directory:02}"));
        let directory = openat(CWD, &path, flags, Mode::empty()).expect("a directory");
        for file in 0..FILES {
            let name = format!("file_{file:02}.txt");
            black_box(statat(&directory, &name, AtFlags::empty()).expect("a file"));
        }
    }
}

/// Resident memory in MiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

async fn graph(layers: u32, width: u32) {
    let clock = Clock::system();
    let stats = larder::stats::Stats::new(larder::stats::StatsOptions::default(), clock.clone());
    let mut options = larder::engine::LarderOptions::new(clock, stats);
    let threads = std::num::NonZero::new(2).expect("not zero");
    let limits = larder::tier::memory::Limits::bytes(4 << 30);
    options.memory = Some(larder::tier::memory::Config::new(limits, threads, 0));
    let larder = Larder::new(options);
    let queries = Queries::new(&larder, &Scope::new("bench").expect("well formed"));
    let queries = queries.with::<Node>().and_then(Queries::with::<Top>).expect("kinds differ");
    let nodes = u64::from(layers) * u64::from(width);
    println!("a graph of {nodes} queries, three edges each, {layers} deep: microseconds a query, memory");
    for what in ["computed", "by its traces", "by its ground"] {
        let began = Instant::now();
        let session = queries.session(Outside::new("/"));
        let top = Top { layers, width };
        // An explanation goes by the traces; where there are too many queries for a ground, so does asking.
        let done = if what == "by its traces" {
            session.explain(top).await.is_ok()
        } else {
            session.get(top).await.is_ok()
        };
        black_box(done);
        let each = began.elapsed().as_secs_f64() * 1e6 / nodes as f64;
        println!("  {what:16} {each:6.2} us, {} MiB resident with the session", resident());
    }
    let usage = larder.memory_usage().expect("memory is on");
    println!("  memory tier: {} entries, {} MiB", usage.entries, usage.bytes >> 20);
}
