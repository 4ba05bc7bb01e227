//! Paths below the project's root, joined and normalised as text.
//!
//! Invariant: a path that comes out of here has no `.`, no `..` and no double slash. One that would lead above the
//! root is none.
//! Not here: whether something is there.

/// What a path begins with that is absolute within the project: what `playbook_dir` and `role_path` are made of, so
/// that answers do not depend on where the project lies.
pub(crate) const ROOT: &str = "/@project";

/// A path relative to a directory, or to the root if it begins with [`ROOT`]. `None` if it leads out of the project.
pub(crate) fn join(directory: &str, path: &str) -> Option<String> {
    let (directory, path) = match path.strip_prefix(ROOT) {
        Some(rest) => ("", rest.trim_start_matches('/')),
        None if path.starts_with('/') || path.starts_with('~') => return None,
        None => (directory, path),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The directory that a path is in; empty for the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// A path in the form in which templates see it.
pub(crate) fn absolute(path: &str) -> String {
    if path.is_empty() { ROOT.to_owned() } else { format!("{ROOT}/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_project() {
        assert_eq!(join("a/b", "../c/./d").as_deref(), Some("a/c/d"));
        assert_eq!(join("", "x.yml").as_deref(), Some("x.yml"));
        assert_eq!(join("a", "../..").as_deref(), None);
        assert_eq!(join("a", "/etc/passwd").as_deref(), None);
        assert_eq!(join("a", &format!("{}/t.yml", absolute("roles/x"))).as_deref(), Some("roles/x/t.yml"));
        assert_eq!((parent("a/b/c"), base("a/b/c"), parent("c")), ("a/b", "c", ""));
    }
}
