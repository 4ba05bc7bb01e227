//! The graph as text for people, dot and mermaid. An arrow leads from a task to what it needs.

use std::fmt::Write as _;

use super::Graph;

impl Graph {
    /// One line for each task in order, with what it needs.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let needs: Vec<String> =
                node.needs.iter().map(|need| self.nodes[*need].task.id.to_string()).collect();
            let mark = if needs.is_empty() { "" } else { " <- " };
            let _ = writeln!(text, "{}{mark}{}", node.task.id, needs.join(", "));
        }
        text
    }

    /// For Graphviz.
    pub fn to_dot(&self) -> String {
        let mut text = "digraph tasks {\n".to_owned();
        for node in &self.nodes {
            let id = quoted(&node.task.id.to_string());
            let _ = writeln!(text, "  {id};");
            for need in &node.needs {
                let _ = writeln!(text, "  {id} -> {};", quoted(&self.nodes[*need].task.id.to_string()));
            }
        }
        text + "}\n"
    }

    /// For Mermaid.
    pub fn to_mermaid(&self) -> String {
        let mut text = "graph TD\n".to_owned();
        for (at, node) in self.nodes.iter().enumerate() {
            // Mermaid has its own escapes, where `#quot;` is a quotation mark and a bare `#` starts one.
            let label = node.task.id.to_string().replace('#', "#35;").replace('"', "#quot;");
            let _ = writeln!(text, "  t{at}[\"{label}\"]");
            for need in &node.needs {
                let _ = writeln!(text, "  t{at} --> t{need}");
            }
        }
        text
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
