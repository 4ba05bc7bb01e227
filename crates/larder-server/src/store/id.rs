//! How clients name a content: a digest function, a digest and, where the protocol has it, a length.

use std::fmt;

use larder::key::{Algorithm, Digest};

/// The digest functions that clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// SHA-256.
    Sha256,
    /// BLAKE3 with 256 bits, which is larder's own.
    Blake3,
}

impl Function {
    /// The function as the library knows it.
    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            Self::Sha256 => Algorithm::Sha256,
            Self::Blake3 => Algorithm::Blake3,
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        })
    }
}

/// The name of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentId {
    /// Which function made the digest.
    pub function: Function,
    /// The digest of the content.
    pub digest: Digest,
}

impl ContentId {
    /// The name under which `function` has `bytes`.
    pub fn of(function: Function, bytes: &[u8]) -> Self {
        Self { function, digest: function.algorithm().digest(bytes) }
    }

    /// Whether it names the content of no bytes, which is always there.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::of(self.function, b"")
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.function, self.digest)
    }
}
