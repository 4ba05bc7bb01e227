//! What is remembered of one clone on this machine: how each task's files looked last.
//!
//! It only spares reading and tells what larder itself has made: without it, answers are the same. It is kept in
//! the disk tier beside the entries, under the digest of the root's path, and never leaves the machine.
//!
//! Invariants: what cannot be read back is forgotten; a clone in which nothing new was remembered for long is forgotten
//! ([`forget_unused`]), as it may be gone.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::Timestamp;
use larder::key::Digest;
use larder::source::Snapshot;
use larder::tier::TierError;
use larder::tier::disk::Disk;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::outputs::Known;

/// The version of the stored form.
const VERSION: u8 = 2;

/// The namespace that says when something was remembered of each clone.
const CLONES: &str = "clones";
/// How exactly.
const A_DAY: Duration = Duration::from_secs(86_400);

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

/// What of a task's memory is to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All but how its outputs looked, which only whoever has the place to itself knows.
    Inputs,
    /// Only how its outputs looked: all else is as it was.
    Outputs,
    All,
}

/// All of a [`Memory`] but its outputs.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u8,
    #[serde(borrow)]
    inputs: Option<&'a [u8]>,
    key: Option<Digest>,
    took_millis: Option<u64>,
}

/// The outputs of a [`Memory`]: they change where its inputs, which are many more, do not.
#[derive(Serialize, Deserialize)]
struct StoredOutputs<'a> {
    version: u8,
    #[serde(borrow)]
    outputs: Option<&'a [u8]>,
    #[serde(borrow)]
    found: Vec<&'a [u8]>,
}

impl Memory {
    /// What has to be written for `self`, which takes the place of `before`.
    pub(crate) fn news_since(&self, before: Option<&Self>) -> Which {
        let snapshot = |memory: &Self| memory.inputs.as_ref().map(Arc::as_ptr);
        let same = before.is_some_and(|before| {
            (snapshot(before), before.key, before.took_millis) == (snapshot(self), self.key, self.took_millis)
        });
        if same { Which::Outputs } else { Which::All }
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let inputs = self.inputs.as_ref().map(|snapshot| snapshot.encode());
        let (inputs, key, took_millis) = (inputs.as_deref(), self.key, self.took_millis);
        postcard::to_allocvec(&Stored { version: VERSION, inputs, key, took_millis }).ok()
    }

    fn decode(bytes: &[u8], outputs: Known) -> Option<Self> {
        if bytes.first() != Some(&VERSION) {
            return None;
        }
        let stored: Stored<'_> = postcard::from_bytes(bytes).ok()?;
        let inputs = snapshot(stored.inputs);
        Some(Self { inputs, outputs, key: stored.key, took_millis: stored.took_millis })
    }
}

fn encode_outputs(known: &Known) -> Option<Vec<u8>> {
    let outputs = known.snapshot.as_ref().map(|snapshot| snapshot.encode());
    let found = known.found.iter().map(|path| path.as_os_str().as_bytes()).collect();
    postcard::to_allocvec(&StoredOutputs { version: VERSION, outputs: outputs.as_deref(), found }).ok()
}

fn decode_outputs(bytes: &[u8]) -> Option<Known> {
    if bytes.first() != Some(&VERSION) {
        return None;
    }
    let stored: StoredOutputs<'_> = postcard::from_bytes(bytes).ok()?;
    let found = stored.found.into_iter().map(|path| Path::new(OsStr::from_bytes(path)).to_owned()).collect();
    Some(Known { snapshot: snapshot(stored.outputs), found, unfinished: None })
}

fn snapshot(stored: Option<&[u8]>) -> Option<Arc<Snapshot>> {
    Snapshot::decode(stored?).ok().map(Arc::new)
}

/// One clone. Everything here blocks, and fails silently: what is not remembered is looked at again.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    disk: Option<Disk>,
    clone: String,
    tasks: String,
    outputs: String,
    /// When it is, if that is to be noted with the next that is remembered.
    stamp: Arc<Mutex<Option<Timestamp>>>,
}

impl Checkout {
    pub(crate) fn new(root: &Path, disk: Option<Disk>) -> Self {
        let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let clone = Digest::of(real.as_os_str().as_bytes()).to_string();
        let [tasks, outputs] = namespaces(&clone);
        Self { disk, clone, tasks, outputs, stamp: Arc::default() }
    }

    /// What is remembered of all tasks.
    pub(crate) fn recall(&self, now: Timestamp) -> HashMap<String, Memory> {
        let Some(disk) = &self.disk else { return HashMap::new() };
        let stamp = disk.meta(CLONES, &self.clone).ok().flatten().and_then(|bytes| time(&bytes));
        *self.stamp.lock() = stamp.is_none_or(|stamp| now.since(stamp) >= A_DAY).then_some(now);
        let readable = |task: &str, bytes: &[u8]| Some((task.to_owned(), decode_outputs(bytes)?));
        let outputs = disk.meta_map(&self.outputs, readable).unwrap_or_default();
        let mut outputs: HashMap<String, Known> = outputs.into_iter().collect();
        let readable =
            |task: &str, bytes: &[u8]| Some((task.to_owned(), Memory::decode(bytes, Known::default())?));
        let mut all: HashMap<String, Memory> =
            disk.meta_map(&self.tasks, readable).unwrap_or_default().into_iter().collect();
        for (task, outputs) in outputs.drain() {
            all.entry(task).or_default().outputs = outputs;
        }
        all
    }

    /// What is remembered of one task now.
    pub(crate) fn recall_one(&self, task: &str) -> Memory {
        let stored = |namespace: &str| self.disk.as_ref().and_then(|disk| disk.meta(namespace, task).ok()?);
        let outputs = stored(&self.outputs).and_then(|bytes| decode_outputs(&bytes)).unwrap_or_default();
        let known = stored(&self.tasks).and_then(|bytes| Memory::decode(&bytes, outputs.clone()));
        known.unwrap_or(Memory { outputs, ..Memory::default() })
    }

    /// What is known of a task's outputs now, for whoever has their place to itself; `None` where nothing is remembered.
    pub(crate) fn recall_outputs(&self, task: &str) -> Option<Known> {
        let disk = self.disk.as_ref().filter(|disk| !disk.read_only())?;
        let stored = disk.meta(&self.outputs, task).ok()?;
        Some(stored.and_then(|bytes| decode_outputs(&bytes)).unwrap_or_default())
    }

    /// Remembers several tasks in one step.
    pub(crate) fn remember<'a>(&self, all: impl IntoIterator<Item = (&'a str, &'a Memory, Which)>) {
        let Some(disk) = self.disk.as_ref().filter(|disk| !disk.read_only()) else { return };
        let mut encoded = Vec::new();
        for (task, memory, which) in all {
            let inputs = (which != Which::Outputs).then(|| memory.encode()).flatten();
            encoded.extend(inputs.map(|bytes| (&*self.tasks, task, bytes)));
            let outputs = (which != Which::Inputs).then(|| encode_outputs(&memory.outputs)).flatten();
            encoded.extend(outputs.map(|bytes| (&*self.outputs, task, bytes)));
        }
        let stamp = self.stamp.lock().take();
        encoded.extend(stamp.map(|now| (CLONES, &*self.clone, now.as_millis().to_le_bytes().to_vec())));
        if let Err(error) = disk.put_meta(&encoded) {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(parts = encoded.len(), error, "state of tasks is not remembered");
        }
    }
}

/// In which namespaces it stands what is remembered of a clone.
fn namespaces(clone: &str) -> [String; 2] {
    [format!("tasks/{clone}"), format!("outputs/{clone}")]
}

fn time(bytes: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_millis(u64::from_le_bytes(bytes.try_into().ok()?)))
}

/// Forgets the clones of which nothing new was remembered for so long. Returns how many. Blocks.
pub(crate) fn forget_unused(disk: &Disk, now: Timestamp, unused_for: Duration) -> Result<usize, TierError> {
    let is_old = |stamp: Timestamp| now.since(stamp) >= unused_for;
    let old =
        disk.meta_map(CLONES, |clone, bytes| time(bytes).is_none_or(is_old).then(|| clone.to_owned()))?;
    for clone in &old {
        disk.clear_meta(&namespaces(clone))?;
        disk.update_meta(CLONES, clone, |_| None)?;
    }
    Ok(old.len())
}
