//! Keys: scope / kind / id.
//!
//! Invariant: a [`Key`] is well formed, and its digest covers all three parts, each framed by its length.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Digest;

/// A part of a key is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A scope or kind name has a character outside `a-z A-Z 0-9 . _ -`, or is empty or too long.
    #[error("{part} {text:?} must be 1 to {max} characters of a-z, A-Z, 0-9, '.', '_' and '-'")]
    Name {
        /// Which part: "scope" or "kind".
        part: &'static str,
        /// What was given.
        text: String,
        /// How long it may be.
        max: usize,
    },
    /// A kind is not `name@version`.
    #[error("kind {0:?} must be a name, '@' and a version number, such as task@3")]
    Kind(String),
    /// An id is empty, too long or has control characters.
    #[error("id {0:?} must be 1 to {max} bytes without control characters", max = Key::MAX_ID_BYTES)]
    Id(String),
    /// A key is not scope, kind and id with slashes between.
    #[error("key {0:?} must be scope/kind@version/id")]
    Shape(String),
}

fn name(part: &'static str, text: &str, max: usize) -> Result<Arc<str>, KeyError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > max || !text.chars().all(good) {
        return Err(KeyError::Name { part, text: text.to_owned(), max });
    }
    Ok(text.into())
}

/// Whose an entry is: a project or tenant. Quotas, statistics and clearing go by scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// How long a scope's name may be.
    pub const MAX_LEN: usize = 64;

    /// Checks a name: 1 to 64 of `a-z A-Z 0-9 . _ -`.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        name("scope", text, Self::MAX_LEN).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.0)
    }
}

/// The namespace of one computation and its version, such as `task@3`.
///
/// A version bump makes old answers unreachable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindName {
    name: Arc<str>,
    version: u32,
}

impl KindName {
    /// How long a kind's name may be, without its version.
    pub const MAX_LEN: usize = 64;

    /// Checks a name: 1 to 64 of `a-z A-Z 0-9 . _ -`.
    pub fn new(text: &str, version: u32) -> Result<Self, KeyError> {
        Ok(Self { name: name("kind", text, Self::MAX_LEN)?, version })
    }

    /// Reads `name@version`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bad = || KeyError::Kind(text.to_owned());
        let (name, version) = text.split_once('@').ok_or_else(bad)?;
        // "+1" and "01" parse as numbers too, and would be a second spelling of the same kind.
        let version = version.parse::<u32>().ok().filter(|n| n.to_string() == version).ok_or_else(bad)?;
        Self::new(name, version)
    }

    /// The name without the version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl fmt::Debug for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KindName({self})")
    }
}

/// What an entry is filed under: scope / kind / id.
///
/// A clone is three reference counts. Equality and hashing go by the digest of all parts, computed once.
#[derive(Clone)]
pub struct Key {
    scope: Scope,
    kind: KindName,
    id: Arc<str>,
    digest: Digest,
}

impl Key {
    /// How long an id may be.
    pub const MAX_ID_BYTES: usize = 1024;

    /// Makes a key. The id is the digest of canonical parameters in hex, or a readable name whose `/` separate
    /// segments for prefixes and globs.
    pub fn new(scope: &Scope, kind: &KindName, id: &str) -> Result<Self, KeyError> {
        if id.is_empty() || id.len() > Self::MAX_ID_BYTES || id.chars().any(char::is_control) {
            return Err(KeyError::Id(id.to_owned()));
        }
        Ok(Self::of_parts(scope, kind, id))
    }

    /// Makes a key whose id is a digest.
    pub fn of_digest(scope: &Scope, kind: &KindName, id: Digest) -> Self {
        Self::of_parts(scope, kind, &id.to_string())
    }

    /// Reads `scope/kind@version/id`, the form that [`Key`] displays as.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let shape = || KeyError::Shape(text.to_owned());
        let (scope, rest) = text.split_once('/').ok_or_else(shape)?;
        let (kind, id) = rest.split_once('/').ok_or_else(shape)?;
        Self::new(&Scope::new(scope)?, &KindName::parse(kind)?, id)
    }

    fn of_parts(scope: &Scope, kind: &KindName, id: &str) -> Self {
        let mut framed = Vec::with_capacity(32 + scope.0.len() + kind.name.len() + id.len());
        framed.extend_from_slice(b"larder key 1");
        framed.push(scope.0.len() as u8);
        framed.extend_from_slice(scope.0.as_bytes());
        framed.push(kind.name.len() as u8);
        framed.extend_from_slice(kind.name.as_bytes());
        framed.extend_from_slice(&kind.version.to_le_bytes());
        framed.extend_from_slice(id.as_bytes());
        Self { scope: scope.clone(), kind: kind.clone(), id: id.into(), digest: Digest::of(&framed) }
    }

    /// Whose it is.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What was computed.
    pub fn kind(&self) -> &KindName {
        &self.kind
    }

    /// Which one of its kind.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Digest of all three parts.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest.table_hash());
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// By scope, kind and id, so that a prefix is a range.
impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.scope, &self.kind, &self.id).cmp(&(&other.scope, &other.kind, &other.id))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.scope, self.kind, self.id)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scope: &str, kind: &str, version: u32, id: &str) -> Key {
        Key::new(&Scope::new(scope).unwrap(), &KindName::new(kind, version).unwrap(), id).unwrap()
    }

    #[test]
    fn each_part_and_each_boundary_between_parts_counts() {
        let all = [
            key("a", "bc", 1, "d"),
            key("ab", "c", 1, "d"),
            key("a", "b", 1, "cd"),
            key("a", "bc", 2, "d"),
            key("a", "bc", 1, "e"),
        ];
        for (n, one) in all.iter().enumerate() {
            for other in &all[n + 1..] {
                assert_ne!(one, other);
            }
        }
    }

    #[test]
    fn the_digest_of_a_key_is_this_one_forever() {
        let golden = "e8fb4c6285b23e47";
        assert_eq!(format!("{:.16}", key("acme", "task", 3, "web#build").digest()), golden);
    }

    #[test]
    fn a_key_reads_back_from_its_text() {
        let key = key("acme.web", "plan.play", 1, "src/app rs/ü");
        assert_eq!(Key::parse(&key.to_string()).unwrap(), key);
    }

    #[test]
    fn parts_that_are_not_well_formed_are_refused_by_name() {
        let check = |text: &str| Key::parse(text).unwrap_err().to_string();
        assert_eq!(check("a"), "key \"a\" must be scope/kind@version/id");
        assert_eq!(
            check("a b/task@1/x"),
            "scope \"a b\" must be 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-'"
        );
        for kind in ["task", "task@", "task@-1", "task@+1", "task@01", "task@4294967296"] {
            let message = format!("kind {kind:?} must be a name, '@' and a version number, such as task@3");
            assert_eq!(check(&format!("a/{kind}/x")), message);
        }
        assert_eq!(check("a/task@1/"), "id \"\" must be 1 to 1024 bytes without control characters");
        assert!(check("a/task@1/x\n").starts_with("id \"x\\n\" must be"));
        assert!(check(&format!("a/task@1/{}", "x".repeat(1025))).starts_with("id "));
    }
}
