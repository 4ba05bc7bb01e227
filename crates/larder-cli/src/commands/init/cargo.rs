//! What cargo has for every crate and that writes nothing which somebody wants to have.

use std::path::Path;

use super::{Character, Draft};

/// Compiling is left to cargo, which keeps what it compiles itself: a test that passed is what is worth keeping.
pub(super) fn drafts(root: &Path) -> Vec<Draft> {
    if !root.join("Cargo.toml").is_file() {
        return Vec::new();
    }
    let draft = |name: &str, command: &str| Draft {
        name: name.to_owned(),
        command: command.to_owned(),
        description: None,
        character: Character::Check,
        from: "Cargo.toml",
    };
    vec![
        draft("test", "cargo test --workspace"),
        draft("lint", "cargo clippy --workspace --all-targets -- -D warnings"),
        draft("format", "cargo fmt --all --check"),
    ]
}
