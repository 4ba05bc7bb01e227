//! A plan as text for people.
//!
//! Not here: colours (the command line).

use std::fmt::Write as _;

use super::schedule;
use super::{Effect, ExecutionPlan, PlannedTask, PlayPlan, Risk};
use crate::compiled::Section;

/// The plan as text; ends with a newline.
pub fn text(plan: &ExecutionPlan) -> String {
    let mut out = String::new();
    for (n, play) in plan.plays.iter().enumerate() {
        self::play(n + 1, play, &mut out);
        out.push('\n');
    }
    let totals = &plan.totals;
    let counts = [
        counted(totals.plays, "play", "plays"),
        counted(totals.hosts, "host", "hosts"),
        counted(totals.tasks, "task", "tasks"),
        counted(totals.handlers, "handler", "handlers"),
        counted(totals.task_runs, "run of a task", "runs of tasks"),
    ];
    let _ = writeln!(out, "{}, about {}", counts.join(", "), duration(totals.estimate_ms));
    if totals.binaries > 0 {
        let binaries = counted(totals.binaries, "program", "programs");
        let trips = counted(totals.round_trips, "round trip", "round trips");
        let share = totals.network_efficiency.unwrap_or(0.0) * 100.0;
        let _ = writeln!(out, "{binaries} shipped: {trips}, {share:.0} % fewer");
    }
    if let Some(parallelism) = totals.parallelism {
        let _ = writeln!(out, "{parallelism:.1} tasks could run at a time on a host, on average");
    }
    out
}

fn play(number: usize, play: &PlayPlan, out: &mut String) {
    let _ = writeln!(out, "play {number}: {} ({})", play.name, play.patterns.join(","));
    if play.hosts.is_empty() {
        let _ = writeln!(out, "  no hosts");
    }
    for (n, batch) in play.batches.iter().enumerate() {
        let what = if play.batches.len() > 1 { format!("batch {}", n + 1) } else { "hosts".to_owned() };
        let _ = writeln!(out, "  {what}: {}", batch.hosts.join(", "));
    }
    if play.strategy != "linear" {
        let _ = writeln!(out, "  strategy: {}", play.strategy);
    }
    for binary in play.shipping.iter().filter(|_| schedule::ships(play)).flat_map(|one| &one.binaries) {
        let tasks: Vec<String> = binary.tasks.iter().map(|task| (task + 1).to_string()).collect();
        let _ = writeln!(
            out,
            "  program {} does {} on {}",
            binary.program + 1,
            tasks.join(", "),
            binary.hosts.join(", ")
        );
    }
    let width = play.tasks.len().to_string().len();
    for task in &play.tasks {
        let _ = writeln!(out, "  {:>width$}  {}", task.id + 1, described(task));
    }
    for handler in &play.handlers {
        let _ = writeln!(out, "  {:>width$}  {} (handler)", "-", described(handler));
    }
}

/// One line without the line breaks that a name may have.
pub(super) fn described(task: &PlannedTask) -> String {
    let name = task.name.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = if name == task.module { name } else { format!("{name} [{}]", task.module) };
    match task.section {
        Section::Block => {}
        Section::Rescue => line.push_str(" rescue"),
        Section::Always => line.push_str(" always"),
    }
    if !task.when.is_empty() {
        let _ = write!(line, " when {}", task.when.join(" and "));
    }
    if !task.notify.is_empty() {
        let _ = write!(line, " notifies {}", task.notify.join(", "));
    }
    if task.run_once {
        line.push_str(" once");
    }
    if let Some(host) = &task.delegate_to {
        let _ = write!(line, " on {host}");
    }
    line.push_str(match task.effect {
        Effect::Applies => "",
        Effect::Predicts => " only predicts",
        Effect::Skips => " is skipped",
        Effect::Never => " never runs",
    });
    if task.diff {
        line.push_str(" with its diff");
    }
    match task.risk {
        Risk::Low | Risk::Medium => {}
        Risk::High => line.push_str(" !"),
        Risk::Critical => line.push_str(" !!"),
    }
    line
}

pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

pub(super) fn duration(ms: u64) -> String {
    match ms / 1000 {
        0 if ms > 0 => format!("{ms} ms"),
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
