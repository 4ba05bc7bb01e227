//! What an answer is filed under: canonical form, digest, key and selector.
//!
//! Pure: nothing here reads a clock, a file or the environment. Everything that decides whether two
//! computations are the same computation is in this folder, and golden values in the tests show each change
//! of format.

mod canonical;
mod compound;
mod digest;
mod name;
mod selector;

pub use canonical::{Canonical, CanonicalError, Floats, Text};
pub use digest::{Algorithm, Digest, Hasher, Mismatch, ParseDigestError};
pub use name::{Key, KeyError, KindName, Scope};
pub use selector::{IdPattern, Selector, SelectorError, check_tag};
