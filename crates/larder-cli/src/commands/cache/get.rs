//! `larder cache get`: one value, as it was put.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::Args;
use larder::clock::Clock;
use larder::entry;
use larder::key::Key;
use larder::stats::Place;

use crate::arguments::Global;
use crate::console::{Console, raw_stdout};
use crate::failure::{Code, Failure};
use crate::store::{self, Store, Tiers};

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
    console
        .has_no_json("a value is written as it was put", "`larder cache list KEY --json` tells about it")?;
    let store = store::open(global, Tiers::Local)?;
    let found = find(&arguments.key, &store);
    store::block_on(store.opened.close())?;
    let opened = match found? {
        Ok(opened) => opened,
        Err(why) => {
            console.note(format_args!("{} {why}", arguments.key));
            return Ok(Code::Failed);
        }
    };
    match &arguments.output {
        Some(file) => {
            std::fs::write(file, &opened.payload)
                .with_context(|| format!("cannot write {}", file.display()))
                .map_err(Failure::failed)?;
        }
        None => raw_stdout().write_all(&opened.payload)?,
    }
    Ok(Code::Done)
}

/// Looks for the entry and counts that it was asked for. The inner error says why there is none.
fn find(key: &Key, store: &Store) -> Result<Result<entry::Opened, &'static str>, Failure> {
    let (disk, start) = (&store.disk, Instant::now());
    let series = store.opened.larder.stats().series(key.scope(), key.kind());
    let found = disk.blocking_get(key).map_err(store::failed)?;
    series.lookup(Place::Disk, found.is_some(), Some(start.elapsed()));
    let miss = |why| {
        series.miss(key, Some(start.elapsed()));
        Ok(Err(why))
    };
    let Some(envelope) = found else { return miss("is not kept") };
    let opened = match entry::open(key, &envelope) {
        Ok(opened) => opened,
        Err(error) => {
            series.corrupt(Place::Disk);
            series.miss(key, Some(start.elapsed()));
            disk.blocking_quarantine(key).map_err(store::failed)?;
            return Err(Failure::failed(anyhow!("{key} is damaged and was set aside: {error}")));
        }
    };
    if opened.record.expired(Clock::system().wall()) {
        return miss("has expired");
    }
    series.hit(Place::Disk, key, opened.record.cost, Some(start.elapsed()));
    Ok(Ok(opened))
}
