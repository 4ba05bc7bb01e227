//! `larder cache clear`: removing everything.

use std::time::Duration;

use clap::Args;
use larder::config::ByteSize;
use larder::key::Selector;
use larder::tier::disk::Limits;
use serde::Serialize;

use super::gc;
use crate::arguments::Global;
use crate::console::{Console, GOOD, counted, rounded, styled};
use crate::failure::{Code, Failure};
use crate::store;

/// Remove everything that is kept
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Shown {
    entries: u64,
    bytes: u64,
}

pub(crate) fn run(global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global)?;
    let report = store::block_on(async {
        let report = store.opened.larder.invalidate(&Selector::all()).await;
        store.opened.close().await;
        report
    })?;
    if let Some((_, error)) = report.failed_tiers.into_iter().next() {
        return Err(store::failed(error));
    }
    // Whoever stores a blob now finds it gone when storing its entry, and then keeps nothing: no harm is done.
    let limits = Limits { grace: Duration::ZERO, ..Limits::default() };
    let swept = gc::collect(&store, &limits)?.map_or(0, |reclaimed| reclaimed.bytes);
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
