//! Histories of playbooks: how many plays of each commit need not be compiled.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use larder::clock::Clock;
use larder::config::{Machine, Mode, Settings};
use larder::engine::{Larder, Opened};
use larder::key::Scope;
use larder::stats::Computed;
use larder_ansible::compiled::CompiledPlay;
use larder_ansible::planner::Planner;
use larder_ansible::query::Options;

use super::checkout::Checkout;

/// The kind of query that compiles a play.
const COMPILING: &str = "ansible.compile@";

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Commits.
    pub commits: usize,
    /// Playbooks that were planned, once for each commit that has them.
    pub playbooks: usize,
    /// Playbooks that can't be planned, likewise.
    pub refused: usize,
    /// Plays in all those plans.
    pub plays: u64,
    /// Plays that had to be compiled, as nothing that was kept held.
    pub compiled: u64,
    /// Time that planning with the cache took.
    pub kept: Duration,
    /// Time that planning without took.
    pub fresh: Duration,
}

/// The plans of some playbooks, or what is wrong with them.
type Plans = Vec<Result<Vec<CompiledPlay>, String>>;

/// Files that may be playbooks: they have plays in them, by the look of it.
fn playbooks(checkout: &Checkout) -> Result<Vec<String>> {
    let files = checkout.git(&["ls-files", "*.yml", "*.yaml"])?;
    let is_playbook = |file: &&str| {
        let text = std::fs::read_to_string(checkout.path().join(file)).unwrap_or_default();
        text.lines().any(|line| line.starts_with("- hosts:") || line.starts_with("  hosts:"))
    };
    Ok(files.lines().filter(is_playbook).map(str::to_owned).collect())
}

/// Plans playbooks and returns what came of it, how long it took and how many plays were compiled.
fn plan(settings: &Settings, root: &Path, playbooks: &[String]) -> Result<(Plans, Duration, u64)> {
    let began = Instant::now();
    let machine = Machine::probe(Path::new("/"));
    let opened: Opened = Larder::open(settings, &machine, Clock::system(), "replay");
    if let Some(problem) = opened.problem {
        bail!(problem);
    }
    let planner = Planner::new(&opened.larder, &Scope::new("replay")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plans = runtime.block_on(async {
        let view = planner.view(root);
        let mut plans = Plans::new();
        for playbook in playbooks {
            let plan = view.plays(playbook, &Options::default()).await;
            plans.push(plan.map_err(|problem| problem.to_string()));
        }
        drop(view);
        opened.larder.close().await;
        plans
    });
    let took = began.elapsed();
    let report = opened.larder.stats().report();
    let compiling = report.kinds.iter().find(|(kind, _)| kind.starts_with(COMPILING));
    let finished = compiling.and_then(|(_, figures)| figures.computations.get(&Computed::Finished).copied());
    Ok((plans, took, finished.unwrap_or(0)))
}

/// Replays the last `commits` of a repository. Blocks, for about as long as git takes to check them out.
pub fn replay(repository: &Path, commits: usize) -> Result<Replayed> {
    let (checkout, cache) = (Checkout::of(repository)?, tempfile::tempdir()?);
    let root: PathBuf = checkout.path().canonicalize()?;
    let kept = Settings::new(cache.path().to_owned());
    let fresh = Settings { mode: Mode::Off, ..kept.clone() };
    let mut all = Replayed::default();
    for commit in checkout.commits(commits)? {
        checkout.turn_to(&commit)?;
        let playbooks = playbooks(&checkout)?;
        let (plans, took, compiled) = plan(&kept, &root, &playbooks)?;
        let (wanted, took_fresh, _) = plan(&fresh, &root, &playbooks)?;
        for ((playbook, is), wanted) in playbooks.iter().zip(&plans).zip(&wanted) {
            ensure!(is == wanted, "the plan of {playbook} at {commit} is not what planning anew gives");
            all.plays += is.as_ref().map_or(0, |plays| plays.len() as u64);
            all.refused += usize::from(is.is_err());
        }
        all.commits += 1;
        all.playbooks += playbooks.len();
        all.compiled += compiled;
        all.kept += took;
        all.fresh += took_fresh;
    }
    Ok(all)
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} commits, {} playbooks, of which {} can't be planned",
            self.commits, self.playbooks, self.refused
        )?;
        if self.plays > 0 {
            let reused = self.plays.saturating_sub(self.compiled) as f64 / self.plays as f64 * 100.0;
            writeln!(f, "{} plays, {} compiled, {reused:.1} % reused", self.plays, self.compiled)?;
        }
        let (kept, fresh) = (self.kept.as_secs_f64(), self.fresh.as_secs_f64());
        write!(f, "{kept:.2} s with the cache, {fresh:.2} s without ({:.2})", kept / fresh)
    }
}
