//! What is remembered of one clone on this machine: how each task's files looked last.
//!
//! It only spares reading and tells what larder itself has made: without it, answers are the same. It is kept in
//! the disk tier beside the entries, under the digest of the root's path, and never leaves the machine.
//!
//! Invariant: what cannot be read back is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::key::Digest;
use larder::source::Snapshot;
use larder::tier::disk::Disk;
use serde::{Deserialize, Serialize};

use crate::outputs::Known;

/// The version of the stored form.
const VERSION: u8 = 1;

/// What is remembered of a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// How its inputs looked.
    pub(crate) inputs: Option<Arc<Snapshot>>,
    pub(crate) outputs: Known,
    /// The key of the last result.
    pub(crate) key: Option<Digest>,
    /// How long its command took last.
    pub(crate) took_millis: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u8,
    #[serde(borrow)]
    inputs: Option<&'a [u8]>,
    #[serde(borrow)]
    outputs: Option<&'a [u8]>,
    #[serde(borrow)]
    found: Vec<&'a [u8]>,
    key: Option<Digest>,
    took_millis: Option<u64>,
}

impl Memory {
    fn encode(&self) -> Option<Vec<u8>> {
        let inputs = self.inputs.as_ref().map(|snapshot| snapshot.encode());
        let outputs = self.outputs.snapshot.as_ref().map(|snapshot| snapshot.encode());
        let stored = Stored {
            version: VERSION,
            inputs: inputs.as_deref(),
            outputs: outputs.as_deref(),
            found: self.outputs.found.iter().map(|path| path.as_os_str().as_bytes()).collect(),
            key: self.key,
            took_millis: self.took_millis,
        };
        postcard::to_allocvec(&stored).ok()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&VERSION) {
            return None;
        }
        let stored: Stored<'_> = postcard::from_bytes(bytes).ok()?;
        let snapshot = |bytes: Option<&[u8]>| Snapshot::decode(bytes?).ok().map(Arc::new);
        let found: BTreeSet<PathBuf> =
            stored.found.into_iter().map(|path| Path::new(OsStr::from_bytes(path)).to_owned()).collect();
        Some(Self {
            inputs: snapshot(stored.inputs),
            outputs: Known { snapshot: snapshot(stored.outputs), found, unfinished: false },
            key: stored.key,
            took_millis: stored.took_millis,
        })
    }
}

/// One clone. Everything here blocks, and fails silently: what is not remembered is looked at again.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    disk: Option<Disk>,
    namespace: String,
}

impl Checkout {
    pub(crate) fn new(root: &Path, disk: Option<Disk>) -> Self {
        let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        Self { disk, namespace: format!("tasks/{}", Digest::of(real.as_os_str().as_bytes())) }
    }

    /// What is remembered of all tasks.
    pub(crate) fn recall(&self) -> HashMap<String, Memory> {
        let readable = |task: &str, bytes: &[u8]| Some((task.to_owned(), Memory::decode(bytes)?));
        let read = self.disk.as_ref().and_then(|disk| disk.meta_map(&self.namespace, readable).ok());
        read.into_iter().flatten().collect()
    }

    /// What is remembered of one task now.
    pub(crate) fn recall_one(&self, task: &str) -> Memory {
        let stored = self.disk.as_ref().and_then(|disk| disk.meta(&self.namespace, task).ok()?);
        stored.and_then(|bytes| Memory::decode(&bytes)).unwrap_or_default()
    }

    /// Remembers several tasks in one step.
    pub(crate) fn remember<'a>(&self, all: impl IntoIterator<Item = (&'a str, &'a Memory)>) {
        let Some(disk) = self.disk.as_ref().filter(|disk| !disk.read_only()) else { return };
        let encoded = all.into_iter().filter_map(|(task, memory)| Some((task, memory.encode()?)));
        let encoded: Vec<_> = encoded.collect();
        if let Err(error) = disk.put_meta(&self.namespace, &encoded) {
            let tasks = encoded.len();
            let error = &error as &dyn std::error::Error;
            tracing::debug!(tasks, error, "state of tasks is not remembered");
        }
    }
}
