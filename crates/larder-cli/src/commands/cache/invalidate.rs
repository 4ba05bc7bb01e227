//! `larder cache invalidate`: removing what a selector selects.

use std::io::Write as _;

use clap::Args;
use larder::config::ByteSize;
use larder::key::Selector;
use larder::tier::disk::Order;
use serde::Serialize;

use super::with_selectors;
use crate::arguments::Global;
use crate::console::{Console, GOOD, counted, rounded, stdout, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Store, Tiers};

/// Remove entries, and revoke what is being computed from before
#[derive(Debug, Args)]
#[command(after_help = with_selectors("\
Examples:
  larder cache invalidate tag:release --dry-run
  larder cache invalidate scope:notes kind:go
  larder cache invalidate notes/text@1/greeting --local"))]
pub(crate) struct Arguments {
    /// Which entries
    #[arg(required = true)]
    selector: Vec<Selector>,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Only on this machine, and not in the tier that a team shares
    #[arg(long)]
    local: bool,
}

impl Arguments {
    fn tiers(&self) -> Tiers {
        if self.local { Tiers::Local } else { Tiers::All }
    }
}

#[derive(Default, Serialize)]
struct Outcome {
    removed: Vec<String>,
    bytes: u64,
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, arguments.tiers())?;
    let outcome = if arguments.dry_run {
        look(&store, &arguments.selector)?
    } else {
        store::block_on(remove(&store, &arguments.selector))??
    };
    if console.json {
        console.json(&outcome)?;
        return Ok(Code::Done);
    }
    if arguments.dry_run || console.verbose {
        let mut out = stdout();
        for key in &outcome.removed {
            writeln!(out, "{key}")?;
        }
    }
    let verb = if arguments.dry_run { "would remove" } else { "removed" };
    let entries = counted(outcome.removed.len() as u64, "entry", "entries");
    console.note(format_args!("{} {entries}, {}", styled(GOOD, verb), rounded(ByteSize(outcome.bytes))));
    if outcome.removed.is_empty() {
        console.note(format_args!("nothing here is selected so; `larder cache list` shows keys and tags"));
    }
    Ok(Code::Done)
}

fn look(store: &Store, selectors: &[Selector]) -> Result<Outcome, Failure> {
    let mut outcome = Outcome { dry_run: true, ..Outcome::default() };
    for selector in selectors {
        for entry in store.disk.list(selector, Order::Key, usize::MAX).map_err(store::failed)? {
            outcome.removed.push(entry.key.to_string());
            outcome.bytes += entry.bytes;
        }
    }
    Ok(outcome)
}

async fn remove(store: &Store, selectors: &[Selector]) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let mut untold = Vec::new();
    for selector in selectors {
        let report = store.opened.larder.invalidate(selector).await;
        untold.extend(report.failed_tiers);
        outcome.removed.extend(report.keys.iter().map(ToString::to_string));
        outcome.bytes += report.bytes;
    }
    store.opened.close().await;
    // Not before all of them are done as far as they can be.
    match untold.into_iter().next() {
        Some((tier, error)) => Err(store::untold(tier, error)),
        None => Ok(outcome),
    }
}
