//! `larder cache repair`: dropping what is broken, and deriving anew what can be derived.

use clap::Args;
use larder::config::ByteSize;
use serde::Serialize;

use super::gc;
use crate::arguments::Global;
use crate::console::{Console, GOOD, counted, rounded, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Tiers};

/// Drop what is damaged and put right what can be derived from the rest
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder cache repair && larder cache verify")]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Repaired {
    index_renewed: bool,
    entries_rescued: u64,
    entries_dropped: u64,
    entries_derived: u64,
    blobs_dropped: u64,
    swept: gc::Shown,
}

pub(crate) fn run(global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, Tiers::Local)?;
    let repaired = store.disk.repair().map_err(store::failed)?;
    if console.json {
        console.json(&Repaired {
            index_renewed: repaired.index_renewed,
            entries_rescued: repaired.entries_rescued,
            entries_dropped: repaired.entries_dropped,
            entries_derived: repaired.entries_derived,
            blobs_dropped: repaired.blobs_dropped,
            swept: gc::Shown::from(&repaired.swept),
        })?;
        return Ok(Code::Done);
    }
    if repaired.index_renewed {
        let rescued = counted(repaired.entries_rescued, "entry", "entries");
        console.note(format_args!("the index was damaged; a new one has {rescued} of it"));
    }
    let entries = counted(repaired.entries_dropped, "entry", "entries");
    let blobs = counted(repaired.blobs_dropped, "blob", "blobs");
    console.note(format_args!("{} {entries} and {blobs} that were damaged", styled(GOOD, "dropped")));
    if repaired.entries_derived > 0 {
        let entries = counted(repaired.entries_derived, "entry", "entries");
        console.note(format_args!("{} what the index says about {entries}", styled(GOOD, "derived")));
    }
    if repaired.swept.bytes > 0 {
        let size = rounded(ByteSize(repaired.swept.bytes));
        console.note(format_args!("{} {size} that nothing named", styled(GOOD, "removed")));
    }
    Ok(Code::Done)
}
