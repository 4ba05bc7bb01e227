//! Differences for people, in the manner of `diff`: `+` came, `-` went, `~` differs.

use std::fmt;

use super::{Changes, FieldChange, PlayChanges, Presence, TaskName};

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plays.iter().try_for_each(|play| writeln!(f, "{play}"))?;
        match self.is_empty() {
            true => writeln!(f, "nothing differs"),
            false => writeln!(f, "impact {:.2}", self.impact),
        }
    }
}

impl fmt::Display for PlayChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.presence {
            Presence::Both => '~',
            Presence::Added => '+',
            Presence::Removed => '-',
        };
        writeln!(f, "{sign} play {}", self.name)?;
        for (sign, hosts) in [('+', &self.added_hosts), ('-', &self.removed_hosts)] {
            if !hosts.is_empty() {
                writeln!(f, "  {sign} hosts {}", hosts.join(", "))?;
            }
        }
        self.fields.iter().try_for_each(|field| writeln!(f, "  {field}"))?;
        for (sign, tasks) in [('+', &self.added), ('-', &self.removed)] {
            tasks.iter().try_for_each(|task| writeln!(f, "  {sign} {task}"))?;
        }
        for modified in &self.modified {
            writeln!(f, "  ~ {}{}", modified.task, if modified.moved { " (moved)" } else { "" })?;
            modified.fields.iter().try_for_each(|field| writeln!(f, "      {field}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.split_whitespace().collect::<Vec<_>>().join(" ");
        if name == self.module { f.write_str(&name) } else { write!(f, "{name} [{}]", self.module) }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, was, is } = self;
        match (was, is) {
            (Some(was), Some(is)) => write!(f, "{field}: {was} -> {is}"),
            (Some(was), None) => write!(f, "{field}: {was} -> (none)"),
            (None, is) => write!(f, "{field}: (none) -> {}", is.as_deref().unwrap_or("(none)")),
        }
    }
}
