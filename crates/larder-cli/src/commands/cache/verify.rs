//! `larder cache verify`: whether everything kept is as it was written.

use std::io::Write as _;

use clap::Args;
use larder::config::ByteSize;
use serde::Serialize;

use crate::arguments::Global;
use crate::console::{BAD, Console, GOOD, counted, rounded, stdout, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Tiers};

/// Read and check everything that is kept; exit code 1 if something is damaged
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder cache verify || larder cache repair")]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Verified {
    entries: u64,
    blobs: u64,
    bytes: u64,
    found: u64,
    problems: Vec<String>,
}

pub(crate) fn run(global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, Tiers::Local)?;
    let verified = store.disk.verify().map_err(store::failed)?;
    let code = if verified.found == 0 { Code::Done } else { Code::Failed };
    let problems: Vec<String> = verified.problems.iter().map(ToString::to_string).collect();
    if console.json {
        let (entries, blobs, bytes, found) =
            (verified.entries, verified.blobs, verified.bytes, verified.found);
        console.json(&Verified { entries, blobs, bytes, found, problems })?;
        return Ok(code);
    }
    let mut out = stdout();
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    let (entries, blobs) =
        (counted(verified.entries, "entry", "entries"), counted(verified.blobs, "blob", "blobs"));
    let size = rounded(ByteSize(verified.bytes));
    match verified.found {
        0 => console.note(format_args!("{} {entries} and {blobs}, {size}", styled(GOOD, "ok:"))),
        found => {
            let found = counted(found, "problem", "problems");
            console.note(format_args!("{} in {entries} and {blobs}, {size}", styled(BAD, found)));
            console.note(format_args!("hint: `larder cache repair` drops what is broken"));
        }
    }
    Ok(code)
}
