//! Strategies: in which order hosts go through the tasks of a play, and how many round trips that takes.
//!
//! A play is cut into segments, one after the other, which each batch goes through. Within a segment a host keeps the
//! order of the playbook; only whether hosts wait for each other, and what goes over the network, differs.
//!
//! Invariants, whatever the strategy:
//! - a task comes after all that it depends on, on each host;
//! - a task that concerns several hosts is reached by all of them before one of them goes on;
//! - handlers come where Ansible flushes them: after `pre_tasks`, after `tasks`, after `post_tasks`, and where a task says so.
//!
//! Not here: what can be shipped (`ship`).

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::ship::crosses;
use super::{Because, Effect, PlannedTask, PlayPlan};
use crate::compiled::Phase;
use crate::plain::Plain;
use crate::playbook::short_module;

/// What of a task's time is its round trip: an assumption, as its time is.
const TRIP_MS: u64 = 250;
/// How many bytes of a program reach a host in a millisecond: an assumption.
const BYTES_A_MS: u64 = 10_000;

/// How hosts go through the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Strategy {
    /// All hosts of a batch finish a task before the next begins.
    Linear,
    /// The same, and a play without `serial` goes in batches of as many hosts as there are forks.
    Rolling,
    /// Each host goes on as fast as it can.
    Free,
    /// The same, and a host that began is finished before another takes its place.
    HostPinned,
    /// Runs of tasks go as programs where that is worth it, the others by ssh.
    Hybrid,
    /// All tasks go as programs; one that can't is an error.
    BinaryOnly,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Linear, Self::Rolling, Self::Free, Self::HostPinned, Self::Hybrid, Self::BinaryOnly];

    /// Its name in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Rolling => "rolling",
            Self::Free => "free",
            Self::HostPinned => "host_pinned",
            Self::Hybrid => "hybrid",
            Self::BinaryOnly => "binary_only",
        }
    }

    /// Whether it ships programs.
    pub fn ships(self) -> bool {
        matches!(self, Self::Hybrid | Self::BinaryOnly)
    }
}

/// Tasks or handlers that each batch goes through before what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Segment {
    /// Their numbers in order.
    pub tasks: Vec<usize>,
    /// How hosts go through them.
    pub pace: Pace,
    /// Whether they are handlers, of which those run that were notified.
    pub is_flush: bool,
}

/// How hosts go through the tasks of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// All hosts finish a task before the next begins.
    Together,
    /// Each host goes on as fast as it can.
    Apart,
    /// The same, and a host that began is finished before another takes its place.
    Pinned,
    /// Hosts that have a binary of these tasks run it; the others go together.
    Shipped,
}

/// The segments of a play by its strategy and its binaries. Tasks that never run are in none.
pub(crate) fn segments(play: &PlayPlan) -> Vec<Segment> {
    let apart = match play.strategy.as_str() {
        "free" => Some(Pace::Apart),
        "host_pinned" => Some(Pace::Pinned),
        _ => None,
    };
    // Of each task that is shipped, the first of its program.
    let mut shipped: HashMap<usize, usize> = HashMap::new();
    for binary in play.shipping.iter().filter(|_| ships(play)).flat_map(|shipping| &shipping.binaries) {
        shipped.extend(binary.tasks.iter().map(|&task| (task, binary.tasks[0])));
    }
    let mut segments: Vec<Segment> = Vec::new();
    for section in sections(play) {
        let first = segments.len();
        for task in section.iter().filter(|task| task.effect != Effect::Never) {
            let pace = match apart {
                Some(pace) if !crosses(task, play) => pace,
                _ if shipped.contains_key(&task.id) => Pace::Shipped,
                _ => Pace::Together,
            };
            let goes_on = |segment: &&mut Segment| {
                let last = segment.tasks.last().expect("a segment has tasks");
                segment.pace == pace && shipped.get(last) == shipped.get(&task.id)
            };
            match segments[first..].last_mut().filter(goes_on) {
                Some(segment) => segment.tasks.push(task.id),
                None => segments.push(Segment { tasks: vec![task.id], pace, is_flush: false }),
            }
        }
        let tasks = notified(play, section);
        if !tasks.is_empty() {
            segments.push(Segment { tasks, pace: Pace::Together, is_flush: true });
        }
    }
    segments
}

/// Tasks between points where handlers run.
pub(super) fn sections(play: &PlayPlan) -> Vec<&[PlannedTask]> {
    let part = |task: &PlannedTask| match task.phase {
        Phase::PreTasks => 0,
        Phase::Roles | Phase::Tasks => 1,
        Phase::PostTasks => 2,
    };
    let flushes = |task: &PlannedTask| {
        let what = task.args.get("_raw_params").and_then(Plain::as_str);
        short_module(&task.module) == "meta" && what.is_some_and(|what| what.trim() == "flush_handlers")
    };
    play.tasks.chunk_by(|a, b| part(a) == part(b) && !flushes(a)).collect()
}

/// Handlers that tasks may notify, with those that these notify.
fn notified(play: &PlayPlan, section: &[PlannedTask]) -> Vec<usize> {
    let mut by: BTreeSet<usize> = section.iter().map(|task| task.id).collect();
    let mut notified = Vec::new();
    for handler in &play.handlers {
        let is_notified = |on: &super::Dependency| on.because == Because::Notify && by.contains(&on.on);
        if handler.depends_on.iter().any(is_notified) {
            by.insert(handler.id);
            notified.push(handler.id);
        }
    }
    notified
}

/// How many round trips a task takes on one host, as far as that is known beforehand: none if it never leaves the
/// controller, one for each item of a loop over a list that is written down.
pub(super) fn round_trips(task: &PlannedTask) -> usize {
    let stays = matches!(
        short_module(&task.module),
        "add_host"
            | "assert"
            | "debug"
            | "fail"
            | "group_by"
            | "include_role"
            | "include_tasks"
            | "include_vars"
            | "meta"
            | "pause"
            | "set_fact"
            | "set_stats"
            | "validate_argument_spec"
    );
    match &task.looped {
        _ if stays || task.effect == Effect::Never => 0,
        Some(looped) => looped.over.as_list().map_or(1, <[Plain]>::len),
        None => 1,
    }
}

/// What going through all tasks of a play takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Toll {
    pub(super) takes_ms: u64,
    /// What it would take without programs.
    pub(super) by_ssh_ms: u64,
    pub(super) round_trips: usize,
    /// What it would take with one for each task on each host.
    pub(super) by_ssh: usize,
}

/// What going through all tasks of a play takes, on so many hosts at a time.
pub(super) fn toll(play: &PlayPlan, forks: usize) -> Toll {
    let mut toll = Toll::default();
    let waves = |hosts: usize| hosts.div_ceil(forks.max(1)) as u64;
    for batch in &play.batches {
        for task in &play.tasks {
            let runs = task.runs_on(batch.hosts.len());
            toll.by_ssh_ms += task.estimate_ms * waves(runs);
            toll.by_ssh += round_trips(task) * runs;
        }
    }
    (toll.takes_ms, toll.round_trips) = (toll.by_ssh_ms, toll.by_ssh);
    for binary in play.shipping.iter().filter(|_| ships(play)).flat_map(|shipping| &shipping.binaries) {
        let trips: u64 = binary.tasks.iter().map(|&id| round_trips(&play.tasks[id]) as u64).sum();
        let spared = (TRIP_MS * trips.saturating_sub(1)).saturating_sub(binary.size_bytes / BYTES_A_MS);
        toll.takes_ms = toll.takes_ms.saturating_sub(spared * waves(binary.hosts.len()));
        toll.round_trips -= binary.round_trips_saved;
    }
    toll
}

/// Whether the play's strategy ships what can be shipped.
pub(super) fn ships(play: &PlayPlan) -> bool {
    Strategy::ALL.iter().any(|strategy| strategy.ships() && strategy.name() == play.strategy)
}
