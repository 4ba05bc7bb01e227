//! The end of a run: for people in a line, for programs as JSON.

use std::time::Duration;

use larder::clock::Timestamp;
use larder::engine::Sharing;
use larder::key::Digest;
use larder_tasks::event::{How, Summary};
use larder_tasks::graph::Graph;
use serde::Serialize;

use super::status::Verdict;
use crate::console::{BAD, FAINT, GOOD, WARNING, brief, counted, styled};

/// How many tasks ended how.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    tasks: u64,
    hits: u64,
    ran: u64,
    failed: u64,
    not_run: u64,
    saved: Duration,
}

impl Counts {
    fn of(summary: &Summary) -> Self {
        let mut counts = Self::default();
        for end in &summary.ends {
            let count = match Verdict::of(end) {
                Verdict::Hit => &mut counts.hits,
                Verdict::Ran => &mut counts.ran,
                Verdict::Failed => &mut counts.failed,
                Verdict::NotRun => &mut counts.not_run,
                Verdict::Group => continue,
            };
            *count += 1;
            counts.tasks += 1;
            if let How::Hit(hit) = &end.how {
                counts.saved += hit.saves.saturating_sub(end.took);
            }
        }
        counts
    }
}

/// One line: `5 tasks: 4 hits, 1 ran in 12.3 ms, 3.40 s saved`.
pub(super) fn line(summary: &Summary) -> String {
    let counts = Counts::of(summary);
    let mut parts = Vec::new();
    if counts.hits > 0 {
        parts.push(styled(GOOD, counted(counts.hits, "hit", "hits")));
    }
    if counts.ran > 0 {
        parts.push(format!("{} ran", counts.ran));
    }
    if counts.failed > 0 {
        parts.push(styled(BAD, format!("{} failed", counts.failed)));
    }
    if counts.not_run > 0 {
        parts.push(styled(FAINT, format!("{} did not run", counts.not_run)));
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    let saved = if counts.hits > 0 { format!(", {} saved", brief(counts.saved)) } else { String::new() };
    let tasks = counted(counts.tasks, "task", "tasks");
    format!("{tasks}: {} in {}{saved}", parts.join(", "), brief(summary.took))
}

/// What is to be said of the shared tier: nothing where all went well.
pub(super) fn sharing(sharing: &Sharing) -> Option<String> {
    let warning = styled(WARNING, "warning:");
    let unsent = (sharing.unsent > 0).then(|| {
        let results = counted(sharing.unsent, "result was", "results were");
        format!("{results} not sent")
    });
    match (&sharing.trouble, unsent) {
        (None, None) => None,
        (None, Some(unsent)) => Some(format!("{warning} {unsent} to the shared tier {}", sharing.tier)),
        (Some(trouble), unsent) => {
            let unsent = unsent.map(|unsent| format!("; {unsent}")).unwrap_or_default();
            Some(format!("{warning} the shared tier {} is left alone: {trouble}{unsent}", sharing.tier))
        }
    }
}

/// The whole run.
#[derive(Serialize)]
pub(super) struct Shown {
    success: bool,
    stopped: bool,
    took_seconds: f64,
    saved_seconds: f64,
    hits: u64,
    ran: u64,
    failed: u64,
    not_run: u64,
    /// What came of the shared tier; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<ShownSharing>,
    tasks: Vec<ShownTask>,
}

#[derive(Serialize)]
struct ShownSharing {
    tier: &'static str,
    /// Why it was left alone, if it was.
    trouble: Option<String>,
    /// How many results were to be sent and were not.
    unsent: u64,
}

#[derive(Serialize)]
struct ShownTask {
    task: String,
    status: &'static str,
    exit_code: Option<u8>,
    took_seconds: f64,
    key: Option<Digest>,
    outputs: Option<Digest>,
    /// Why a result of this run is not kept.
    not_kept: Option<String>,
    /// Why it did not run.
    not_run: Option<String>,
    hit: Option<ShownHit>,
    /// What came out differently when a hit was run again; absent if it was not.
    audit: Option<Vec<String>>,
}

#[derive(Serialize)]
struct ShownHit {
    from: String,
    saved_seconds: f64,
    made: Timestamp,
    producer: String,
    outputs_restored: usize,
    outputs_left_alone: usize,
    extra_files_removed: usize,
}

/// The run for programs.
pub(super) fn shown(graph: &Graph, summary: &Summary, sharing: Option<&Sharing>) -> Shown {
    let counts = Counts::of(summary);
    let tasks = graph.nodes().iter().zip(&summary.ends).enumerate().map(|(at, (node, end))| ShownTask {
        task: node.task().id.to_string(),
        status: Verdict::of(end).as_str(),
        exit_code: end.exit.map(larder_tasks::Exit::code),
        took_seconds: end.took.as_secs_f64(),
        key: end.key,
        outputs: end.outputs,
        not_kept: match &end.how {
            How::Ran { unkept } => unkept.as_ref().map(ToString::to_string),
            _ => None,
        },
        not_run: match &end.how {
            How::NotRun(why) => Some(why.to_string()),
            _ => None,
        },
        hit: match &end.how {
            How::Hit(hit) => Some(ShownHit {
                from: hit.from.to_string(),
                saved_seconds: hit.saves.as_secs_f64(),
                made: hit.made,
                producer: hit.producer.to_string(),
                outputs_restored: hit.restored.written,
                outputs_left_alone: hit.restored.left_alone,
                extra_files_removed: hit.restored.removed,
            }),
            _ => None,
        },
        audit: summary.audits.iter().find(|audit| audit.task == at).map(|audit| audit.differences.clone()),
    });
    Shown {
        success: summary.is_success(),
        stopped: summary.stopped,
        took_seconds: summary.took.as_secs_f64(),
        saved_seconds: counts.saved.as_secs_f64(),
        hits: counts.hits,
        ran: counts.ran,
        failed: counts.failed,
        not_run: counts.not_run,
        shared: sharing.map(|Sharing { tier, trouble, unsent, .. }| ShownSharing {
            tier,
            trouble: trouble.clone(),
            unsent: *unsent,
        }),
        tasks: tasks.collect(),
    }
}
