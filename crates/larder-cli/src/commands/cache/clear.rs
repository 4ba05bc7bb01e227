//! `larder cache clear`: removing everything, or all of a kind, of a scope or not used for long.

use std::time::Duration;

use clap::Args;
use larder::clock::{Clock, Timestamp};
use larder::config::{ByteSize, parse_duration};
use larder::key::{KindName, Scope, Selector};
use larder::tier::disk::Limits;
use serde::Serialize;

use super::gc;
use crate::arguments::Global;
use crate::console::{Console, GOOD, counted, rounded, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Tiers};

/// Remove everything that is kept, or all that fits each of these
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder cache clear
  larder cache clear --local
  larder cache clear --kind task --older-than '30 d'")]
pub(crate) struct Arguments {
    /// Only this kind, or this version of it
    #[arg(long, value_name = "NAME[@VERSION]")]
    kind: Option<String>,
    /// Only this scope
    #[arg(long, value_name = "NAME", value_parser = Scope::new)]
    scope: Option<Scope>,
    /// Only what was not used for so long: 30 d, 12 h, 90 min
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Only on this machine, and not in the tier that a team shares
    #[arg(long)]
    local: bool,
}

impl Arguments {
    fn tiers(&self) -> Tiers {
        if self.local { Tiers::Local } else { Tiers::All }
    }

    fn selector(&self) -> Result<Selector, Failure> {
        let mut selector = Selector::all();
        if let Some(kind) = &self.kind {
            selector = if kind.contains('@') {
                selector.of_kind_version(&KindName::parse(kind).map_err(Failure::usage)?)
            } else {
                // The name alone has to be one: nothing would match what is none.
                let kind = KindName::new(kind, 0).map_err(Failure::usage)?;
                selector.of_kind(kind.name())
            };
        }
        if let Some(scope) = &self.scope {
            selector = selector.in_scope(scope);
        }
        if let Some(age) = self.older_than {
            let now = Clock::system().wall().as_millis();
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            selector = selector.unused_since(Timestamp::from_millis(now.saturating_sub(age)));
        }
        Ok(selector)
    }
}

#[derive(Serialize)]
struct Shown {
    entries: u64,
    bytes: u64,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let selector = arguments.selector()?;
    let store = store::open(global, arguments.tiers())?;
    let report = store::block_on(async {
        let report = store.opened.larder.invalidate(&selector).await;
        store.opened.close().await;
        report
    })?;
    if let Some((tier, error)) = report.failed_tiers.into_iter().next() {
        return Err(store::untold(tier, error));
    }
    // Blobs that nothing names any more go as well, young ones too. Whoever stores a blob now finds it gone when
    // storing its entry, and then keeps nothing: no harm is done.
    let limits = Limits { grace: Duration::ZERO, ..Limits::default() };
    let swept = gc::done(store.opened.collect_to(&limits))?.map_or(0, |reclaimed| reclaimed.bytes);
    let shown = Shown { entries: report.keys.len() as u64, bytes: report.bytes + swept };
    if console.json {
        console.json(&shown)?;
    } else {
        let entries = counted(shown.entries, "entry", "entries");
        console.note(format_args!(
            "{} {entries}, {}",
            styled(GOOD, "removed"),
            rounded(ByteSize(shown.bytes))
        ));
    }
    Ok(Code::Done)
}
