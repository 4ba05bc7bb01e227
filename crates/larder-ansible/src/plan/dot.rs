//! What depends on what, for Graphviz.

use std::fmt::Write as _;

use super::{ExecutionPlan, PlannedTask};

/// The graph of each play as a cluster; ends with a newline.
pub fn dot(plan: &ExecutionPlan) -> String {
    let mut out = "digraph plan {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for (n, play) in plan.plays.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{n} {{\n    label={};", quoted(&play.name));
        let all = || play.tasks.iter().chain(&play.handlers);
        for task in all() {
            let shape = if task.id < play.tasks.len() { "" } else { ", style=rounded" };
            let _ = writeln!(out, "    p{n}t{} [label={}{shape}];", task.id, quoted(&label(task)));
        }
        for task in all() {
            for dependency in &task.depends_on {
                let because = super::mermaid::because(dependency.because);
                let _ = writeln!(out, "    p{n}t{} -> p{n}t{} [label={because}];", dependency.on, task.id);
            }
        }
        out.push_str("  }\n");
    }
    out.push_str("}\n");
    out
}

/// A name in one line.
pub(super) fn label(task: &PlannedTask) -> String {
    task.name.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
