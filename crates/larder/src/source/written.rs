//! Files that the caller of a scan has just written, so that they need not be read again to know what is in them.
//!
//! Not here: whether that may be believed (`scan`).

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hashbrown::HashMap;

use super::Stat;
use crate::key::Digest;

/// Files that the caller has written, how each looked when it was whole, and what is in it.
#[derive(Debug, Default)]
pub struct Written(HashMap<Box<[u8]>, (Stat, Digest)>);

impl Written {
    /// Adds a file. `path` is relative to the root of the set; `metadata` is that of the open file after the last
    /// write, and `digest` of all that was written.
    pub fn add(&mut self, path: &Path, metadata: &Metadata, digest: Digest) {
        self.0.insert(path.as_os_str().as_bytes().into(), (Stat::from(metadata), digest));
    }

    /// What is in the file at `path`, if it looks as it did.
    pub(super) fn digest(&self, path: &[u8], stat: &Stat) -> Option<Digest> {
        self.0.get(path).filter(|(then, _)| then == stat).map(|(_, digest)| *digest)
    }

    /// Whether `path` is one of the files.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains_key(path)
    }
}
