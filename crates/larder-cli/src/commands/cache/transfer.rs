//! `larder cache export` and `larder cache import`: moving what is kept between machines.

use std::path::PathBuf;

use clap::Args;
use larder::config::ByteSize;
use larder::key::Selector;
use larder::tier::disk::{TransferError, Transferred};
use serde::Serialize;

use super::with_selectors;
use crate::arguments::Global;
use crate::console::{Console, GOOD, counted, rounded, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Tiers};

/// Write entries with all that belongs to them into one file
#[derive(Debug, Args)]
#[command(after_help = with_selectors("\
Examples:
  larder cache export everything.larder
  larder cache export notes.larder scope:notes"))]
pub(crate) struct Export {
    /// The file
    file: PathBuf,
    /// Which entries
    #[arg(default_value = "all")]
    selector: Selector,
}

/// Take in what `export` wrote; entries that are there already stay as they are
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder cache import everything.larder")]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
}

#[derive(Serialize)]
struct Shown {
    entries: u64,
    blobs: u64,
    bytes: u64,
    left_out: u64,
}

pub(crate) fn export(arguments: &Export, global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, Tiers::Local)?;
    let done = store.disk.export(&arguments.selector, &arguments.file);
    let done = done.map_err(|error| failed(error, &arguments.file))?;
    show(&done, ("wrote", "they, or blobs that they name, are damaged or gone"), console)
}

pub(crate) fn import(arguments: &Import, global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, Tiers::Local)?;
    let done = store.disk.import(&arguments.file);
    let done = done.map_err(|error| failed(error, &arguments.file))?;
    show(&done, ("took in", "they are here already, or were refused"), console)
}

fn show(done: &Transferred, (verb, why): (&str, &str), console: Console) -> Result<Code, Failure> {
    let Transferred { entries, blobs, bytes, left_out } = *done;
    if console.json {
        console.json(&Shown { entries, blobs, bytes, left_out })?;
        return Ok(Code::Done);
    }
    let (entries, blobs) = (counted(entries, "entry", "entries"), counted(blobs, "blob", "blobs"));
    console.note(format_args!("{} {entries} and {blobs}, {}", styled(GOOD, verb), rounded(ByteSize(bytes))));
    if left_out > 0 {
        console.note(format_args!("left out {}: {why}", counted(left_out, "entry", "entries")));
    }
    Ok(Code::Done)
}

/// What the user named is the user's to put right; the tier is not.
fn failed(error: TransferError, file: &std::path::Path) -> Failure {
    let is_the_tiers = matches!(error, TransferError::Tier(_));
    let error = anyhow::Error::from(error).context(file.display().to_string());
    if is_the_tiers { error.into() } else { Failure::failed(error) }
}
