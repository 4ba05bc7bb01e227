//! `larder cache get`: one value, as it was put.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use larder::entry;
use larder::key::Key;

use crate::arguments::Global;
use crate::console::Console;
use crate::failure::{Code, Failure};
use crate::store;

/// Write the value of one entry to stdout; exit code 1 if there is none
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder cache get notes/text@1/greeting")]
pub(crate) struct Arguments {
    /// SCOPE/KIND@VERSION/ID
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// Write it to this file instead
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let disk = store::open(global)?.disk;
    let key = &arguments.key;
    let Some(envelope) = disk.blocking_get(key).map_err(store::failed)? else {
        console.note(format_args!("{key} is not kept"));
        return Ok(Code::Failed);
    };
    let opened = match entry::open(key, &envelope) {
        Ok(opened) => opened,
        Err(error) => {
            disk.blocking_quarantine(key).map_err(store::failed)?;
            return Err(Failure::failed(anyhow!("{key} is damaged and was set aside: {error}")));
        }
    };
    if opened.record.expired(larder::clock::Clock::system().wall()) {
        console.note(format_args!("{key} has expired"));
        return Ok(Code::Failed);
    }
    match &arguments.output {
        Some(file) => {
            std::fs::write(file, &opened.payload)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        None => std::io::stdout().write_all(&opened.payload)?,
    }
    Ok(Code::Done)
}
