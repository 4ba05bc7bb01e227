//! What a run would do.

use std::io::Write as _;

use anyhow::Result;
use larder::clock::{Clock, Timestamp};
use larder::key::Digest;
use larder_tasks::graph::Graph;
use larder_tasks::job::{Plan, Planned};
use serde::Serialize;

use crate::console::{Console, FAINT, GOOD, NAME, WARNING, ago, brief, stdout, styled};

#[derive(Serialize)]
struct Shown {
    task: String,
    would: &'static str,
    key: Option<Digest>,
    /// When the result that would be given back was made.
    made: Option<Timestamp>,
    saved_seconds: Option<f64>,
    /// Why its result would not be kept.
    not_kept: Option<String>,
    /// The task that would run before it and may change its key.
    after: Option<String>,
    notes: Vec<String>,
}

/// Prints a plan to stdout.
pub(super) fn print(graph: &Graph, plan: &Plan, console: Console) -> Result<()> {
    if console.json {
        let shown = graph.nodes().iter().zip(&plan.tasks).map(|(node, task)| {
            let mut shown = Shown {
                task: node.task().id.to_string(),
                would: "run",
                key: task.key.as_ref().map(larder_tasks::key::TaskKey::digest),
                made: None,
                saved_seconds: None,
                not_kept: None,
                after: None,
                notes: task.notes.iter().map(ToString::to_string).collect(),
            };
            match &task.planned {
                Planned::Hit { made, saves } => {
                    shown.would = "hit";
                    shown.made = Some(*made);
                    shown.saved_seconds = Some(saves.as_secs_f64());
                }
                Planned::Miss => {}
                Planned::Unkept(why) => shown.not_kept = Some(why.to_string()),
                Planned::After(name) => {
                    shown.would = "unknown";
                    shown.after = Some(name.clone());
                }
                Planned::Group => shown.would = "group",
            }
            shown
        });
        return console.json(&shown.collect::<Vec<_>>());
    }
    let width = graph.nodes().iter().map(|node| node.task().id.to_string().chars().count()).max();
    let width = width.unwrap_or_default();
    let now = Clock::system().wall();
    let mut out = stdout();
    for (node, task) in graph.nodes().iter().zip(&plan.tasks) {
        let words = match &task.planned {
            Planned::Hit { made, saves } => {
                let (made, saves) = (ago(now.since(*made)), brief(*saves));
                format!("{}, made {made}, {saves} saved", styled(GOOD, "hit"))
            }
            Planned::Miss => "would run".to_owned(),
            Planned::Unkept(why) => format!("would run, {}", styled(WARNING, format!("not kept: {why}"))),
            Planned::After(name) => format!("depends on what {name} makes"),
            Planned::Group => styled(FAINT, "has no command"),
        };
        let name = styled(NAME, format!("{:width$}", node.task().id.to_string()));
        writeln!(out, "{name}  {words}")?;
        for note in &task.notes {
            console.note(format_args!("{} {note}", styled(WARNING, "warning:")));
        }
    }
    Ok(())
}
