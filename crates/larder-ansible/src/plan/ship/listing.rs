//! What can be shipped, for people and programs: `--list-binaries`.
//!
//! Not here: what is shipped (`group`).

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::{Binary, Shipping};
use crate::plan::text::{counted, described, duration};
use crate::plan::{ExecutionPlan, PlayPlan, schedule};

/// What can be shipped of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listing {
    /// The plays that were looked at, in order.
    pub plays: Vec<PlayListing>,
    /// Binaries.
    pub binaries: usize,
    /// Different programs among them.
    pub programs: usize,
    /// How long compiling them is assumed to take, in milliseconds.
    pub compile_ms: u64,
    /// Round trips without them.
    pub round_trips: usize,
    /// Those that they save.
    pub round_trips_saved: usize,
}

/// What can be shipped of a play.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlayListing {
    /// Its name.
    pub name: String,
    /// What can be shipped.
    #[serde(flatten)]
    pub shipping: Shipping,
    /// Each task in a line, for people.
    #[serde(skip)]
    lines: Vec<String>,
    #[serde(skip)]
    batches: usize,
}

/// Lists what can be shipped of a plan.
pub fn listing(plan: &ExecutionPlan) -> Listing {
    let of_play = |play: &Arc<PlayPlan>| {
        let shipping = play.shipping.clone()?;
        let lines = play.tasks.iter().map(described).collect();
        Some(PlayListing { name: play.name.clone(), shipping, lines, batches: play.batches.len() })
    };
    let plays: Vec<PlayListing> = plan.plays.iter().filter_map(of_play).collect();
    let binaries = || plays.iter().flat_map(|play| &play.shipping.binaries);
    Listing {
        binaries: binaries().count(),
        programs: binaries().filter(|binary| binary.compile_ms > 0).count(),
        compile_ms: binaries().map(|binary| binary.compile_ms).sum(),
        round_trips: plan.plays.iter().map(|play| schedule::toll(play, 1).by_ssh).sum(),
        round_trips_saved: binaries().map(|binary| binary.round_trips_saved).sum(),
        plays,
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, play) in self.plays.iter().enumerate() {
            writeln!(f, "play {}: {}", n + 1, play.name)?;
            play.shipping.binaries.iter().try_for_each(|binary| play.binary(binary, f))?;
            for obstacle in &play.shipping.by_ssh {
                writeln!(f, "  by ssh {}: {}", play.task(obstacle.task), obstacle.reason)?;
            }
            if !play.shipping.hosts_without_target.is_empty() {
                let hosts = play.shipping.hosts_without_target.join(", ");
                writeln!(f, "  no architecture is known of {hosts}")?;
            }
            writeln!(f)?;
        }
        let programs = counted(self.programs, "program", "programs");
        let compile = duration(self.compile_ms);
        writeln!(f, "{programs}, compiled in about {compile}")?;
        let saved = self.round_trips_saved;
        writeln!(f, "{saved} of {} saved", counted(self.round_trips, "round trip", "round trips"))
    }
}

impl PlayListing {
    fn task(&self, id: usize) -> String {
        format!("{} {}", id + 1, self.lines.get(id).map_or("", String::as_str))
    }

    fn binary(&self, binary: &Binary, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = if self.batches > 1 { format!(", batch {}", binary.batch + 1) } else { String::new() };
        let target = &binary.target;
        writeln!(
            f,
            "  program {} for {}-{}{batch}: {}",
            binary.program + 1,
            target.system,
            target.architecture,
            binary.hosts.join(", ")
        )?;
        for &task in &binary.tasks {
            writeln!(f, "    {}", self.task(task))?;
        }
        for file in &binary.files {
            writeln!(f, "    with {} ({} bytes)", file.path, file.bytes)?;
        }
        if !binary.variables.is_empty() {
            writeln!(f, "    given {}", binary.variables.join(", "))?;
        }
        if !binary.results.is_empty() {
            writeln!(f, "    gives {}", binary.results.join(", "))?;
        }
        let saves = counted(binary.round_trips_saved, "round trip", "round trips");
        writeln!(f, "    about {} KiB, saves {saves}", binary.size_bytes >> 10)
    }
}
