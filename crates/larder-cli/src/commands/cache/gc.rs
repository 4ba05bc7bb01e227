//! `larder cache gc`: keeping to the limits now.

use clap::Args;
use larder::config::ByteSize;
use larder::tier::TierError;
use larder::tier::disk::{Collected, Reclaimed};
use serde::Serialize;

use crate::arguments::Global;
use crate::console::{Console, GOOD, counted, rounded, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Tiers};

/// Remove what has expired or exceeds a limit, now instead of when it is due
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder cache gc
  larder cache gc --set disk.budget='2 GiB' --set disk.max_age='7 d'")]
pub(crate) struct Arguments {}

/// What was removed.
#[derive(Serialize)]
pub(super) struct Shown {
    expired: u64,
    unused: u64,
    evicted: u64,
    blobs: u64,
    bytes: u64,
    held_bytes: u64,
    leftovers: u64,
    tight: bool,
}

/// Another process is at it.
#[derive(Serialize)]
struct Busy {
    busy: bool,
}

impl From<&Reclaimed> for Shown {
    fn from(reclaimed: &Reclaimed) -> Self {
        Self {
            expired: reclaimed.expired,
            unused: reclaimed.unused,
            evicted: reclaimed.evicted,
            blobs: reclaimed.blobs,
            bytes: reclaimed.bytes,
            held_bytes: reclaimed.held_bytes,
            leftovers: reclaimed.leftovers,
            tight: reclaimed.tight,
        }
    }
}

pub(crate) fn run(global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, Tiers::Local)?;
    let Some(reclaimed) = done(store.opened.collect())? else {
        if console.json {
            console.json(&Busy { busy: true })?;
        } else {
            console.note(format_args!("nothing was done: another process is collecting just now"));
        }
        return Ok(Code::Done);
    };
    if console.json {
        console.json(&Shown::from(&reclaimed))?;
        return Ok(Code::Done);
    }
    let entries = reclaimed.expired + reclaimed.unused + reclaimed.evicted;
    let (entries, blobs) = (counted(entries, "entry", "entries"), counted(reclaimed.blobs, "blob", "blobs"));
    let size = rounded(ByteSize(reclaimed.bytes));
    console.note(format_args!("{} {entries} and {blobs}, {size}", styled(GOOD, "removed")));
    if reclaimed.held_bytes > 0 {
        let size = rounded(ByteSize(reclaimed.held_bytes));
        console.note(format_args!("{size} that nothing names are in use or too young to go"));
    }
    Ok(Code::Done)
}

/// What was removed; `None` if another process is at it.
pub(super) fn done(collected: Result<Option<Collected>, TierError>) -> Result<Option<Reclaimed>, Failure> {
    match collected.map_err(store::failed)? {
        Some(Collected::Done(reclaimed)) => Ok(Some(reclaimed)),
        Some(Collected::Busy) | None => Ok(None),
    }
}
