//! `larder-sim replay --traces DIR`: hit ratios and compute saved, by policy, rival and trace.
//! `larder-sim known --traces DIR`: whether policies miss as often as independent simulators count.
//! `larder-sim plans --repository DIR`: how much of its plans each commit takes over from those before.
//! `larder-sim tasks --repository DIR`: how many of its tasks each commit is given back.

use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use larder::policy::PolicyName;
use larder_sim::ours::{Bare, Tier};
use larder_sim::percents::{Comparison, Percents};
use larder_sim::reference::{Belady, Counting, ExactGdsf};
use larder_sim::replay::{Cache, Tally, replay};
use larder_sim::{formats, history, known};

use larder_sim::rivals::Rival;
use larder_sim::trace::Trace;

#[derive(Parser)]
#[command(
    name = "larder-sim",
    about = "Replays request traces through eviction policies, and histories of repositories through planner and tasks"
)]
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
        #[arg(long, value_delimiter = ',', default_values_t = [0.01, 0.03, 0.1, 0.3])]
        shares: Vec<f64>,
        /// Spread of the costs that are drawn: standard deviation of the natural logarithm.
        #[arg(long, default_value_t = 2.0)]
        sigma: f64,
        /// Leave the rivals out.
        #[arg(long)]
        ours_only: bool,
    },
    /// Compare the misses of policies with those that are known for one public trace.
    Known {
        /// A folder that has `cloudPhysicsIO.oracleGeneral.bin`.
        #[arg(long)]
        traces: PathBuf,
    },
    /// Plan the playbooks of each commit of a repository, with what earlier commits left and with nothing kept.
    Plans {
        /// The repository, with or without files checked out; it is left as it is.
        #[arg(long)]
        repository: PathBuf,
        /// How many of the last commits.
        #[arg(long, default_value_t = 300)]
        commits: usize,
    },
    /// Run all tasks of each commit of a repository, with what earlier commits left and with nothing kept.
    Tasks {
        /// The repository, with or without files checked out; it is left as it is.
        #[arg(long)]
        repository: PathBuf,
        /// How many of the last commits.
        #[arg(long, default_value_t = 300)]
        commits: usize,
        /// The root's `larder.toml` in each commit, or a directory of such files that lie in it as they do in the
        /// workspace; otherwise each commit has its own.
        #[arg(long)]
        definition: Option<PathBuf>,
        /// Print a line for each commit, too.
        #[arg(long)]
        each: bool,
    },
}

fn main() -> Result<()> {
    let (traces, only, shares, sigma, ours_only) = match Arguments::parse().command {
        Command::Plans { repository, commits } => {
            writeln!(stdout(), "{}", history::plans::replay(&repository, commits)?)?;
            return Ok(());
        }
        Command::Tasks { repository, commits, definition, each } => {
            let told = |commit: &history::tasks::Commit| -> Result<()> {
                if each {
                    writeln!(stdout(), "{commit}")?;
                }
                Ok(())
            };
            let replayed = history::tasks::replay(&repository, commits, definition.as_deref(), told)?;
            writeln!(stdout(), "{replayed}")?;
            return Ok(());
        }
        Command::Known { traces } => return known(&traces),
        Command::Replay { traces, only, shares, sigma, ours_only } => {
            (traces, only, shares, sigma, ours_only)
        }
    };
    let mut traces = formats::read_folder(&traces)?;
    traces.retain(|trace| trace.name.contains(&only));
    ensure!(!traces.is_empty(), "no trace whose name contains {only:?}");
    let rivals = if ours_only { &[][..] } else { &Rival::ALL };
    let rival_names: Vec<&str> = rivals.iter().map(|rival| rival.name()).collect();
    let mut out = stdout().lock();
    let mut verdicts = String::new();
    for share in shares {
        let percent = share * 100.0;
        writeln!(out, "\nHit ratio in percent, capacity {percent} %, equal costs\n")?;
        let equal = |trace: &Trace| vec![1_000_000; trace.keys];
        let table = fill(&traces, share, &hit_runs(rivals), equal, Tally::hit_percent);
        writeln!(out, "{}", table.text())?;
        if !rivals.is_empty() {
            let comparison = table.compare(TIER, &rival_names);
            writeln!(out, "Larder as it is by default against the best rival\n\n{}", comparison.text())?;
            verdicts += &hit_verdict(percent, &comparison);
        }
        writeln!(out, "Compute saved in percent, capacity {percent} %, costs of spread {sigma}\n")?;
        let costs = |trace: &Trace| trace.costs_or_drawn(sigma);
        let table = fill(&traces, share, &cost_runs(rivals), costs, Tally::saved_percent);
        writeln!(out, "{}", table.text())?;
        let comparison = table.compare(TIER, &[EXACT]);
        writeln!(out, "Larder as it is by default against exact GDSF\n\n{}", comparison.text())?;
        verdicts += &saved_verdict(percent, &comparison);
    }
    write!(out, "Verdicts\n\n{verdicts}")?;
    Ok(())
}

fn known(folder: &Path) -> Result<()> {
    let path = folder.join(known::FILE);
    let trace = formats::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let trace = trace.with_context(|| format!("{} is no trace", path.display()))?;
    let all = known::compare(&trace);
    for one in &all {
        writeln!(stdout(), "{one}")?;
    }
    ensure!(all.iter().all(known::Comparison::is_met), "a policy misses another number of times");
    Ok(())
}

/// How far compute saved may be below exact GDSF, in points.
const ALLOWED: f64 = 1.0;
/// The column of what a user gets who configures nothing: the default policy in the memory tier.
const TIER: &str = "tier cost";
const EXACT: &str = "exact gdsf";

/// Whether the mean is at least the best rival's.
fn hit_verdict(percent: f64, comparison: &Comparison) -> String {
    let mean = comparison.mean();
    let kept = if mean.difference() >= 0.0 { "kept" } else { "MISSED" };
    format!(
        "- hit ratio at {percent} %, {}: {:.2}, best rival {} {:.2}, {:+.2} points: {kept}\n",
        mean.name,
        mean.ours,
        mean.who,
        mean.other,
        mean.difference()
    )
}

/// Whether the mean, and each trace, is within [`ALLOWED`] of the reference.
fn saved_verdict(percent: f64, comparison: &Comparison) -> String {
    let mean = comparison.mean();
    let worst = comparison.lines.iter().min_by(|a, b| a.difference().total_cmp(&b.difference()));
    let worst = worst.unwrap_or(mean);
    let kept = if worst.difference() >= -ALLOWED { "kept" } else { "MISSED" };
    format!(
        "- compute saved at {percent} %, {}: {:.2}, exact GDSF {:.2}, {:+.2} points, at worst {:+.2} ({}): {kept}\n",
        mean.name,
        mean.ours,
        mean.other,
        mean.difference(),
        worst.difference(),
        worst.name
    )
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

    /// The memory tier, cut into as many shards as it chooses for so many entries and two threads.
    fn tier(policy: PolicyName) -> Self {
        let make = move |trace: &Trace, capacity: u64| -> Box<dyn Cache> {
            Box::new(Tier::new(policy, capacity, Tier::shards(entries(trace, capacity) as u64)))
        };
        Self::new(&format!("tier {policy}"), make)
    }

    fn rival(rival: Rival) -> Self {
        let make = move |trace: &Trace, capacity: u64| {
            rival.build(capacity, entries(trace, capacity), trace.is_uniform())
        };
        Self { name: rival.name().to_owned(), make: Box::new(make) }
    }
}

fn hit_runs(rivals: &[Rival]) -> Vec<Run> {
    let mut runs: Vec<Run> = PolicyName::ALL.map(Run::policy).into_iter().collect();
    runs.push(Run::tier(PolicyName::Cost));
    runs.extend(rivals.iter().copied().map(Run::rival));
    runs.push(Run::new("gdsf", |trace, capacity| Box::new(Bare::gdsf(capacity, trace.keys))));
    runs.push(Run::new(EXACT, |trace, capacity| {
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
    runs.push(Run::new(EXACT, |trace, capacity| {
        Box::new(ExactGdsf::new(Counting::Cost, capacity, trace.keys))
    }));
    runs
}

/// About how many entries of a trace a capacity holds; at least 1.
fn entries(trace: &Trace, capacity: u64) -> usize {
    (trace.keys as u64 * capacity / trace.footprint.max(1)).max(1) as usize
}

fn fill(
    traces: &[Trace],
    share: f64,
    runs: &[Run],
    costs: impl Fn(&Trace) -> Vec<u64>,
    measure: impl Fn(&Tally) -> f64,
) -> Percents {
    let mut table = Percents::new(runs.iter().map(|run| run.name.as_str()));
    for trace in traces {
        let (capacity, costs) = (trace.capacity(share), costs(trace));
        let cell = |run: &Run| Some(measure(&replay(trace, &costs, &mut *(run.make)(trace, capacity)?)));
        table.row(&trace.name, runs.iter().map(cell).collect());
    }
    table
}
