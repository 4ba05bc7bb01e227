//! How long a plan is assumed to take, task by task: `--estimate`.
//!
//! Sums of the assumptions that stand in the plan, which are of modules and not measured. A task runs on as many hosts at
//! a time as there are forks. Handlers are told apart, as which of them run is not known beforehand.
//! Not here: what is assumed of a module (`module`).

use std::fmt;

use serde::Serialize;

use super::text::{counted, described, duration};
use super::{ExecutionPlan, PlannedTask, PlayPlan, schedule};

/// How long plays are assumed to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// On how many hosts a task runs at once.
    pub forks: usize,
    /// The plays in order.
    pub plays: Vec<PlayEstimate>,
    /// All tasks of all plays, in milliseconds.
    pub tasks_ms: u64,
    /// How much of that programs save that are shipped, in milliseconds.
    pub shipped_ms: u64,
    /// How long compiling those takes beforehand, in milliseconds.
    pub compile_ms: u64,
    /// All handlers, if each is notified on each host, in milliseconds.
    pub handlers_ms: u64,
}

/// How long a play is assumed to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlayEstimate {
    /// Its name.
    pub name: String,
    /// Its tasks in order.
    pub tasks: Vec<TaskEstimate>,
    /// Its handlers.
    pub handlers: Vec<TaskEstimate>,
}

/// How long a task is assumed to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskEstimate {
    /// Its number in the play.
    pub id: usize,
    /// How the plan's text describes it.
    pub task: String,
    /// On how many hosts it runs, in all batches.
    pub runs: usize,
    /// All of them, in milliseconds.
    pub takes_ms: u64,
}

/// The estimate of a plan.
pub fn estimate(plan: &ExecutionPlan) -> Estimate {
    let forks = plan.forks();
    let plays: Vec<PlayEstimate> = plan.plays.iter().map(|play| of_play(play, forks)).collect();
    let shipped_ms =
        plan.plays.iter().map(|play| schedule::toll(play, forks)).map(|toll| toll.by_ssh_ms - toll.takes_ms);
    let sum = |tasks: fn(&PlayEstimate) -> &[TaskEstimate]| {
        plays.iter().flat_map(tasks).map(|task| task.takes_ms).sum()
    };
    Estimate {
        forks,
        tasks_ms: sum(|play| &play.tasks),
        shipped_ms: shipped_ms.sum(),
        compile_ms: plan.totals.compile_ms,
        handlers_ms: sum(|play| &play.handlers),
        plays,
    }
}

fn of_play(play: &PlayPlan, forks: usize) -> PlayEstimate {
    let of_tasks = |tasks: &[PlannedTask]| tasks.iter().map(|task| of_task(task, play, forks)).collect();
    PlayEstimate { name: play.name.clone(), tasks: of_tasks(&play.tasks), handlers: of_tasks(&play.handlers) }
}

fn of_task(task: &PlannedTask, play: &PlayPlan, forks: usize) -> TaskEstimate {
    let mut estimate = TaskEstimate { id: task.id, task: described(task), runs: 0, takes_ms: 0 };
    for batch in &play.batches {
        let runs = task.runs_on(batch.hosts.len());
        estimate.runs += runs;
        estimate.takes_ms += task.estimate_ms * runs.div_ceil(forks) as u64;
    }
    estimate
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, play) in self.plays.iter().enumerate() {
            writeln!(f, "play {}: {}", n + 1, play.name)?;
            for TaskEstimate { task, runs, takes_ms, .. } in play.tasks.iter().chain(&play.handlers) {
                let runs = counted(*runs, "run", "runs");
                writeln!(f, "  {:>12}  {runs:>9}  {task}", duration(*takes_ms))?;
            }
            writeln!(f)?;
        }
        let (tasks, handlers) = (duration(self.tasks_ms), duration(self.handlers_ms));
        writeln!(
            f,
            "tasks take about {tasks} with {} forks; all handlers about {handlers} more",
            self.forks
        )?;
        if self.compile_ms > 0 {
            let (saved, compile) = (duration(self.shipped_ms), duration(self.compile_ms));
            writeln!(
                f,
                "programs save about {saved} of that, and are compiled in about {compile} beforehand"
            )?;
        }
        Ok(())
    }
}
