//! What a run tells while it goes on and in the end.
//!
//! Everything is typed, so that the command line can word, colour or serialize it; [`Unkept`] and [`Note`] have
//! words of their own, because they must be the same everywhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::Timestamp;
use larder::key::Digest;
use larder::stats::Place;

use crate::execute::Exit;
use crate::log::{Log, Stream};
use crate::restore::Restoration;
use crate::task::WhyNever;

/// Something happened to a task. Tasks are told by their position in the graph.
#[derive(Debug)]
pub enum Event {
    /// Its command starts.
    Started {
        /// Which task.
        task: usize,
    },
    /// Its command wrote something. Secrets are masked.
    Output {
        /// Which task.
        task: usize,
        /// Where to.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// Something that its user should know.
    Noted {
        /// Which task.
        task: usize,
        /// What.
        note: Note,
    },
    /// It is over.
    Ended {
        /// Which task.
        task: usize,
        /// How.
        end: Arc<TaskEnd>,
    },
    /// It was a hit that was to be run again, and that is over.
    Audited {
        /// Which task.
        task: usize,
    },
}

/// How a task came to its end.
#[derive(Debug)]
pub struct TaskEnd {
    /// Whether it ran.
    pub how: How,
    /// How its command ended, now or when its result was made; `None` if there was none.
    pub exit: Option<Exit>,
    /// How long this run was busy with it: looking, waiting for others, running, restoring.
    pub took: Duration,
    /// What its command wrote, now or when its result was made.
    pub log: Log,
    /// The digest of its key, if it has one.
    pub key: Option<Digest>,
    /// Stands for its outputs, if it has any and they could be looked at.
    pub outputs: Option<Digest>,
}

impl TaskEnd {
    /// Whether what waits for it may run.
    pub fn is_success(&self) -> bool {
        match self.how {
            How::Hit(_) | How::Ran { .. } => self.exit.is_some_and(Exit::is_success),
            How::Group => true,
            How::NotRun(_) => false,
        }
    }
}

/// Whether a task ran.
#[derive(Debug)]
pub enum How {
    /// Its result was kept, and is given back.
    Hit(Hit),
    /// It ran.
    Ran {
        /// Why its result is not kept; `None` if it is.
        unkept: Option<Unkept>,
    },
    /// It has no command.
    Group,
    /// It did not run.
    NotRun(NotRun),
}

/// A kept result that was given back.
#[derive(Debug)]
pub struct Hit {
    /// Where it was.
    pub from: Place,
    /// What was done to its outputs.
    pub restored: Restoration,
    /// How long its command took.
    pub saves: Duration,
    /// When.
    pub made: Timestamp,
    /// Who ran it.
    pub producer: Arc<str>,
}

/// Why a task did not run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRun {
    /// A task that it depends on failed.
    #[error("`{0}` failed")]
    DependencyFailed(String),
    /// The run was stopped, or another task failed.
    #[error("the run ended before its turn")]
    Stopped,
    /// Its program is not there.
    #[error("command not found: {0}")]
    CommandNotFound(String),
    /// Its directory is not there.
    #[error("there is no directory {} to run in", .0.display())]
    NoDirectory(PathBuf),
    /// It could not be started for another reason.
    #[error("could not start: {0}")]
    CouldNotStart(String),
}

/// Why a result is not kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unkept {
    /// It never is.
    #[error("{0}")]
    Never(WhyNever),
    /// This run does not write to the cache.
    #[error("this run keeps nothing")]
    SwitchedOff,
    /// The command failed.
    #[error("it ended with exit code {0}")]
    ExitCode(u8),
    /// The command was killed.
    #[error("it was ended by signal {0}")]
    Signal(i32),
    /// It took too long.
    #[error("it took longer than its limit of {0:?}")]
    TimedOut(Duration),
    /// It was stopped.
    #[error("it was stopped")]
    Stopped,
    /// An input was written to meanwhile.
    #[error("input {} changed while it ran{}", path.display(), more(*others))]
    InputChanged {
        /// The first of them.
        path: PathBuf,
        /// How many more.
        others: usize,
    },
    /// A declared output is not there.
    #[error("output {0:?} was not made")]
    MissingOutput(String),
    /// Another task of the run wrote the same file.
    #[error("output {} is written by `{other}`, too", path.display())]
    TwoWriters {
        /// The file, from the root.
        path: PathBuf,
        /// The other task.
        other: String,
    },
    /// What is declared is not what would be kept.
    #[error("output {output:?} is, or lies behind, the link {}, which leads to what is not among the outputs", link.display())]
    BehindLink {
        /// As it is written.
        output: String,
        /// The link, from the root.
        link: PathBuf,
    },
    /// An output is also an input.
    #[error("output {} is also an input", .0.display())]
    OutputIsInput(PathBuf),
    /// Something lay among the outputs that no run has made: a run in a fresh clone would not have it.
    #[error("{} was there before, and no run of this task made it so{}: `--clean` removes it first; or leave it out of the outputs", path.display(), more(*others))]
    LeftOver {
        /// The first, from the root.
        path: PathBuf,
        /// How many more.
        others: usize,
    },
    /// Outputs of an earlier run are still there: a run in a fresh clone would not have them.
    #[error("outputs of an earlier run could not be removed: {}", named(.0))]
    Stuck(Vec<PathBuf>),
    /// Processes that it started still run, and may still write.
    #[error("it left processes behind that still run")]
    LeftBehind,
    /// It ended while larder was stopped: what was written until larder looked may be somebody else's.
    #[error("it ended while larder was stopped, as by Ctrl-Z, and its outputs may have been edited since")]
    SleptOver,
    /// Its log is larger than what is held.
    #[error("its log is larger than {} MiB", Log::LIMIT_BYTES >> 20)]
    LogTooLarge,
    /// Inputs cannot be read.
    #[error("inputs cannot be read: {0}")]
    Inputs(String),
    /// Outputs cannot be read or stored.
    #[error("{0}")]
    Outputs(String),
    /// A tool cannot be told.
    #[error("tool {tool:?} cannot be identified: {why}")]
    Tool {
        /// As it is written.
        tool: String,
        /// Why.
        why: String,
    },
    /// What a task before it left behind is not known.
    #[error("the outputs of `{0}` are not known")]
    Upstream(String),
    /// Among the outputs of a task before it lies something else than its result has.
    #[error(
        "outputs of `{0}` are not as it made them: something else lies there, too, or they were changed since"
    )]
    UpstreamOther(String),
    /// What a task before it left behind was written to meanwhile.
    #[error("outputs of `{0}` changed while it ran")]
    UpstreamChanged(String),
    /// A tool was written to meanwhile, or another one is found by its name.
    #[error("tool {0:?} changed while it ran")]
    ToolChanged(String),
    /// The disk tier may not be written to.
    #[error("the cache may not be written to")]
    ReadOnly,
    /// There is no place to keep outputs.
    #[error("there is no disk tier")]
    NoDisk,
    /// The engine does not keep it.
    #[error("{0}")]
    Engine(String),
}

/// How many paths a list of them names.
const NAMED: usize = 5;

fn named(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().take(NAMED).map(|path| path.to_string_lossy()).collect();
    names.join(", ") + &more(paths.len().saturating_sub(NAMED))
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " (and 1 more)".to_owned(),
        others => format!(" (and {others} more)"),
    }
}

fn unfinished(outputs: usize) -> String {
    match outputs {
        1 => "1 unfinished output was".to_owned(),
        outputs => format!("{outputs} unfinished outputs were"),
    }
}

/// Something that a user should know of a task that goes on all the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Note {
    /// A pattern matches nothing.
    #[error("{place}: {what} {pattern:?} matches nothing")]
    MatchesNothing {
        /// "input" or "output".
        what: &'static str,
        /// As it is written.
        pattern: String,
        /// File, line and column.
        place: String,
    },
    /// The environment is passed whole.
    #[error("env.mode is \"loose\": variables that are not in its key are passed, so results may be wrong")]
    LooseEnvironment,
    /// A kept result could not be used.
    #[error("a kept result could not be used: {0}")]
    Unusable(String),
    /// Another task of the run wrote, or was given back, a file that was given back.
    #[error("output {} is written by `{other}`, too: one of them is not as it was made", path.display())]
    TwoWriters {
        /// The file, from the root.
        path: PathBuf,
        /// The other task.
        other: String,
    },
    /// Another process is at it in the same place.
    #[error("another larder runs this task here; waiting for it")]
    Waiting,
    /// A command of an earlier run was still going on, and was ended.
    #[error("an earlier run was killed and left its command running; that was ended")]
    EndedOrphan,
    /// Outputs of a command that did not come to its end were removed.
    #[error("{} removed", unfinished(*.0))]
    RemovedUnfinished(usize),
    /// Outputs of a command that did not come to its end are still there.
    #[error("unfinished outputs could not be removed: {}", named(.0))]
    StuckUnfinished(Vec<PathBuf>),
    /// Files that were there before a command which did not come to its end, and that were written to meanwhile.
    #[error("{} was there before, and stays as it is now", named(.0))]
    SparedUnfinished(Vec<PathBuf>),
    /// A tool is not there.
    #[error("tool {0:?} is not on the task's PATH")]
    NoTool(String),
}

/// How a whole run ended.
#[derive(Debug)]
pub struct Summary {
    /// For each task of the graph, how it ended.
    pub ends: Vec<Arc<TaskEnd>>,
    /// How long all of it took.
    pub took: Duration,
    /// Whether it was stopped.
    pub stopped: bool,
    /// What came of re-executing hits, of those that were run again to the end.
    pub audits: Vec<Audit>,
}

impl Summary {
    /// Whether every task succeeded.
    pub fn is_success(&self) -> bool {
        !self.stopped && self.ends.iter().all(|end| end.is_success())
    }
}

/// What came of re-executing a hit.
#[derive(Debug)]
pub struct Audit {
    /// Which task.
    pub task: usize,
    /// Outputs that came out differently, "exit code" and the like included; empty if it is the same.
    pub differences: Vec<String>,
}
