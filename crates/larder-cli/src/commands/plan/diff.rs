//! `larder plan diff` and `--changes`: what differs between two plans.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use larder_ansible::change::{Changes, changes};
use larder_ansible::plan::{ExecutionPlan, FORMAT, binary};

use crate::console::{Console, raw_stdout};
use crate::failure::{Code, Failure};

/// Tell what differs between two plans that were written with --format json or binary
///
/// Tasks are compared by what they are and not by where they stand. The impact is the share of all work that the
/// differences concern, by hosts and risk: 0 is none, 1 is all.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder plan site.yml -i hosts --format json > old.json
  larder plan diff old.json new.json
  larder plan site.yml -i hosts --changes old.json")]
pub(super) struct Arguments {
    /// The earlier plan
    old: PathBuf,
    /// The later plan
    new: PathBuf,
    /// End with exit code 1 if they differ
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn run(arguments: &Arguments, console: Console) -> Result<Code, Failure> {
    use std::io::Write as _;
    let found = changes(&read(&arguments.old)?, &read(&arguments.new)?);
    raw_stdout().write_all(&shown(&found, console)?)?;
    Ok(if arguments.exit_code && !found.is_empty() { Code::Failed } else { Code::Done })
}

/// Differences as they are printed.
pub(super) fn shown(changes: &Changes, console: Console) -> Result<Vec<u8>, Failure> {
    if console.json { Ok(console.as_json(changes)?) } else { Ok(changes.to_string().into_bytes()) }
}

/// Reads a plan in its JSON or its binary form.
pub(super) fn read(path: &Path) -> Result<ExecutionPlan, Failure> {
    let context = || format!("cannot read the plan {}", path.display());
    let bytes = fs::read(path).with_context(context).map_err(Failure::usage)?;
    let plan: ExecutionPlan = if bytes.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice(&bytes).with_context(context).map_err(not_a_plan)?
    } else {
        binary::decode(&bytes).with_context(context).map_err(not_a_plan)?
    };
    if plan.format != FORMAT {
        let error = anyhow!("{} has format {}, and this larder reads {FORMAT}", path.display(), plan.format);
        return Err(not_a_plan(error));
    }
    Ok(plan)
}

fn not_a_plan(error: anyhow::Error) -> Failure {
    Failure::usage(error).hint("write one with `larder plan PLAYBOOK -i INVENTORY --format json > FILE`")
}
