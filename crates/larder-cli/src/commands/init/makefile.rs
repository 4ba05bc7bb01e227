//! Targets of a Makefile that people would type.

use std::path::Path;

use super::{Character, Draft, character, plain_name, programs, read};
use crate::failure::Failure;

pub(super) fn drafts(root: &Path) -> Result<Vec<Draft>, Failure> {
    for name in ["GNUmakefile", "makefile", "Makefile"] {
        if let Some(text) = read(&root.join(name))? {
            return Ok(targets(&text, root));
        }
    }
    Ok(Vec::new())
}

/// Explicit rules, in order. What has a dot or a slash in it is a file that a recipe makes, unless it is declared
/// phony; what stands behind `##` on the line is its description, as many Makefiles have it.
fn targets(text: &str, root: &Path) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    let phony: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY:"))
        .flat_map(str::split_whitespace)
        .collect();
    for line in text.lines() {
        if line.starts_with(['\t', ' ', '#', '.']) {
            continue;
        }
        let Some((names, rest)) = line.split_once(':') else { continue };
        // `a := b`, `a ::= b`, and a variable of a target only: `a: b = c`.
        let is_assignment =
            rest.trim_start_matches(':').starts_with('=') || names.contains(['=', '$', '%', '"']);
        if is_assignment || rest.split('#').next().unwrap_or_default().contains('=') {
            continue;
        }
        let description = rest.split_once("##").map(|(_, text)| text.trim().to_owned());
        for name in names.split_whitespace() {
            let typed = phony.contains(&name) || !name.contains('.');
            if !plain_name(name) || !typed || drafts.iter().any(|draft| draft.name == name) {
                continue;
            }
            // make's own cleaning and installing has nothing to keep.
            let character = match name {
                "clean" | "distclean" | "install" | "uninstall" | "all" => Character::Unknown,
                _ => character(name, root),
            };
            drafts.push(Draft {
                name: name.to_owned(),
                command: format!("make {name}"),
                description: description.clone(),
                character,
                depends_on: &[],
                tools: programs::named(text, true),
                doubt: None,
                from: "Makefile",
            });
        }
    }
    drafts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_from_assignments_patterns_and_files() {
        let text = "CC := cc\nX = a:b\n.PHONY: all v1.2\nall: prog test\nprog: main.o\n\tcc -o $@ $^\n%.o: %.c\n\
                    main.o: CFLAGS = -O2\nmain.o: main.c\nv1.2: ## Tag it\ntest check: prog ## Run the tests\n\t./t\n\
                    $(OUT): x\ndir/file: x\nprog: other\n";
        let drafts = targets(text, Path::new("/nowhere"));
        let shown: Vec<String> = drafts
            .iter()
            .map(|draft| {
                format!(
                    "{} {:?} {}",
                    draft.name,
                    draft.character,
                    draft.description.as_deref().unwrap_or("-")
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "all Unknown -",
                "prog Unknown -",
                "v1.2 Unknown Tag it",
                "test Check Run the tests",
                "check Check Run the tests",
            ]
        );
    }
}
