//! Globs: which files patterns select, by a scan that an earlier one spares most of the work.
//!
//! Not here: how a set is scanned (`source`).

use std::fmt;
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::observe::{Detail, Name, Scanned, Seen, View};
use super::outside::LookError;
use super::tables::id_of;
use crate::key::Canonical;
use crate::query::{Fingerprint, NotBelowRoot, RootPath, joined, split_root};
use crate::source::{EntryKind, FileSet, Snapshot, Vigil};

impl View {
    /// The files that match, sorted, and a vigil over which they are. A snapshot of an earlier look spares reading them.
    pub(super) async fn glob(&self, patterns: &Arc<[Box<str>]>) -> Result<(Seen, Option<Vigil>), LookError> {
        let (name, patterns) = below_one_root(patterns)?;
        let Some(root) = self.outside.directory(name.as_deref()).map(Path::to_owned) else {
            return Err(LookError::UnknownRoot(name.unwrap_or_default()));
        };
        let place = self.bare_place(name.as_deref()).await?;
        // A snapshot is of one root: those of several clones do not take each other's place.
        let id = Canonical::new().digest(&(id_of(&root), &patterns));
        let id = id.expect("a digest and a list of strings have a canonical form");
        let key = self.snapshots.key_of_digest(id);
        let kept = self.snapshots.peek(&key).await.map(|(entry, _)| entry);
        let previous = kept.as_ref().map(|entry| Arc::clone(&entry.value.snapshot));
        let clock = self.snapshots.larder.clock().clone();
        let began = clock.now();
        let scan = self.blocking(move || {
            let set = FileSet::inputs(&place.root).patterns(patterns).build()?;
            let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
            place.scan(&set, previous.as_ref(), threads)
        });
        let (scan, vigil, mark) = scan.await?;
        self.count(&scan.counts);
        // What an unchanged snapshot selects is known from the last time.
        let of_scan = || Arc::new(Selected::of(&scan.snapshot, name.clone()));
        let known = kept.as_ref().filter(|_| !scan.is_new()).map(|entry| &entry.value.selected);
        let known = known.map(|known| known.get_or_init(of_scan));
        let selected = known.filter(|known| known.root == name).map_or_else(of_scan, Arc::clone);
        if scan.is_new() {
            let took = self.snapshots.larder.clock().now().since(began);
            let kept = KeptSnapshot {
                snapshot: Arc::clone(&scan.snapshot),
                selected: OnceLock::from(Arc::clone(&selected)),
            };
            self.snapshots.put(&key, kept, took).await;
        }
        self.note_scan(Scanned { root: name, snapshot: scan.snapshot, mark, last: 0 });
        Ok((Seen { fingerprint: selected.fingerprint, detail: Detail::Paths(selected) }, vigil))
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

/// The files that are in a snapshot.
#[derive(Debug)]
pub(super) struct Selected {
    snapshot: Arc<Snapshot>,
    /// The name of the root that they are spelled below.
    root: Name,
    fingerprint: Fingerprint,
    /// Made when somebody asks for them: whoever verifies does not.
    paths: OnceLock<Arc<[RootPath]>>,
}

impl Selected {
    fn of(snapshot: &Arc<Snapshot>, root: Name) -> Self {
        let spelled = files(snapshot).map(|below| joined(root.as_deref(), below));
        let fingerprint = Fingerprint::of_paths(spelled);
        Self { snapshot: Arc::clone(snapshot), root, fingerprint, paths: OnceLock::new() }
    }

    /// Their paths, sorted.
    pub(super) fn paths(&self) -> &Arc<[RootPath]> {
        self.paths.get_or_init(|| {
            // A path that a snapshot has is below the root.
            let paths =
                files(&self.snapshot).filter_map(|below| RootPath::join(self.root.as_deref(), below).ok());
            paths.collect()
        })
    }
}

/// The paths of files in a snapshot, below its root.
fn files(snapshot: &Snapshot) -> impl Iterator<Item = &Path> {
    let is_file = |kind| matches!(kind, EntryKind::File(_) | EntryKind::LinkedFile(_));
    snapshot.entries().filter(move |entry| is_file(entry.kind)).map(|entry| entry.path)
}

/// A snapshot as it is kept, so that a glob reads no file that an earlier one read. It decides no answer.
pub(super) struct KeptSnapshot {
    snapshot: Arc<Snapshot>,
    /// Worked out when it is asked for first.
    selected: OnceLock<Arc<Selected>>,
}

impl Serialize for KeptSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.snapshot.encode())
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
                let snapshot = Arc::new(Snapshot::decode(bytes).map_err(E::custom)?);
                Ok(KeptSnapshot { snapshot, selected: OnceLock::new() })
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
