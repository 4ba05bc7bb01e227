//! Globs as people write them, read within bounds: compiling one that is far longer or deeper would end the process.
//!
//! Not here: what globs are matched against (`source`, `key`).

use globset::{ErrorKind, Glob, GlobBuilder};

/// How many bytes a glob may have.
const MAX_BYTES: usize = 16 << 10;
/// How deep braces may be nested in each other.
const MAX_DEPTH: usize = 32;

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is longer than any path.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Its braces are nested too deep.
    #[error("its braces are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A character class, braces or an escape are not well formed.
    #[error("{0}")]
    Syntax(ErrorKind),
}

/// Reads a glob of paths: `*` and `?` stay within one name, `**` is any number of directories, `\` escapes.
pub fn of_paths(text: &str) -> Result<Glob, GlobError> {
    read(text, GlobBuilder::new(text).literal_separator(true).backslash_escape(true))
}

/// Reads a glob of names, in which a slash is nothing special.
pub fn of_names(text: &str) -> Result<Glob, GlobError> {
    read(text, &GlobBuilder::new(text))
}

/// The glob that matches this path and nothing else. It does not begin with the `!` that turns lists of globs around.
pub fn escape(path: &str) -> String {
    let mut glob = String::with_capacity(path.len());
    for character in path.chars() {
        let is_special = matches!(character, '?' | '*' | '[' | ']' | '{' | '}' | '\\');
        if is_special || (character == '!' && glob.is_empty()) {
            glob.push('\\');
        }
        glob.push(character);
    }
    glob
}

fn read(text: &str, builder: &GlobBuilder<'_>) -> Result<Glob, GlobError> {
    check_bounds(text)?;
    builder.build().map_err(|error| GlobError::Syntax(error.kind().clone()))
}

/// Whether a text is neither too long nor too deep to be read. Braces count where they stand, in a class too.
pub(crate) fn check_bounds(text: &str) -> Result<(), GlobError> {
    if text.len() > MAX_BYTES {
        return Err(GlobError::TooLong);
    }
    let mut depth = 0usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(GlobError::TooDeep);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_path_matches_that_path_only() {
        for path in ["!a", "a!/[b]", "{a,b}", "a*", "?", "a\\b", "\\!", "plain/a.rs"] {
            let glob = escape(path);
            assert!(!glob.starts_with('!'), "{glob}");
            let glob = of_paths(&glob).unwrap().compile_matcher();
            assert!(glob.is_match(path) && !glob.is_match("a") && !glob.is_match("ab"), "{path}");
        }
        assert_eq!(escape("plain/a.rs"), "plain/a.rs");
    }

    #[test]
    fn what_is_within_bounds_compiles_whatever_it_is() {
        let nested = |depth: usize| "x{**/a,".repeat(depth) + "b" + &",c*}/**".repeat(depth);
        for text in [
            nested(MAX_DEPTH),
            "?".repeat(MAX_BYTES),
            "**/".repeat(MAX_BYTES / 3),
            "[a-z]".repeat(MAX_BYTES / 5),
        ] {
            let names = of_names(&text).map(|glob| glob.compile_matcher());
            let paths = of_paths(&text).map(|glob| glob.compile_matcher());
            assert!(names.is_ok() && paths.is_ok(), "{text:.20}");
        }
        assert_eq!(of_paths(&nested(MAX_DEPTH + 1)), Err(GlobError::TooDeep));
        assert_eq!(of_names(&"?".repeat(MAX_BYTES + 1)), Err(GlobError::TooLong));
        assert_eq!(of_paths(&"{".repeat(MAX_BYTES)), Err(GlobError::TooDeep));
        assert!(of_paths(&"\\{".repeat(100)).is_ok());
    }
}
