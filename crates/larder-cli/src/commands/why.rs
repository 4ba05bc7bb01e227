//! `larder why`: what a task's result depends on, and what is different from the nearest earlier one.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::pin::pin;

use clap::Args;
use larder::clock::{Clock, Timestamp};
use larder::key::Digest;
use larder_tasks::graph::{Graph, Request};
use larder_tasks::job::{FileChange, Nearest, Reason, Why};
use larder_tasks::key::{Difference, Part, PartKind};
use serde::Serialize;

use super::run::{CacheUse, Choice, Session};
use crate::arguments::Global;
use crate::console::{BAD, Console, FAINT, GOOD, NAME, WARNING, ago, brief, counted, stdout, styled};
use crate::failure::{Code, Failure};
use crate::tasks;

/// Tell why a task would run or not: its key part by part, against the nearest earlier result
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder why web#build")]
pub(crate) struct Arguments {
    #[command(flatten)]
    choice: Choice,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let (workspace, here) = tasks::workspace()?;
    let Choice { tasks, filter } = &arguments.choice;
    let request = Request { tasks: tasks.clone(), filters: filter.clone(), only: false };
    let graph = tasks::graph(&workspace, &request, &here)?;
    let session = Session::open(workspace, &graph, &CacheUse::default(), None, global, console)?;
    let all = session.runtime.block_on(pin!(session.tasks.why(&graph)));
    if console.json {
        let shown: Vec<Shown> = all.iter().map(|why| Shown::new(&graph, why)).collect();
        console.json(&shown)?;
        return Ok(Code::Done);
    }
    let mut text = String::new();
    for (n, why) in all.iter().enumerate() {
        if n > 0 {
            text.push('\n');
        }
        explain(&mut text, &graph, why).expect("writing into a String does not fail");
    }
    stdout().write_all(text.as_bytes())?;
    Ok(Code::Done)
}

fn explain(text: &mut String, graph: &Graph, why: &Why) -> fmt::Result {
    let name = graph.nodes()[why.task].task().id.to_string();
    writeln!(text, "{} {}", styled(NAME, name), reason(&why.reason))?;
    if let Some(nearest) = &why.nearest {
        explain_nearest(text, nearest)?;
    } else if matches!(why.reason, Reason::NotKept) {
        writeln!(text, "\nThere is no earlier result to compare with.")?;
    }
    if !why.parts.is_empty() {
        writeln!(text, "\nIts key is made of")?;
        let width = why.parts.iter().map(|part| part.to_string().chars().count()).max().unwrap_or_default();
        for part in &why.parts {
            let shown =
                if part.shown.is_empty() { format!("{:.12}", part.digest) } else { part.shown.clone() };
            writeln!(
                text,
                "  {}  {}",
                styled(NAME, format!("{:width$}", part.to_string())),
                styled(FAINT, shown)
            )?;
        }
    }
    if !why.left_out.is_empty() {
        writeln!(text, "\nLeft out of it by `cache.key`: {}", why.left_out.join(", "))?;
    }
    if !why.ambient.is_empty() {
        writeln!(text, "\nPassed without being in it: {}", why.ambient.join(", "))?;
    }
    if why.is_loose {
        let words = "env.mode is \"loose\": all other variables are passed too, so results may be wrong";
        writeln!(text, "{}", styled(WARNING, words))?;
    }
    Ok(())
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Kept { made, saves, producer } => {
            let made = ago(Clock::system().wall().since(*made));
            format!("{}: made {made}{}, in {}", styled(GOOD, "is kept"), by(producer), brief(*saves))
        }
        Reason::NotKept => format!("{}: nothing is kept under its key", styled(WARNING, "would run")),
        Reason::Unkept(why) => format!("{}: {why}", styled(WARNING, "would run, and not be kept")),
        Reason::After(task) => format!("depends on what {} makes, which would run first", styled(NAME, task)),
        Reason::Group => "has no command of its own".to_owned(),
    }
}

fn by(producer: &str) -> String {
    if producer.is_empty() { String::new() } else { format!(" by {producer}") }
}

fn explain_nearest(text: &mut String, nearest: &Nearest) -> fmt::Result {
    let made = ago(Clock::system().wall().since(nearest.made));
    let same = counted(nearest.same as u64, "part is the same", "parts are the same");
    writeln!(text, "\nAgainst the nearest other result, made {made}{}, {same}:", by(&nearest.producer))?;
    for difference in &nearest.differences {
        let is_inputs = difference.now.as_ref().is_some_and(|part| part.kind == PartKind::Inputs);
        let change = if is_inputs { "differ:".to_owned() } else { change(difference) };
        writeln!(text, "  {} {change}", styled(BAD, difference.what()))?;
    }
    for file in &nearest.files {
        let (path, what) = match file {
            FileChange::Added(path) => (path, "was not there"),
            FileChange::Removed(path) => (path, "is gone"),
            FileChange::Modified(path) => (path, "was different"),
        };
        writeln!(text, "    {path} {what}")?;
    }
    Ok(())
}

/// How a part differs. Values of variables are never shown.
fn change(difference: &Difference) -> String {
    match (&difference.now, &difference.then) {
        (Some(_), None) => "was not in it".to_owned(),
        (None, Some(_)) => "is no longer in it".to_owned(),
        (Some(now), Some(then))
            if !now.shown.is_empty() && !then.shown.is_empty() && now.shown != then.shown =>
        {
            format!("was {}, is {}", then.shown, now.shown)
        }
        _ => "differs".to_owned(),
    }
}

#[derive(Serialize)]
struct Shown {
    task: String,
    /// kept, not-kept, never, after or group.
    state: &'static str,
    reason: Option<String>,
    made: Option<Timestamp>,
    producer: Option<String>,
    parts: Vec<ShownPart>,
    left_out: Vec<&'static str>,
    ambient: Vec<String>,
    loose_environment: bool,
    nearest: Option<ShownNearest>,
}

#[derive(Serialize)]
struct ShownPart {
    part: String,
    digest: Digest,
    value: Option<String>,
}

#[derive(Serialize)]
struct ShownNearest {
    made: Timestamp,
    producer: String,
    same: usize,
    differences: Vec<ShownDifference>,
    added: Vec<String>,
    removed: Vec<String>,
    modified: Vec<String>,
}

#[derive(Serialize)]
struct ShownDifference {
    part: String,
    now: Option<ShownPart>,
    then: Option<ShownPart>,
}

impl From<&Part> for ShownPart {
    fn from(part: &Part) -> Self {
        let value = (!part.shown.is_empty()).then(|| part.shown.clone());
        Self { part: part.to_string(), digest: part.digest, value }
    }
}

impl Shown {
    fn new(graph: &Graph, why: &Why) -> Self {
        let (state, reason) = match &why.reason {
            Reason::Kept { .. } => ("kept", None),
            Reason::NotKept => ("not-kept", None),
            Reason::Unkept(unkept) => ("never", Some(unkept.to_string())),
            Reason::After(task) => ("after", Some(task.clone())),
            Reason::Group => ("group", None),
        };
        let (made, producer) = match &why.reason {
            Reason::Kept { made, producer, .. } => (Some(*made), Some(producer.to_string())),
            _ => (None, None),
        };
        Self {
            task: graph.nodes()[why.task].task().id.to_string(),
            state,
            reason,
            made,
            producer,
            parts: why.parts.iter().map(ShownPart::from).collect(),
            left_out: why.left_out.clone(),
            ambient: why.ambient.clone(),
            loose_environment: why.is_loose,
            nearest: why.nearest.as_ref().map(ShownNearest::from),
        }
    }
}

impl From<&Nearest> for ShownNearest {
    fn from(nearest: &Nearest) -> Self {
        let (mut added, mut removed, mut modified) = (Vec::new(), Vec::new(), Vec::new());
        for file in &nearest.files {
            match file {
                FileChange::Added(path) => added.push(path.clone()),
                FileChange::Removed(path) => removed.push(path.clone()),
                FileChange::Modified(path) => modified.push(path.clone()),
            }
        }
        let differences = nearest.differences.iter().map(|difference| ShownDifference {
            part: difference.what(),
            now: difference.now.as_ref().map(ShownPart::from),
            then: difference.then.as_ref().map(ShownPart::from),
        });
        Self {
            made: nearest.made,
            producer: nearest.producer.to_string(),
            same: nearest.same,
            differences: differences.collect(),
            added,
            removed,
            modified,
        }
    }
}
