//! `larder exec`: one command, kept without any file that describes it.
//!
//! What is written on the command line becomes a workspace of one task, which then goes the way of `run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use larder_tasks::graph::Request;
use larder_tasks::path::RelPath;
use larder_tasks::place::SourceText;
use larder_tasks::workspace::{Workspace, WorkspaceError};
use toml::{Table, Value};

use super::run::{CacheUse, Manner, Session};
use crate::arguments::Global;
use crate::console::Console;
use crate::failure::{Code, Failure};
use crate::surroundings::Surroundings;
use crate::tasks;

/// How long a name is at most.
const MAX_NAME: usize = 60;

/// Run a command, or give back what it made when nothing that it depends on has changed
///
/// Without --input, every file below the root counts that git does not ignore, but for outputs. The command's stdin is empty:
/// what it reads has to lie in files that count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder exec --input 'src/**' --output out -- make
  larder exec --input main.c --output main --tool cc -- cc -O2 main.c -o main
  larder exec --input 'data/*.csv' --env TZ -- ./report.sh > report.txt")]
pub(crate) struct Arguments {
    /// Files that the command reads: a path or a glob; `!` takes away
    #[arg(short, long, value_name = "GLOB")]
    input: Vec<String>,
    /// What the command writes: a file, a directory or a glob
    #[arg(short, long, value_name = "PATH")]
    output: Vec<String>,
    /// A variable that the command sees and that counts; `*` stands for any characters
    #[arg(short, long, value_name = "NAME")]
    env: Vec<String>,
    /// Such a variable whose value must not be seen in kept logs
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// A program whose identity counts: its name, or a command line that prints its version
    #[arg(short, long, value_name = "PROGRAM")]
    tool: Vec<String>,
    /// The directory that inputs and outputs lie in and that results are kept for; otherwise the current one
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// How long the command may take
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Results that are older are not used
    #[arg(long, value_name = "DURATION")]
    max_age: Option<String>,
    #[command(flatten)]
    uses: CacheUse,
    /// The command
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What the description is called where it is wrong.
const DESCRIPTION: &str = "the command line";

/// The flags that the keys of the description stand for.
const FLAGS: &[(&str, &str)] = &[
    ("command", "the command"),
    ("inputs", "--input"),
    ("outputs", "--output"),
    ("tools", "--tool"),
    ("include", "--env"),
    ("secret", "--secret"),
    ("timeout", "--timeout"),
    ("max_age", "--max-age"),
    ("cache", "--max-age"),
];

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let current = Surroundings::look()?.current;
    let root = match &arguments.root {
        None => current.clone(),
        Some(root) => root.canonicalize().map_err(|error| {
            Failure::usage(
                anyhow::Error::from(error).context(format!("cannot use {} as root", root.display())),
            )
        })?,
    };
    let name = name(&arguments.command[0], &arguments.output);
    let text = describe(arguments, &root, &current, &name)?;
    let description = SourceText::of_flags(DESCRIPTION, text, FLAGS);
    let workspace = Workspace::described(&root, &description).map_err(|error| match error {
        WorkspaceError::Wrong(problems) => tasks::wrong(&problems),
        error => Failure::usage(error),
    })?;
    let request = Request { tasks: vec![format!("//#{name}")], ..Request::default() };
    let graph = tasks::graph(&workspace, &request, &RelPath::root())?;
    let session = Session::open(workspace, &graph, &arguments.uses, None, global, console)?.stays();
    session.exec(&graph, &Manner::default())
}

/// The task's name: that of the program, so that `why` finds earlier results of it, and those of its outputs, as what one
/// command has made is none of another's.
fn name(program: &str, outputs: &[String]) -> String {
    let last = |path: &str| Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+');
    let program = Some(last(program)).filter(|name| !name.is_empty()).unwrap_or_else(|| "command".to_owned());
    let names = std::iter::once(program).chain(outputs.iter().map(|output| last(output)));
    let name = names.collect::<Vec<_>>().join("+");
    name.chars().map(|c| if good(c) { c } else { '_' }).take(MAX_NAME).collect()
}

/// A `larder.toml` that says what the command line says.
fn describe(arguments: &Arguments, root: &Path, current: &Path, name: &str) -> Result<String, Failure> {
    let Ok(inside) = current.strip_prefix(root) else {
        let error = anyhow!("{} does not lie in the root {}", current.display(), root.display());
        return Err(Failure::usage(error));
    };
    let inside = OsString::from(inside);
    let Some(inside) = inside.to_str() else {
        return Err(Failure::usage(anyhow!("{} is not UTF-8", current.display())));
    };
    // What is written is relative to where we are, what is described is relative to the root.
    let placed = |written: &String| match (written.strip_prefix('!'), inside) {
        (_, "") => written.clone(),
        (Some(path), _) => format!("!{inside}/{path}"),
        (None, _) => format!("{inside}/{written}"),
    };
    let list = |items: &[String]| Value::from(items.to_vec());
    let placed_list = |items: &[String]| Value::from(items.iter().map(placed).collect::<Vec<_>>());
    let mut task = Table::new();
    task.insert("command".into(), list(&arguments.command));
    if !inside.is_empty() {
        task.insert("cwd".into(), inside.into());
    }
    if !arguments.input.is_empty() {
        task.insert("inputs".into(), placed_list(&arguments.input));
    }
    if !arguments.output.is_empty() {
        task.insert("outputs".into(), placed_list(&arguments.output));
    }
    if !arguments.tool.is_empty() {
        task.insert("tools".into(), list(&arguments.tool));
    }
    let mut environment = Table::new();
    environment.insert("include".into(), list(&arguments.env));
    environment.insert("secret".into(), list(&arguments.secret));
    task.insert("env".into(), environment.into());
    if let Some(timeout) = &arguments.timeout {
        task.insert("timeout".into(), timeout.as_str().into());
    }
    let cache = match &arguments.max_age {
        None => Value::from(true),
        Some(age) => Table::from_iter([("max_age".to_owned(), Value::from(age.as_str()))]).into(),
    };
    task.insert("cache".into(), cache);
    let tasks = Table::from_iter([(name.to_owned(), Value::from(task))]);
    let description =
        Table::from_iter([("workspace".to_owned(), Table::new().into()), ("tasks".to_owned(), tasks.into())]);
    Ok(description.to_string())
}
