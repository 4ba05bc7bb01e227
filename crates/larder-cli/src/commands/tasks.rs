//! `larder tasks`: what can be run.

use std::io::Write as _;

use anyhow::Result;
use clap::Args;
use larder_tasks::path::Pattern;
use larder_tasks::place::Located;
use larder_tasks::task::{Command, Inputs, Keeping, Task};
use serde::Serialize;

use crate::console::{Console, FAINT, NAME, stdout, styled};
use crate::failure::{Code, Failure};
use crate::tasks;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder tasks
  larder tasks --json")]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Shown<'a> {
    task: String,
    directory: &'a str,
    description: Option<&'a str>,
    command: Option<String>,
    /// Patterns from the root; `null` if it is every file of the package that git does not ignore, or nothing is declared.
    inputs: Option<Vec<String>>,
    outputs: Vec<String>,
    /// As they are written.
    depends_on: Vec<String>,
    /// Why its results are never kept; absent if they are.
    never_kept: Option<String>,
}

pub(crate) fn run(console: Console) -> Result<Code, Failure> {
    let (workspace, _) = tasks::workspace()?;
    let shown: Vec<Shown<'_>> = workspace.tasks().map(|task| shown(task)).collect();
    if console.json {
        console.json(&shown)?;
        return Ok(Code::Done);
    }
    let width = shown.iter().map(|task| task.task.chars().count()).max().unwrap_or_default();
    let mut out = stdout();
    for task in &shown {
        let name = styled(NAME, format!("{:width$}", task.task));
        let text = task.description.or(task.command.as_deref()).unwrap_or_default();
        writeln!(out, "{name}  {}", styled(FAINT, text.lines().next().unwrap_or_default()))?;
    }
    Ok(Code::Done)
}

fn shown(task: &Task) -> Shown<'_> {
    Shown {
        task: task.id.to_string(),
        directory: task.package.as_str(),
        description: task.description.as_deref(),
        command: task.command.as_ref().map(|command| match command {
            Command::Script { script, .. } => script.clone(),
            Command::Argv(argv) => argv.join(" "),
        }),
        inputs: match &task.inputs {
            Inputs::Declared(patterns) => {
                Some(patterns.iter().chain(&task.extra_inputs).map(pattern).collect())
            }
            Inputs::Package | Inputs::Undeclared => None,
        },
        outputs: task.outputs.iter().map(pattern).collect(),
        depends_on: task.depends_on.iter().map(|dependency| dependency.value.to_string()).collect(),
        never_kept: match &task.keeping {
            Keeping::Never(why) => Some(why.to_string()),
            Keeping::Keep(_) => None,
        },
    }
}

fn pattern(pattern: &Located<Pattern>) -> String {
    let takes_away = if pattern.value.is_negated() { "!" } else { "" };
    format!("{takes_away}{}", pattern.value.to_glob())
}
