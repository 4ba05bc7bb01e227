//! The text of a new `larder.toml`.

use std::fmt::Write as _;

use super::{Character, Doubt, Draft, Plan};

pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = (|| -> std::fmt::Result {
        if plan.dir.is_empty() {
            writeln!(text, "[workspace]")?;
            if !plan.members.is_empty() {
                writeln!(text, "members = {}", list(&plan.members))?;
            }
        }
        for (table, tasks) in [("workspace.tasks", &plan.templates), ("tasks", &plan.tasks)] {
            for task in tasks {
                if !text.is_empty() {
                    writeln!(text)?;
                }
                write_task(&mut text, table, task)?;
            }
        }
        Ok(())
    })();
    text
}

fn write_task(text: &mut String, table: &str, task: &Draft) -> std::fmt::Result {
    let name = if task.name.contains(['.', ':']) { quoted(&task.name) } else { task.name.clone() };
    writeln!(text, "[{table}.{name}] # from {}", task.from)?;
    writeln!(text, "command = {}", quoted(&task.command))?;
    if let Some(description) = &task.description {
        writeln!(text, "description = {}", quoted(description))?;
    }
    if !task.depends_on.is_empty() {
        let names: Vec<String> = task.depends_on.iter().map(|&name| name.to_owned()).collect();
        writeln!(text, "depends_on = {}", list(&names))?;
    }
    // Without `inputs`, every file of the package that git does not ignore is one.
    let (is_known, keeping) = match &task.character {
        Character::Check => (true, "cache = true".to_owned()),
        Character::Build(outputs) if !outputs.is_empty() => (true, format!("outputs = {}", list(outputs))),
        Character::Persistent => return writeln!(text, "persistent = true"),
        Character::Build(_) | Character::Unknown => (false, "outputs = [\"dist\"]".to_owned()),
    };
    let (missing, line) = match task.doubt {
        None => {
            if !is_known {
                return writeln!(text, "# Say what it writes, and it is kept: {keeping}");
            }
            if !task.tools.is_empty() {
                writeln!(text, "tools = {}", list(&task.tools))?;
            }
            return writeln!(text, "{keeping}");
        }
        Some(Doubt::OtherPackages) => {
            let line = "inputs = [\"src/**\", \"//package.json\"]";
            ("what it reads, also of other packages and of the root", line)
        }
        Some(Doubt::Versions) => {
            return writeln!(
                text,
                "# No lock file that git has tells which versions it uses, so it is not kept."
            );
        }
    };
    writeln!(text, "# Say {missing}, and it is kept:\n# {line}\n# {keeping}")
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
