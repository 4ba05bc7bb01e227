//! `larder run`: tasks of the workspace, each only if something that it depends on has changed.

mod plan;
mod status;
mod summary;
mod watch;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};
use larder::clock::Clock;
use larder::config::{ByteSize, Machine, Mode, Settings};
use larder::engine::{Opened, Sharing};
use larder::tier::disk::Collected;
use larder::tier::{Brief, TierError};
use larder_tasks::Stop;
use larder_tasks::event::{Event, How, NotRun, Summary, TaskEnd};
use larder_tasks::graph::{Graph, Request};
use larder_tasks::job::{AuditSample, RunOptions, Tasks};
use larder_tasks::log::Log;
use larder_tasks::workspace::Workspace;
use tokio::sync::mpsc;

use crate::arguments::{Global, from_one};
use crate::configuration::{self, Assigned};
use crate::console::{BAD, Console, NAME, WARNING, counted, rounded, stdout, styled};
use crate::failure::{Code, Failure};
use crate::progress::{Lost, Output, Progress};
use crate::signals::Signals;
use crate::store::{self, Runtime};
use crate::tasks;
use status::Verdict;

/// The signal that a command gets which prints and has no reader.
const SIGPIPE: u8 = 13;

/// How many events may wait to be shown. A command that prints faster waits for the terminal.
const EVENTS: usize = 256;

/// Run tasks, or give back what they made when nothing that they depend on has changed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder run build test           both tasks in every package that has them, and what they depend on
  larder run web#build            one task of one package
  larder run test --filter ...web in web and the packages that depend on it
  larder run build --dry-run      what would run, and what would be given back
  larder run build --force        everything anew
  larder run test --watch         again whenever a file changes that they read")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) choice: Choice,
    #[command(flatten)]
    uses: CacheUse,
    #[command(flatten)]
    how: Manner,
    /// Leave out what the tasks depend on
    #[arg(long)]
    only: bool,
    /// Print what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Stay, and run again what an edit touches; Ctrl-C ends it
    #[arg(short, long, conflicts_with_all = ["dry_run", "graph"])]
    watch: bool,
    /// Print the graph of tasks, and run nothing
    #[arg(long, value_name = "FORM", num_args = 0..=1, default_missing_value = "text", require_equals = true)]
    graph: Option<GraphForm>,
}

/// Which tasks.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// Tasks: NAME in every package that has it, or PACKAGE#NAME
    #[arg(required = true, value_name = "TASK")]
    pub(crate) tasks: Vec<String>,
    /// Only in these packages: a name with `*`, ./DIR or {DIR}; `...` before it adds its dependents, after it its
    /// dependencies; `!` takes away
    #[arg(short, long, value_name = "PACKAGES")]
    pub(crate) filter: Vec<String>,
}

/// What of the cache is used.
#[derive(Debug, Default, Args)]
pub(crate) struct CacheUse {
    /// Run everything anew, and keep it
    #[arg(long)]
    force: bool,
    /// What of the cache is used: off, read, write or read-write; otherwise the setting `mode`
    #[arg(long, value_name = "MODE")]
    cache: Option<String>,
    /// Remove all that lies among the outputs of a task before its command starts, whoever made it
    #[arg(long)]
    clean: bool,
}

/// How tasks are run.
#[derive(Debug, Default, Args)]
pub(crate) struct Manner {
    /// How many commands run at once; otherwise the setting `jobs`
    #[arg(short, long, value_name = "NUMBER", value_parser = from_one)]
    jobs: Option<NonZeroUsize>,
    /// Go on after a failure with what does not depend on it
    #[arg(long = "continue")]
    keep_going: bool,
    /// When to print what commands print
    #[arg(long, value_name = "WHEN")]
    output: Option<Output>,
    /// Run so many of a hundred hits again at the end, tell which come out differently, and put back what was kept
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    audit_hits: Option<u8>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GraphForm {
    /// Each task and what it waits for
    Text,
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
}

fn percent(text: &str) -> Result<u8, &'static str> {
    let number = text.trim_end_matches('%').parse().ok().filter(|percent| (1..=100).contains(percent));
    number.ok_or("a number from 1 to 100 is expected")
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    if arguments.watch {
        let console = Console { lines: true, ..console };
        return store::block_on(watch::run(arguments, global, console))?;
    }
    let (workspace, here) = tasks::workspace()?;
    let request = arguments.request();
    let graph = tasks::graph(&workspace, &request, &here)?;
    if let Some(form) = arguments.graph {
        if console.json {
            let error = anyhow!("a graph is not printed as JSON");
            return Err(Failure::usage(error).hint("--graph=text, --graph=dot or --graph=mermaid"));
        }
        let text = match form {
            GraphForm::Text => graph.to_text(),
            GraphForm::Dot => graph.to_dot(),
            GraphForm::Mermaid => graph.to_mermaid(),
        };
        stdout().write_all(text.as_bytes())?;
        return Ok(Code::Done);
    }
    let session =
        Session::open(workspace, &graph, &arguments.uses, arguments.how.jobs, global, console)?.stays();
    if arguments.dry_run {
        return session.plan(&graph);
    }
    session.run(&graph, &arguments.how)
}

impl Arguments {
    fn request(&self) -> Request {
        let Choice { tasks, filter } = &self.choice;
        Request { tasks: tasks.clone(), filters: filter.clone(), only: self.only }
    }
}

/// A workspace with the engine that keeps what its tasks make.
pub(crate) struct Session {
    pub(crate) tasks: Tasks,
    opened: Opened,
    settings: Settings,
    clean: bool,
    console: Console,
    pub(crate) runtime: Runtime,
}

/// Of which machine the engine makes use when the tasks of this graph run, and where brief looks are done. While there is
/// one command nothing else waits, and little is kept in memory.
fn surroundings_of(graph: &Graph) -> (Machine, Brief) {
    let commands = graph.nodes().iter().filter(|node| node.task().command.is_some()).count();
    if commands > 1 { (store::machine(), Brief::Aside) } else { (Machine::unknown(), Brief::InPlace) }
}

impl Session {
    /// Reads the configuration and opens the cache for the tasks of `graph`. A cache that does not open is told, and
    /// done without.
    pub(crate) fn open(
        workspace: Workspace,
        graph: &Graph,
        uses: &CacheUse,
        jobs: Option<NonZeroUsize>,
        global: &Global,
        console: Console,
    ) -> Result<Self, Failure> {
        let (machine, brief) = surroundings_of(graph);
        let runtime = match brief {
            Brief::InPlace => Runtime::start_alone()?,
            Brief::Aside => Runtime::with_a_hand()?,
        };
        let jobs = jobs.map(|jobs| Assigned { flag: "--jobs", setting: "jobs", value: jobs.to_string() });
        let mode = uses.cache.clone().map(|value| Assigned { flag: "--cache", setting: "mode", value });
        let assigned: Vec<Assigned> = jobs.into_iter().chain(mode).collect();
        let config = configuration::load_with(global, Some(workspace.root()), &assigned)?;
        let mut settings = config.settings().clone();
        if uses.force {
            settings.mode = if settings.mode.writes() { Mode::Write } else { Mode::Off };
        }
        let shared = store::shared(&config)?.filter(|_| settings.mode != Mode::Off);
        // What a run has made is known to the next one also where nothing of the cache is used.
        let mode = if settings.mode == Mode::Off { Mode::Read } else { settings.mode };
        let opened = store::engine(&Settings { mode, ..settings.clone() }, &machine, brief, shared);
        if let Some(problem) = &opened.problem {
            let dir = settings.dir.display();
            let problem = anyhow_chain(problem);
            console.note(format_args!(
                "{} the cache in {dir} is not used, and nothing is kept: {problem}",
                styled(WARNING, "warning:")
            ));
        }
        larder_tasks::take_in_orphans();
        let environment = std::env::vars_os().collect();
        let tasks = Tasks::new(Arc::new(workspace), &opened.larder, opened.disk.clone(), environment)
            .context("the workspace's name cannot be used")?;
        Ok(Self { tasks, opened, settings, clean: uses.clean, console, runtime })
    }

    /// As long as the process: giving back what it holds takes longer than ending.
    pub(crate) fn stays(self) -> &'static Self {
        Box::leak(Box::new(self))
    }

    fn plan(&self, graph: &Graph) -> Result<Code, Failure> {
        let plan = self.runtime.block_on(pin!(self.tasks.plan(graph, self.settings.mode)));
        plan::print(graph, &plan, self.console)?;
        Ok(Code::Done)
    }

    /// Runs the tasks and tells how it went.
    fn run(&self, graph: &Graph, how: &Manner) -> Result<Code, Failure> {
        let (summary, signal) = self.runtime.block_on(pin!(self.attend(graph, how)))?;
        Ok(code(&summary, signal))
    }

    /// Runs the one task of a graph and ends as its command did.
    pub(crate) fn exec(&self, graph: &Graph, how: &Manner) -> Result<Code, Failure> {
        let (summary, signal) = self.runtime.block_on(pin!(self.attend(graph, how)))?;
        let end = summary.ends.first();
        Ok(match (signal, end.and_then(|end| end.exit), end.map(|end| &end.how)) {
            (Some(signal), ..) => Code::Of(128 + signal),
            (None, Some(exit), _) => Code::Of(exit.code()),
            (None, None, Some(How::NotRun(NotRun::CommandNotFound(_)))) => Code::Of(127),
            (None, None, _) => Code::Of(126),
        })
    }

    /// Runs the tasks, shows what happens, and returns how it went and which signal came, to us or, as the only task's reader
    /// has gone away, to what would have been its command.
    async fn attend(&self, graph: &Graph, how: &Manner) -> Result<(Summary, Option<u8>), Failure> {
        let names: Vec<String> = graph.nodes().iter().map(|node| node.task().id.to_string()).collect();
        let output = how.output.unwrap_or_else(|| Output::usual(names.len(), self.console.json));
        let talks = graph.nodes().iter().any(|node| node.task().interactive);
        let progress = Progress::new(names, output, self.console, !talks);
        let seed = || Clock::system().wall().as_millis();
        let options = RunOptions {
            jobs: self.settings.jobs,
            mode: self.settings.mode,
            keep_going: how.keep_going,
            clean: self.clean,
            audit: how.audit_hits.map(|percent| AuditSample { percent, seed: seed() }),
            ..RunOptions::new()
        };
        let mut show = Show { progress, console: self.console, replays: output != Output::ErrorsOnly };
        let outcome = tokio::select! {
            outcome = attend(&self.tasks, graph, options, &mut show) => outcome,
            never = self.opened.attend() => match never {},
        };
        let written = outcome.as_ref().is_ok_and(|(summary, _)| has_written(summary));
        let tidying = self.opened.collect_aside_if_due(written);
        let (tidied, ()) = tokio::join!(tidying, self.opened.close());
        let (summary, signal) = outcome?;
        show.end(graph, &summary, self.opened.larder.sharing().as_ref(), output)?;
        if let (Ok(Some(Collected::Done(_))), Some(max_age)) = (&tidied, self.settings.disk.max_age) {
            // What is forgotten too late costs room and nothing else.
            let _ = self.tasks.forget_unused(max_age);
        }
        self.told_of(tidied);
        match (signal, show.progress.lost()) {
            (None, Some(Lost::Unread)) => Ok((summary, Some(SIGPIPE))),
            (None, Some(Lost::Unwritten(error))) => Err(error.into()),
            _ => Ok((summary, signal)),
        }
    }
}

impl Session {
    /// Tells what keeping the cache to its limits came to. That it failed is no failure of the run.
    fn told_of(&self, collected: Result<Option<Collected>, TierError>) {
        match collected {
            Ok(Some(Collected::Done(reclaimed))) if reclaimed.tight => {
                let evicted = counted(reclaimed.evicted, "result has", "results have");
                self.console.note(format_args!(
                    "{} {evicted} left the cache, as less of the disk is free than disk.min_free = {}",
                    styled(WARNING, "warning:"),
                    self.settings.disk.min_free
                ));
            }
            Ok(Some(Collected::Done(reclaimed))) if self.console.verbose && reclaimed.bytes > 0 => {
                let size = rounded(ByteSize(reclaimed.bytes));
                self.console.note(format_args!("removed {size} from the cache, to keep to its limits"));
            }
            Ok(_) => {}
            Err(error) => {
                let error = anyhow_chain(&error);
                self.console.note(format_args!("{} {error}", styled(WARNING, "warning:")));
            }
        }
    }
}

/// Whether there is more in the cache than before.
fn has_written(summary: &Summary) -> bool {
    summary.ends.iter().any(|end| matches!(end.how, How::Ran { unkept: None }))
}

/// How a run ends.
fn code(summary: &Summary, signal: Option<u8>) -> Code {
    match signal {
        Some(signal) => Code::Of(128 + signal),
        None if summary.is_success() => Code::Done,
        None => Code::Failed,
    }
}

/// An error and its causes in one line.
fn anyhow_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Runs tasks, shows what happens, and listens to signals: the first asks commands to end, the second kills them. Where
/// nobody is left whom the only task could print for, its command is asked to end, too. Returns the signal that came.
async fn attend(
    tasks: &Tasks,
    graph: &Graph,
    options: RunOptions,
    show: &mut Show,
) -> Result<(Summary, Option<u8>)> {
    let (stop, told) = tokio::sync::watch::channel(Stop::No);
    let (sender, mut events) = mpsc::channel(EVENTS);
    let mut signals = Signals::listen()?;
    let mut came = None;
    let run = tasks.run(graph, options, told, sender);
    tokio::pin!(run);
    let summary = loop {
        let number = tokio::select! {
            summary = &mut run => break summary,
            Some(event) = events.recv() => {
                show.event(event);
                if show.progress.is_in_vain() && *stop.borrow() == Stop::No {
                    stop.send_replace(Stop::Gently);
                }
                continue;
            }
            number = signals.next() => number,
        };
        let next = if came.is_none() { Stop::Gently } else { Stop::AtOnce };
        came.get_or_insert(number);
        show.stopping(next);
        stop.send_replace(next);
    };
    while let Ok(event) = events.try_recv() {
        show.event(event);
    }
    Ok((summary, came))
}

/// Shows events.
struct Show {
    progress: Progress,
    console: Console,
    /// Whether what a command printed when its result was made is printed again.
    replays: bool,
}

impl Show {
    fn event(&mut self, event: Event) {
        match event {
            Event::Started { task } => self.progress.started(task),
            Event::Output { task, stream, bytes } => self.progress.printed(task, stream, &bytes),
            Event::Noted { task, note } => {
                let name = styled(NAME, self.progress.name(task));
                self.progress.note(&format!("{name} {} {note}", styled(WARNING, "warning:")));
            }
            Event::Ended { task, end } => self.ended(task, &end),
            Event::Audited { task } => self.progress.finished(task, &Log::default(), false, |_| {}),
        }
    }

    fn ended(&mut self, task: usize, end: &TaskEnd) {
        let status = status::status(end, self.console.verbose);
        let failed = Verdict::of(end) == Verdict::Failed;
        let unseen = matches!(end.how, How::Hit(_)) && self.replays;
        self.progress.finished(task, &end.log, unseen, |progress| {
            let line = status.map(|status| format!("{} {status}", styled(NAME, progress.name(task))));
            match line {
                Some(line) if failed => progress.alert(&line),
                Some(line) => progress.note(&line),
                None => {}
            }
        });
    }

    fn stopping(&mut self, stop: Stop) {
        let running = self.progress.running();
        let running = if running.is_empty() {
            "nothing was running".to_owned()
        } else {
            format!("running: {}", running.join(", "))
        };
        let what =
            if stop == Stop::AtOnce { "killing what runs" } else { "stopping; once more kills what runs" };
        self.progress.note(&format!("{} {what}; {running}", styled(WARNING, "interrupted:")));
    }

    /// What remains to be said when everything is over.
    fn end(
        &mut self,
        graph: &Graph,
        summary: &Summary,
        sharing: Option<&Sharing>,
        output: Output,
    ) -> Result<()> {
        self.progress.end();
        for (task, end) in summary.ends.iter().enumerate() {
            if Verdict::of(end) == Verdict::Failed && output == Output::ErrorsOnly {
                let status = status::status(end, true).unwrap_or_default();
                let rule = styled(BAD, "──");
                self.progress.alert(&format!("\n{rule} {} {status}", styled(NAME, self.progress.name(task))));
                self.progress.block(task, &end.log);
            }
        }
        for audit in &summary.audits {
            let name = styled(NAME, self.progress.name(audit.task));
            match audit.differences.as_slice() {
                [] => self.progress.note(&format!("{name} audit: the same when run again")),
                differences => {
                    let differences = differences.join(", ");
                    let words = styled(BAD, format!("audit: differs when run again: {differences}"));
                    self.progress.alert(&format!("{name} {words}"));
                }
            }
        }
        if self.console.json {
            self.console.json(&summary::shown(graph, summary, sharing))?;
        }
        // Of a single task everything was said.
        if summary.ends.len() != 1 || summary.stopped {
            self.progress.note(&summary::line(summary));
        }
        if let Some(line) = sharing.and_then(summary::sharing) {
            self.progress.note(&line);
        }
        Ok(())
    }
}
