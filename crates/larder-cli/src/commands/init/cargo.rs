//! What cargo has for every crate and that writes nothing which somebody wants to have.

use std::path::Path;

use super::{Character, Doubt, Draft, is_ignored};

/// Compiling is left to cargo, which keeps what it compiles itself: a test that passed is what is worth keeping.
pub(super) fn drafts(root: &Path) -> Vec<Draft> {
    if !root.join("Cargo.toml").is_file() {
        return Vec::new();
    }
    // rustup puts other programs in their place without a change to any file.
    let draft = |name: &str, command: &str, tools: &[&str]| Draft {
        name: name.to_owned(),
        command: command.to_owned(),
        description: None,
        character: Character::Check,
        depends_on: &[],
        tools: tools.iter().map(|&tool| tool.to_owned()).collect(),
        doubt: is_ignored(root, "Cargo.lock").then_some(Doubt::Versions),
        from: "Cargo.toml",
    };
    vec![
        draft("test", "cargo test --workspace", &["rustc -vV", "cargo -V"]),
        draft(
            "lint",
            "cargo clippy --workspace --all-targets -- -D warnings",
            &["rustc -vV", "cargo -V", "cargo clippy -V"],
        ),
        draft("format", "cargo fmt --all --check", &["cargo -V", "rustfmt -V"]),
    ]
}
