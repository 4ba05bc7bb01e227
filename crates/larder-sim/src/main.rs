//! `larder-sim replay --traces DIR`: hit ratios and compute saved, by policy, rival and trace.

use std::io::{Write as _, stdout};
use std::num::NonZero;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use larder::policy::PolicyName;
use larder_sim::formats;
use larder_sim::ours::{Bare, Tier};
use larder_sim::reference::{Belady, Counting, ExactGdsf};
use larder_sim::replay::{Cache, replay};
use larder_sim::report::Table;
use larder_sim::rivals::Rival;
use larder_sim::trace::Trace;

#[derive(Parser)]
#[command(name = "larder-sim", about = "Replays request traces through eviction policies")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replay all traces of a folder and print hit ratios and compute saved.
    Replay {
        /// The folder. `formats.rs` tells which files it may hold and where they are published.
        #[arg(long)]
        traces: PathBuf,
        /// Only traces whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
        /// Capacities as shares of what all different keys take together.
        #[arg(long, value_delimiter = ',', default_values_t = [0.01, 0.1])]
        shares: Vec<f64>,
        /// Spread of the costs that are drawn: standard deviation of the natural logarithm.
        #[arg(long, default_value_t = 2.0)]
        sigma: f64,
        /// Leave the rivals out.
        #[arg(long)]
        ours_only: bool,
    },
}

fn main() -> Result<()> {
    let Command::Replay { traces, only, shares, sigma, ours_only } = Arguments::parse().command;
    let mut traces = formats::read_folder(&traces)?;
    traces.retain(|trace| trace.name.contains(&only));
    let rivals = if ours_only { &[][..] } else { &Rival::ALL };
    let mut out = stdout().lock();
    for share in shares {
        writeln!(out, "\nHit ratio in percent, capacity {} %, equal costs\n", share * 100.0)?;
        let runs = hit_runs(rivals);
        let mut table = Table::new(["trace"].into_iter().chain(runs.iter().map(|run| run.name.as_str())));
        for trace in &traces {
            let costs = vec![1_000_000; trace.keys];
            table.row(row(trace, share, &costs, &runs, |tally| tally.hit_percent()));
        }
        table.means();
        writeln!(out, "{}", table.text())?;
        writeln!(out, "Compute saved in percent, capacity {} %, costs of spread {sigma}\n", share * 100.0)?;
        let runs = cost_runs(rivals);
        let mut table = Table::new(["trace"].into_iter().chain(runs.iter().map(|run| run.name.as_str())));
        for trace in &traces {
            let costs = trace.costs_or_drawn(sigma);
            table.row(row(trace, share, &costs, &runs, |tally| tally.saved_percent()));
        }
        table.means();
        writeln!(out, "{}", table.text())?;
    }
    Ok(())
}

/// A column of a table: how to make the cache for a trace and a capacity, if that can be.
struct Run {
    name: String,
    make: Make,
}

type Make = Box<dyn Fn(&Trace, u64) -> Option<Box<dyn Cache>>>;

impl Run {
    fn new(name: &str, make: impl Fn(&Trace, u64) -> Box<dyn Cache> + 'static) -> Self {
        Self { name: name.to_owned(), make: Box::new(move |trace, capacity| Some(make(trace, capacity))) }
    }

    fn policy(name: PolicyName) -> Self {
        Self::new(name.as_str(), move |trace, capacity| Box::new(Bare::named(name, capacity, trace.keys)))
    }

    /// The memory tier, cut into shards as if two threads used it.
    fn tier(policy: PolicyName) -> Self {
        let shards = NonZero::new(8).unwrap_or(NonZero::<usize>::MIN);
        Self::new(&format!("tier {policy}"), move |_, capacity| Box::new(Tier::new(policy, capacity, shards)))
    }

    fn rival(rival: Rival) -> Self {
        let make = move |trace: &Trace, capacity: u64| {
            let entries = (trace.keys as u64 * capacity / trace.footprint.max(1)) as usize;
            rival.build(capacity, entries.max(1), trace.is_uniform())
        };
        Self { name: rival.name().to_owned(), make: Box::new(make) }
    }
}

fn hit_runs(rivals: &[Rival]) -> Vec<Run> {
    let mut runs: Vec<Run> = PolicyName::ALL.map(Run::policy).into_iter().collect();
    runs.push(Run::tier(PolicyName::S3Fifo));
    runs.extend(rivals.iter().copied().map(Run::rival));
    runs.push(Run::new("gdsf", |trace, capacity| Box::new(Bare::gdsf(capacity, trace.keys))));
    runs.push(Run::new("exact gdsf", |trace, capacity| {
        Box::new(ExactGdsf::new(Counting::Uses, capacity, trace.keys))
    }));
    runs.push(Run::new("belady", |trace, capacity| Box::new(Belady::new(trace, capacity))));
    runs
}

fn cost_runs(rivals: &[Rival]) -> Vec<Run> {
    let mut runs: Vec<Run> = PolicyName::ALL.map(Run::policy).into_iter().collect();
    runs.push(Run::tier(PolicyName::Cost));
    runs.extend(rivals.iter().copied().map(Run::rival));
    runs.push(Run::new("gdsf", |trace, capacity| Box::new(Bare::gdsf(capacity, trace.keys))));
    runs.push(Run::new("exact gdsf", |trace, capacity| {
        Box::new(ExactGdsf::new(Counting::Cost, capacity, trace.keys))
    }));
    runs
}

fn row(
    trace: &Trace,
    share: f64,
    costs: &[u64],
    runs: &[Run],
    measure: impl Fn(larder_sim::replay::Tally) -> f64,
) -> Vec<String> {
    let capacity = trace.capacity(share);
    let mut cells = vec![trace.name.clone()];
    cells.extend(runs.iter().map(|run| match (run.make)(trace, capacity) {
        Some(mut cache) => format!("{:.1}", measure(replay(trace, costs, &mut *cache))),
        None => "-".to_owned(),
    }));
    cells
}
