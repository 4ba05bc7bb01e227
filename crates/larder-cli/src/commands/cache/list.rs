//! `larder cache list`: entries, the most interesting first.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use larder::clock::{Clock, Timestamp};
use larder::config::ByteSize;
use larder::key::{Digest, Selector};
use larder::tier::disk::{Listed, Order};
use serde::Serialize;

use super::with_selectors;
use crate::arguments::Global;
use crate::console::{Console, FAINT, NAME, ago, brief, rounded, stdout, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Tiers};

/// List entries
#[derive(Debug, Args)]
#[command(after_help = with_selectors("\
Examples:
  larder cache list
  larder cache list scope:notes --sort size -n 5
  larder cache list 'glob:*/go/**' --json"))]
pub(crate) struct Arguments {
    /// Which entries
    #[arg(default_value = "all")]
    selector: Selector,
    /// Which come first
    #[arg(long, value_name = "BY", default_value = "used")]
    sort: Sort,
    /// How many at most
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    /// Used most recently
    Used,
    /// Made most recently
    Created,
    /// Largest
    Size,
    /// What took longest to compute
    Cost,
    /// By scope, kind and id
    Key,
}

#[derive(Serialize)]
struct Shown {
    key: String,
    /// Bytes of the entry itself.
    bytes: u64,
    /// Bytes of the blobs that it names.
    blob_bytes: u64,
    created: Timestamp,
    used: Timestamp,
    expires: Option<Timestamp>,
    cost_seconds: f64,
    tags: Vec<String>,
    producer: String,
    blobs: Vec<Digest>,
}

impl From<&Listed> for Shown {
    fn from(listed: &Listed) -> Self {
        let record = &listed.record;
        Self {
            key: listed.key.to_string(),
            bytes: listed.bytes,
            blob_bytes: listed.blob_bytes,
            created: record.created,
            used: listed.used,
            expires: record.expires,
            cost_seconds: record.cost.as_secs_f64(),
            tags: record.tags.iter().map(ToString::to_string).collect(),
            producer: record.producer.to_string(),
            blobs: record.blobs.to_vec(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let disk = store::open(global, Tiers::Local)?.disk;
    let order = match arguments.sort {
        Sort::Used => Order::Used,
        Sort::Created => Order::Created,
        Sort::Size => Order::Size,
        Sort::Cost => Order::Cost,
        Sort::Key => Order::Key,
    };
    let listed = disk.list(&arguments.selector, order, arguments.limit).map_err(store::failed)?;
    if console.json {
        console.json(&listed.iter().map(Shown::from).collect::<Vec<_>>())?;
        return Ok(Code::Done);
    }
    let now = Clock::system().wall();
    let mut out = stdout();
    for entry in &listed {
        let size = rounded(ByteSize(entry.bytes + entry.blob_bytes));
        let cost = brief(entry.record.cost);
        let used = ago(now.since(entry.used));
        let about = styled(FAINT, format!("{size:>9}  {cost:>8}  used {used}"));
        let tags: String = entry.record.tags.iter().map(|tag| format!("  {tag}")).collect();
        writeln!(out, "{about}  {}{tags}", styled(NAME, &entry.key))?;
    }
    if listed.len() == arguments.limit {
        console.note(format_args!("the first {}; --limit shows more", arguments.limit));
    }
    Ok(Code::Done)
}
