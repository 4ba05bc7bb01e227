//! Globs: which files patterns select, by a scan that an earlier one spares most of the work.
//!
//! Not here: how a set is scanned (`source`).

use std::fmt;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::observe::{Name, Scanned, View};
use super::outside::LookError;
use super::tables::id_of;
use crate::key::Canonical;
use crate::query::{NotBelowRoot, RootPath, split_root};
use crate::source::{EntryKind, FileSet, Snapshot, Vigil};

impl View {
    /// The files that match, sorted. A snapshot of an earlier look spares reading them.
    pub(super) async fn glob(
        &self,
        patterns: &Arc<[Box<str>]>,
    ) -> Result<(Arc<[RootPath]>, Option<Vigil>), LookError> {
        let (name, patterns) = below_one_root(patterns)?;
        let Some(root) = self.outside.directory(name.as_deref()).map(Path::to_owned) else {
            return Err(LookError::UnknownRoot(name.unwrap_or_default()));
        };
        let place = self.place(name.as_deref()).await?;
        // A snapshot is of one root: those of several clones do not take each other's place.
        let id = Canonical::new().digest(&(id_of(&root), &patterns));
        let id = id.expect("a digest and a list of strings have a canonical form");
        let key = self.snapshots.key_of_digest(id);
        let previous = self.snapshots.peek(&key).await.map(|(entry, _)| Arc::clone(&entry.value.0));
        let clock = self.snapshots.larder.clock().clone();
        let began = clock.now();
        let scan = self.blocking(move || {
            let set = FileSet::inputs(&place.root).patterns(patterns).build()?;
            let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
            place.scan(&set, previous.as_ref(), threads)
        });
        let (scan, vigil, mark) = scan.await?;
        self.count(&scan.counts);
        if scan.is_new() {
            let took = self.snapshots.larder.clock().now().since(began);
            self.snapshots.put(&key, KeptSnapshot(Arc::clone(&scan.snapshot)), took).await;
        }
        let files = scan
            .snapshot
            .entries()
            .filter(|entry| matches!(entry.kind, EntryKind::File(_) | EntryKind::LinkedFile(_)));
        // A path that a snapshot has is below the root.
        let paths = files.filter_map(|entry| RootPath::join(name.as_deref(), entry.path).ok()).collect();
        self.note_scan(Scanned { root: name, snapshot: scan.snapshot, mark });
        Ok((paths, vigil))
    }
}

/// The root that all of some patterns are below, and the patterns as they are spelled there.
pub(super) fn below_one_root(patterns: &[Box<str>]) -> Result<(Name, Vec<String>), LookError> {
    let (mut root, mut below) = (None, Vec::with_capacity(patterns.len()));
    for spelled in patterns {
        let (taken_back, pattern) =
            spelled.strip_prefix('!').map_or(("", &**spelled), |pattern| ("!", pattern));
        let unclear = || LookError::Path(NotBelowRoot(pattern.into()));
        let (name, rest) = split_root(Path::new(pattern)).ok_or_else(unclear)?;
        let rest = rest.to_str().ok_or_else(unclear)?;
        if *root.get_or_insert(name) != name {
            return Err(LookError::SeveralRoots);
        }
        below.push(format!("{taken_back}{rest}"));
    }
    Ok((root.flatten().map(Box::from), below))
}

/// A snapshot as it is kept, so that a glob reads no file that an earlier one read. It decides no answer.
pub(super) struct KeptSnapshot(Arc<Snapshot>);

impl Serialize for KeptSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.encode())
    }
}

impl<'de> Deserialize<'de> for KeptSnapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = KeptSnapshot;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a stored snapshot")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<KeptSnapshot, E> {
                Snapshot::decode(bytes).map(|snapshot| KeptSnapshot(Arc::new(snapshot))).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
