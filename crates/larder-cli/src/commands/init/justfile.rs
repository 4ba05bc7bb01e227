//! Recipes of a justfile that can be run without arguments.

use std::path::Path;

use super::{Draft, character, plain_name, programs, read};
use crate::failure::Failure;

pub(super) fn drafts(root: &Path) -> Result<Vec<Draft>, Failure> {
    for name in ["justfile", "Justfile", ".justfile"] {
        if let Some(text) = read(&root.join(name))? {
            return Ok(recipes(&text, root));
        }
    }
    Ok(Vec::new())
}

/// Recipes in order. Those whose name begins with `_` or that are marked `[private]` are not for people, and
/// those with a parameter that has no default cannot be run as they are. A comment above is the description.
fn recipes(text: &str, root: &Path) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let (mut comment, mut private) = (None, false);
    for line in text.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment = Some(text.trim().to_owned()).filter(|text| !text.is_empty() && !text.starts_with('!'));
            continue;
        }
        if line.starts_with('[') {
            private |= line.contains("private");
            continue;
        }
        let (description, hidden) = (comment.take(), std::mem::take(&mut private));
        if line.starts_with([' ', '\t'])
            || line.contains(":=") && !line.contains("='") && !line.contains("=\"")
        {
            continue;
        }
        let Some(head) = line.split_once(':').map(|(head, _)| head) else { continue };
        let mut words = head.split_whitespace();
        let Some(name) = words.next().map(|name| name.trim_start_matches('@')) else { continue };
        // `*rest` may be empty, `+rest` may not.
        let can_run = words.all(|parameter| parameter.contains('=') || parameter.starts_with('*'));
        if hidden
            || !can_run
            || !plain_name(name)
            || matches!(name, "set" | "alias" | "import" | "mod" | "export")
        {
            continue;
        }
        drafts.push(Draft {
            name: name.to_owned(),
            command: format!("just {name}"),
            description,
            character: character(name, root),
            depends_on: &[],
            tools: programs::named(text, false),
            doubt: None,
            from: "justfile",
        });
    }
    drafts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_that_need_nothing_are_found() {
        let text = "set shell := [\"bash\"]\nversion := \"1:2\"\n# Build it\n@build: prepare\n    cargo build\n\n\
                    test filter='':\n  x\nrelease version:\n  y\n_hidden:\n  z\n[private]\nhelper:\n  z\n\
                    run *args: build\n  z\nalias b := build\n";
        let drafts = recipes(text, Path::new("/nowhere"));
        let shown: Vec<String> =
            drafts.iter().map(|draft| format!("{}: {:?}", draft.name, draft.description)).collect();
        assert_eq!(shown, ["build: Some(\"Build it\")", "test: None", "run: None"]);
    }
}
