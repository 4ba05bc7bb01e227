//! `larder cache put`: a value of the user's own.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use larder::clock::{Clock, Timestamp};
use larder::config::parse_duration;
use larder::entry::compress::Level;
use larder::entry::{self, Codec, Record};
use larder::key::{Key, check_tag};
use larder::stats::{EvictionCause, Place};
use larder::tier::{PutOutcome, Sealed};
use serde::Serialize;

use crate::arguments::Global;
use crate::console::Console;
use crate::failure::{Code, Failure};
use crate::store::{self, Store, Tiers};

/// Keep a value from stdin or a file
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  echo hello | larder cache put notes/text@1/greeting --max-age '1 d'")]
pub(crate) struct Arguments {
    /// SCOPE/KIND@VERSION/ID
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// The file that has the value; otherwise stdin
    file: Option<PathBuf>,
    /// A name by which it can be selected
    #[arg(long, value_parser = tag)]
    tag: Vec<String>,
    /// How long it holds
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
}

#[derive(Serialize)]
struct Shown {
    key: String,
    bytes: u64,
    /// As it lies on disk.
    stored_bytes: u64,
    expires: Option<Timestamp>,
}

fn tag(text: &str) -> Result<String, larder::key::SelectorError> {
    check_tag(text).map(|()| text.to_owned())
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, Tiers::Local)?;
    let (settings, disk) = (store.config.settings(), &store.disk);
    if !settings.mode.writes() {
        let error = anyhow!("nothing is kept, as the mode is {}", settings.mode);
        return Err(Failure::usage(error).hint("`larder config show --origin mode` tells where that is set"));
    }
    let start = Instant::now();
    let began = disk.blocking_epoch().map_err(store::failed)?;
    let value = match &arguments.file {
        Some(file) => std::fs::read(file)
            .with_context(|| format!("cannot read {}", file.display()))
            .map_err(Failure::failed)?,
        None => {
            let mut value = Vec::new();
            std::io::stdin().read_to_end(&mut value).context("cannot read stdin")?;
            value
        }
    };
    let mut record = Record::new(Clock::system().wall(), start.elapsed());
    record.expires = arguments.max_age.map(|age| record.created.plus(age));
    let mut tags = arguments.tag.clone();
    tags.sort();
    tags.dedup();
    record.tags = tags.iter().map(|tag| tag.as_str().into()).collect();
    let level = Level::new(settings.disk.compression.into()).unwrap_or(Level::FAST);
    let key = arguments.key.clone();
    let envelope = entry::seal(&key, &record, Codec::Bytes, &value, level).map_err(Failure::usage)?;
    let (name, expires) = (key.to_string(), record.expires);
    let shown = Shown { key: name, bytes: value.len() as u64, stored_bytes: envelope.len() as u64, expires };
    let done = put(&store, Sealed { key, record, envelope, began }, shown.bytes);
    store::block_on(store.opened.close())?;
    if console.json && done.is_ok() {
        console.json(&shown)?;
    }
    done
}

fn put(store: &Store, sealed: Sealed, bytes: u64) -> Result<Code, Failure> {
    let (key, stored, start) = (sealed.key.clone(), sealed.envelope.len() as u64, Instant::now());
    let series = store.opened.larder.stats().series(key.scope(), key.kind());
    for outcome in store.disk.blocking_put(&[sealed]).map_err(store::failed)? {
        match outcome {
            PutOutcome::Kept => {}
            PutOutcome::Replaced { bytes } => series.evicted(Place::Disk, EvictionCause::Replaced, bytes),
            PutOutcome::Refused(why) => {
                return Err(Failure::failed(anyhow!("{key} is not kept: {why}")));
            }
        }
        series.put(Place::Disk, bytes, stored, Some(start.elapsed()));
    }
    Ok(Code::Done)
}
