//! How a plan came about: whether it was kept, of which parts it was made, what that took and saved.
//!
//! On stderr, as the plan itself has no times in it: in words, or with --json as one line of JSON.

use anyhow::Context as _;
use larder_ansible::planner::{Part, Planned, Reuse};
use serde::Serialize;

use crate::console::{Console, brief};
use crate::failure::Failure;

/// The same for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    /// Whether the plan was kept as a whole.
    cached: bool,
    /// Whether it was made of parts of which some were kept.
    incremental: bool,
    /// By kinds, how many of its parts were kept and computed; none if it was kept as a whole.
    parts: &'a [Part],
    took_seconds: f64,
    /// How much less that is than what making it from nothing took; null if that is not known.
    saved_seconds: Option<f64>,
}

pub(super) fn tell(planned: &Planned, console: Console) -> Result<(), Failure> {
    let parts: &[Part] = match &planned.reuse {
        Reuse::Whole => &[],
        Reuse::Parts(parts) => parts,
    };
    if console.json {
        let outcome = Outcome {
            cached: planned.was_cached(),
            incremental: planned.was_incremental(),
            parts,
            took_seconds: planned.took.as_secs_f64(),
            saved_seconds: planned.saved.map(|saved| saved.as_secs_f64()),
        };
        let line = serde_json::to_string(&outcome).context("cannot write JSON")?;
        console.note(format_args!("{line}"));
        return Ok(());
    }
    let took = brief(planned.took);
    let saved = planned.saved.map(|saved| format!(", which saved {}", brief(saved))).unwrap_or_default();
    if planned.was_cached() {
        console.note(format_args!("kept, in {took}{saved}"));
        return Ok(());
    }
    let (kept, all) = planned.reuse.counts();
    console.note(format_args!("made in {took}: {kept} of {all} parts kept{saved}"));
    if console.verbose {
        for Part { kind, kept, computed } in parts {
            console.note(format_args!("  {kind}: {kept} kept, {computed} computed"));
        }
    }
    Ok(())
}
