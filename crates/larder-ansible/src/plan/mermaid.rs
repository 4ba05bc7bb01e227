//! What depends on what, for Mermaid.

use std::fmt::Write as _;

use super::{Because, ExecutionPlan};

/// The graph of each play as a subgraph; ends with a newline.
pub fn mermaid(plan: &ExecutionPlan) -> String {
    let mut out = "flowchart LR\n".to_owned();
    for (n, play) in plan.plays.iter().enumerate() {
        let _ = writeln!(out, "  subgraph p{n} [{}]", quoted(&play.name));
        for task in play.tasks.iter().chain(&play.handlers) {
            let label = quoted(&super::dot::label(task));
            let (open, close) = if task.id < play.tasks.len() { ("[", "]") } else { ("(", ")") };
            let _ = writeln!(out, "    p{n}t{}{open}{label}{close}", task.id);
        }
        for task in play.tasks.iter().chain(&play.handlers) {
            for dependency in &task.depends_on {
                let because = because(dependency.because);
                let _ = writeln!(out, "    p{n}t{} -->|{because}| p{n}t{}", dependency.on, task.id);
            }
        }
        out.push_str("  end\n");
    }
    out
}

pub(super) fn because(because: Because) -> &'static str {
    match because {
        Because::Order => "order",
        Because::Block => "block",
        Because::Variable => "variable",
        Because::Path => "path",
        Because::Resource => "resource",
        Because::Notify => "notify",
    }
}

/// Text in quotes, with what Mermaid reads as its own written as entities.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '`' | '{' | '}' => drop(write!(out, "#{};", u32::from(c))),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
