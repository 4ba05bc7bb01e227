//! `cargo xtask servers`: what one larder server takes, and how it compares with nginx serving files, with buildbox-casd,
//! and with the cache that Bazel has on disk.
//!
//! Everything runs on this machine, clients included, so that they compete with what they measure. Trust ratios within
//! one run, and memory.
//! Not here: how a client speaks (`client`), how programs are started (`running`).

mod bazel;
mod calls;
mod client;
mod rates;
mod running;
mod small;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::client::{Client, bytes};
use self::running::Running;
use crate::compare;
use crate::workspace::Workspace;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these measurements.
    #[arg(long)]
    only: Vec<Measurement>,
    /// How long the mixed load lasts.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How much is streamed each way, in GiB.
    #[arg(long, default_value_t = 5)]
    gibibytes: u64,
    /// How many clients there are at once.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// How often reads and writes, and restored builds, are compared.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// This larder instead of one that is built for the purpose.
    #[arg(long)]
    larder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// Many clients at once.
    Clients,
    /// Large contents, streamed.
    Stream,
    /// Small reads and writes against nginx.
    Small,
    /// Small reads and writes over gRPC against buildbox-casd.
    Calls,
    /// Bazel restoring outputs, against its own disk cache.
    Bazel,
    /// A mixed load, with memory over time.
    Mixed,
}

pub(crate) fn measure(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let larder = match &arguments.larder {
        Some(program) => program.canonicalize()?,
        None => compare::build_larder(workspace)?,
    };
    let scratch = tempfile::Builder::new().prefix("servers-").tempdir_in(workspace.root.join("target"))?;
    let wanted = |one| arguments.only.is_empty() || arguments.only.contains(&one);
    let serve = |name: &str| Running::larder(&larder, &scratch.path().join(name));
    if wanted(Measurement::Clients) {
        clients(&serve("clients")?, arguments.clients)?;
    }
    if wanted(Measurement::Stream) {
        stream(&serve("stream")?, arguments.gibibytes)?;
    }
    if wanted(Measurement::Small) {
        small::compare(workspace, &serve("small")?, &scratch.path().join("nginx"), arguments.rounds)?;
    }
    if wanted(Measurement::Calls) {
        calls::compare(workspace, &serve("calls")?, &scratch.path().join("casd"), arguments.rounds)?;
    }
    if wanted(Measurement::Bazel) {
        bazel::compare(workspace, &serve("bazel")?, &scratch.path().join("bazels"), arguments.rounds)?;
    }
    if wanted(Measurement::Mixed) {
        mixed(&serve("mixed")?, Duration::from_secs(60 * arguments.minutes))?;
    }
    Ok(())
}

/// How much each client asks for.
const ASKED: usize = 50;

/// All clients are connected before the first of them asks.
fn clients(server: &Running, count: usize) -> Result<()> {
    let body = bytes(1, 4096);
    let mut first = Client::connect(server.address)?;
    ensure!(first.put("/ccache/one", &body)? < 300, "it is not taken");
    let mut connected = Vec::with_capacity(count);
    for _ in 0..count {
        connected.push(Client::connect(server.address)?);
    }
    let errors = AtomicU64::new(0);
    let began = Instant::now();
    thread::scope(|scope| -> Result<()> {
        for mut client in connected {
            let (body, errors) = (&body, &errors);
            let work = move || {
                for _ in 0..ASKED {
                    match client.get("/ccache/one") {
                        Ok(200) if client.body() == *body => {}
                        _ => drop(errors.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            };
            thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, work)?;
        }
        Ok(())
    })?;
    let took = began.elapsed().as_secs_f64();
    let (asked, errors) = (count * ASKED, errors.into_inner());
    println!(
        "clients: {count} at once asked {asked} times, {errors} errors, {:.0} a second, memory {}",
        asked as f64 / took,
        server.memory()?
    );
    ensure!(errors == 0, "{errors} requests failed");
    Ok(())
}

/// Large contents up and down again.
fn stream(server: &Running, gibibytes: u64) -> Result<()> {
    let mut client = Client::connect(server.address)?;
    let began = Instant::now();
    for nth in 0..gibibytes {
        // One name, so that the disk need not hold all of it.
        ensure!(client.put_many("/ccache/large", nth, 1 << 30)? < 300, "it is not taken");
        let up = began.elapsed();
        ensure!(client.get_many("/ccache/large", nth, 1 << 30)? == 200, "it is not given");
        println!(
            "stream: {} GiB each way after {:.0} s, the last one down in {:.1} s, memory {}",
            nth + 1,
            began.elapsed().as_secs_f64(),
            (began.elapsed() - up).as_secs_f64(),
            server.memory()?
        );
    }
    Ok(())
}

/// How many clients the mixed load has.
const MIXED: u64 = 8;
/// How many different names are written.
const NAMES: u64 = 20_000;

/// Reads, writes and misses for a while.
fn mixed(server: &Running, lasts: Duration) -> Result<()> {
    let (ended, asked, errors) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        for nth in 0..MIXED {
            let (ended, asked, errors) = (&ended, &asked, &errors);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let outcome = load(server.address, nth, ended, asked);
                    if outcome.is_err() {
                        errors.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let told = report(server, lasts, &asked, &errors);
        ended.store(true, Ordering::Relaxed);
        told
    })?;
    ensure!(errors.load(Ordering::Relaxed) == 0, "some requests failed");
    Ok(())
}

/// Tells in twenty lines how it goes.
fn report(server: &Running, lasts: Duration, asked: &AtomicU64, errors: &AtomicU64) -> Result<()> {
    let (began, step) = (Instant::now(), lasts / 20);
    for nth in 1..=20 {
        thread::sleep((step * nth).saturating_sub(began.elapsed()));
        println!(
            "mixed: after {:4.0} s {} requests, {} errors, memory {}",
            began.elapsed().as_secs_f64(),
            asked.load(Ordering::Relaxed),
            errors.load(Ordering::Relaxed),
            server.memory()?
        );
    }
    Ok(())
}

/// What one client does: six reads in ten, three writes, one look for what is not there.
fn load(address: SocketAddr, seed: u64, ended: &AtomicBool, asked: &AtomicU64) -> Result<()> {
    let mut client = Client::connect(address)?;
    let mut state = seed + 1;
    while !ended.load(Ordering::Relaxed) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (what, name) = ((state >> 33) % 10, (state >> 40) % NAMES);
        let length = [300, 2000, 9000, 40_000, 300_000][(name % 5) as usize];
        match what {
            0..6 => {
                let status = client.get(&format!("/ccache/{name}"))?;
                ensure!(status == 404 || client.body() == bytes(name, length), "other bytes of {name}");
            }
            6..9 => ensure!(client.put(&format!("/ccache/{name}"), &bytes(name, length))? < 300, "not taken"),
            _ => ensure!(client.get(&format!("/ccache/none/{name}"))? == 404, "it is nowhere"),
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A directory that is new.
fn fresh(path: &Path) -> Result<()> {
    Ok(std::fs::create_dir_all(path)?)
}
