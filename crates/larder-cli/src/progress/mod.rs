//! What a run looks like while it goes on.
//!
//! On a terminal: a live line for each command that runs, a line for each task that is done. Elsewhere: plain
//! lines, and what commands print with their task's name before it. What commands print to stdout goes to stdout,
//! everything else to stderr.
//!
//! Invariant: what commands print is never changed but for a name before each line, also where no colours are to be,
//! never lost, and never mixed within a line.
//! Not here: what a task's end is called (`commands::run`).

mod lines;
mod live;

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use clap::ValueEnum;
use larder_tasks::log::{Log, Stream};

use crate::console::{Console, NAME, seen_on, styled, write_bytes, write_whole};
use lines::Lines;
use live::Live;

/// When to print what commands print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// As it comes, with the task's name before each line if there are several tasks
    Stream,
    /// When a task is done, as one block
    Grouped,
    /// Only of tasks that fail, at the end
    ErrorsOnly,
}

impl Output {
    /// What people want who did not say what they want: of a single task all of it, of many tasks on a terminal
    /// only what needs their attention, in a log file everything.
    pub(crate) fn usual(tasks: usize, json: bool) -> Self {
        if json || (tasks > 1 && io::stderr().is_terminal()) { Self::ErrorsOnly } else { Self::Stream }
    }
}

/// Prints a run.
pub(crate) struct Progress {
    output: Output,
    quiet: bool,
    /// Whether stdout is kept free of what commands print.
    stdout_is_taken: bool,
    live: Option<Live>,
    tasks: Vec<Task>,
    /// For stdout and stderr: why what commands print can't be written there. Nothing more of it is.
    lost: [OnceLock<io::Error>; 2],
}

/// What commands printed and nobody has got.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Whoever read what the only task printed has gone away.
    Unread,
    /// It could not be written.
    Unwritten(anyhow::Error),
}

struct Task {
    name: String,
    lines: [Lines; 2],
    runs: bool,
}

impl Progress {
    /// Prepares for tasks of these names, known by their position from now on.
    /// Live lines may be there only where no command draws on the terminal itself.
    pub(crate) fn new(names: Vec<String>, output: Output, console: Console, may_be_live: bool) -> Self {
        let several = names.len() > 1;
        let prefix = |name: &str, stream: Stream| match stream {
            _ if !several => String::new(),
            Stream::Out if !console.json => seen_on(&io::stdout(), &prefix(name)),
            _ => seen_on(&io::stderr(), &prefix(name)),
        };
        let task = |name: String| {
            let lines = [Stream::Out, Stream::Err].map(|stream| Lines::new(prefix(&name, stream)));
            Task { name, lines, runs: false }
        };
        let live = !console.quiet && several && may_be_live && io::stderr().is_terminal();
        Self {
            output,
            quiet: console.quiet,
            stdout_is_taken: console.json,
            live: live.then(Live::new),
            tasks: names.into_iter().map(task).collect(),
            lost: Default::default(),
        }
    }

    /// Whether the only task has nobody to print for: as with a command that prints there itself, there is no point in its
    /// going on. That of one of several tasks is no reason to end them.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.tasks.len() == 1 && self.lost.iter().any(|lost| lost.get().is_some())
    }

    /// What was lost of what commands printed. Where several tasks run, a reader may go away.
    pub(crate) fn lost(&mut self) -> Option<Lost> {
        let mut unread = false;
        for (lost, name) in self.lost.iter_mut().zip(["stdout", "stderr"]) {
            match lost.take() {
                Some(error) if error.kind() == io::ErrorKind::BrokenPipe => unread = true,
                Some(error) => {
                    let error = anyhow::Error::from(error).context(format!("cannot write to {name}"));
                    return Some(Lost::Unwritten(error));
                }
                None => {}
            }
        }
        (unread && self.tasks.len() == 1).then_some(Lost::Unread)
    }

    /// The task's name.
    pub(crate) fn name(&self, task: usize) -> &str {
        &self.tasks[task].name
    }

    /// Names of the tasks whose commands run.
    pub(crate) fn running(&self) -> Vec<&str> {
        self.tasks.iter().filter(|task| task.runs).map(|task| task.name.as_str()).collect()
    }

    /// A task's command runs from now on.
    pub(crate) fn started(&mut self, task: usize) {
        self.tasks[task].runs = true;
        if let Some(live) = &mut self.live {
            live.started(task, &self.tasks[task].name);
        }
    }

    /// A task's command printed something.
    pub(crate) fn printed(&mut self, task: usize, stream: Stream, bytes: &[u8]) {
        if self.output == Output::Stream {
            let lines = self.tasks[task].lines[stream as usize].push(bytes);
            self.pass_on(stream, &lines);
        }
    }

    /// A task is done. `log` is all that its command printed, of which nothing was seen yet if it is `unseen`;
    /// `tell` says how it ended, before that.
    pub(crate) fn finished(&mut self, task: usize, log: &Log, unseen: bool, tell: impl FnOnce(&Self)) {
        self.tasks[task].runs = false;
        for stream in [Stream::Out, Stream::Err] {
            let rest = self.tasks[task].lines[stream as usize].finish();
            self.pass_on(stream, &rest);
        }
        if let Some(live) = &mut self.live {
            live.finished(task);
        }
        tell(self);
        if self.output == Output::Grouped || unseen {
            self.block(task, log);
        }
    }

    /// Prints a log as one block.
    pub(crate) fn block(&mut self, task: usize, log: &Log) {
        if log.whole().is_none() {
            let limit = Log::LIMIT_BYTES >> 20;
            self.note(&format!("it printed more than {limit} MiB; `--output stream` shows it"));
        }
        let mut lines = [0, 1].map(|stream| Lines::new(self.tasks[task].lines[stream].prefix().to_owned()));
        for chunk in log.chunks() {
            let text = lines[chunk.stream as usize].push(&chunk.bytes);
            self.pass_on(chunk.stream, &text);
        }
        for stream in [Stream::Out, Stream::Err] {
            let rest = lines[stream as usize].finish();
            self.pass_on(stream, &rest);
        }
    }

    /// Tells how it goes.
    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            self.alert(line);
        }
    }

    /// Tells what went wrong, also to those who want quiet. How a command ended that was in vain is of no interest.
    pub(crate) fn alert(&self, line: &str) {
        if self.is_in_vain() {
            return;
        }
        // Nobody is there to be told that stderr is closed.
        let _ = self.above(|| write_whole(io::stderr().lock(), format!("{line}\n").as_bytes()));
    }

    /// Takes the live lines away.
    pub(crate) fn end(&mut self) {
        self.live = None;
    }

    /// Writes what a command printed, until that fails.
    fn pass_on(&self, stream: Stream, bytes: &[u8]) {
        let to = if self.stdout_is_taken { Stream::Err } else { stream };
        let lost = &self.lost[to as usize];
        if bytes.is_empty() || lost.get().is_some() {
            return;
        }
        let written = self.above(|| match to {
            Stream::Out => write_bytes(io::stdout().lock(), bytes),
            Stream::Err => write_bytes(io::stderr().lock(), bytes),
        });
        if let Err(error) = written {
            lost.get_or_init(|| error);
        }
    }

    /// Writes with the live lines out of the way.
    fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(live) => live.above(write),
            None => write(),
        }
    }
}

/// What stands before each line of a task.
fn prefix(name: &str) -> String {
    format!("{} ", styled(NAME, format!("{name}:")))
}
