//! What a task leaves behind, as a set of files: looked at, put into blobs, and taken away.
//!
//! Links are never followed, so nothing outside of the declared outputs is ever read or removed.
//! Not here: putting outputs back (`restore`).

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use larder::source::{Entry, EntryKind, FileSet, Snapshot, SourceError};
use larder::tier::disk::{BlobError, Disk};

use crate::event::Note;
use crate::kept::{KeptMode, KeptOutput, OutputForm};
use crate::path::Matcher;
use crate::task::Task;
use crate::unlocked::Unlocked;
use crate::workspace::Workspace;

/// The declared outputs of a task.
pub(crate) struct Outputs {
    pub(crate) files: FileSet,
    workspace: Arc<Workspace>,
    umask: u32,
    task: Arc<Task>,
    /// Patterns that select, and whether each is a path, which is declared whole. Made when they are asked: mostly
    /// outputs are right.
    selecting: OnceLock<Vec<(Matcher, bool)>>,
}

/// An output could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// It changed after it had been looked at.
    #[error("output {} changed while it was being kept", path.display())]
    Changed { path: PathBuf },
    /// It would come back without something that it has.
    #[error("output {} {has}, which is not kept", path.display())]
    Special { path: PathBuf, has: &'static str },
    /// It cannot be read, or its blob not written.
    #[error("output {} could not be kept", path.display())]
    Blob { path: PathBuf, source: BlobError },
    /// The run was stopped meanwhile.
    #[error("stopped")]
    Stopped,
    /// Together they are larger than they may be.
    #[error("outputs have {bytes} bytes, more than cache.max_size allows")]
    TooLarge { bytes: u64 },
}

impl Outputs {
    /// `cache` is a glob of the cache's directory, if that lies in the workspace: it is nobody's output.
    pub(crate) fn of(
        workspace: &Arc<Workspace>,
        task: &Arc<Task>,
        umask: u32,
        cache: Option<&str>,
    ) -> Result<Self, SourceError> {
        let patterns = task.outputs.iter().map(|output| {
            let glob = output.value.to_glob();
            if output.value.is_negated() { format!("!{glob}") } else { glob }
        });
        Ok(Self {
            files: FileSet::outputs(workspace.root())
                .patterns(patterns)
                .excludes(cache)
                .umask(umask)
                .build()?,
            workspace: Arc::clone(workspace),
            umask,
            task: Arc::clone(task),
            selecting: OnceLock::new(),
        })
    }

    fn selecting(&self) -> &[(Matcher, bool)] {
        self.selecting.get_or_init(|| {
            let outputs = self.task.outputs.iter().map(|output| &output.value);
            let selecting = outputs.filter(|output| !output.is_negated());
            selecting.map(|output| (output.matcher(), output.glob().is_none())).collect()
        })
    }

    /// Whether a path belongs to an output that is declared whole, so that what is too much there goes.
    pub(crate) fn is_declared_whole(&self, path: &Path) -> bool {
        self.has(path, |whole| whole)
    }

    /// Whether a path is, or lies in, something that is declared.
    pub(crate) fn declares(&self, path: &Path) -> bool {
        self.has(path, |_| true)
    }

    fn has(&self, path: &Path, counts: impl Fn(bool) -> bool) -> bool {
        let covers = |(one, whole): &(Matcher, bool), path: &Path| counts(*whole) && one.matches_path(path);
        path.ancestors().any(|above| self.selecting().iter().any(|one| covers(one, above)))
    }

    /// Whether it is a directory above a path that is taken out of the outputs.
    fn is_above_what_is_taken_out(&self, entry: &Entry<'_>) -> bool {
        let mut outputs = self.task.outputs.iter().map(|output| &output.value);
        entry.kind == EntryKind::Directory
            && outputs.any(|output| {
                let path = Path::new(output.base().as_str());
                output.is_negated() && output.glob().is_none() && path.starts_with(entry.path)
            })
    }

    /// Whether each output is declared whole.
    pub(crate) fn are_all_whole(&self) -> bool {
        self.selecting().iter().all(|(_, whole)| *whole)
    }

    /// The first declared output that is a link, or lies behind one, which leads to something else than outputs of this
    /// task: what is there would not be kept, as links are not followed. A link that leads nowhere is kept as it is.
    pub(crate) fn first_behind_link(&self) -> Option<(String, PathBuf)> {
        let declared = self.task.outputs.iter().map(|output| &output.value);
        declared.filter(|output| !output.is_negated()).find_map(|output| {
            let base = Path::new(output.base().as_str());
            let above: Vec<&Path> = base.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
            let link = above.into_iter().rev().find(|path| {
                let path = self.root().join(path);
                path.is_symlink() && path.canonicalize().is_ok_and(|target| !self.are_outputs(&target))
            })?;
            Some((output.written().to_owned(), link.to_owned()))
        })
    }

    /// Whether an absolute path without links is declared.
    fn are_outputs(&self, target: &Path) -> bool {
        let root = self.root().canonicalize();
        root.is_ok_and(|root| target.strip_prefix(root).is_ok_and(|path| self.declares(path)))
    }

    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    pub(crate) fn root(&self) -> &Path {
        self.workspace.root()
    }

    pub(crate) fn umask(&self) -> u32 {
        self.umask
    }

    /// Puts what was looked at into blobs, until `stop` is set. Blocks.
    pub(crate) fn collect(
        &self,
        seen: &Snapshot,
        disk: &Disk,
        max_bytes: Option<u64>,
        stop: &AtomicBool,
    ) -> Result<Vec<KeptOutput>, CollectError> {
        let total: u64 = seen.entries().map(|entry| entry.stat.size).sum();
        if max_bytes.is_some_and(|limit| total > limit) {
            return Err(CollectError::TooLarge { bytes: total });
        }
        let mut outputs = Vec::with_capacity(seen.len());
        for entry in seen.entries() {
            let mode = KeptMode::of(entry.stat.permissions(), self.umask);
            if let Some(has) = self.special(&entry) {
                return Err(CollectError::Special { path: self.root().join(entry.path), has });
            }
            let form = match entry.kind {
                EntryKind::Directory => OutputForm::Directory { mode },
                EntryKind::Link { target, .. } => {
                    OutputForm::Link { target: target.as_os_str().as_bytes().to_vec() }
                }
                EntryKind::File(digest) => {
                    let path = self.root().join(entry.path);
                    let blob = match disk.put_blob_file_until(&path, stop) {
                        Ok(blob) => blob,
                        Err(BlobError::Stopped) => return Err(CollectError::Stopped),
                        Err(BlobError::Changed) => return Err(CollectError::Changed { path }),
                        Err(source) => return Err(CollectError::Blob { path, source }),
                    };
                    if blob.digest != digest {
                        return Err(CollectError::Changed { path });
                    }
                    OutputForm::File { digest, bytes: blob.bytes, mode }
                }
                // Output sets follow no links.
                EntryKind::LinkedFile(_) => continue,
            };
            outputs.push(KeptOutput { path: entry.path.as_os_str().as_bytes().to_vec(), form });
        }
        Ok(outputs)
    }
}

impl Outputs {
    /// What an output has beside its permissions that it would come back without.
    fn special(&self, entry: &Entry<'_>) -> Option<&'static str> {
        let path = || self.root().join(entry.path);
        let bits = entry.stat.mode & 0o7000;
        match entry.kind {
            EntryKind::File(_) if bits & 0o6000 != 0 => Some("is set-user-ID or set-group-ID"),
            EntryKind::File(_) if entry.stat.permissions() & 0o111 != 0 && has_capabilities(&path()) => {
                Some("has capabilities")
            }
            EntryKind::Directory if bits & 0o5000 != 0 => Some("is sticky or set-user-ID"),
            // One whose directory is so as well gets that from there, wherever it is made.
            EntryKind::Directory if bits != 0 && !path().parent().is_some_and(is_set_group_id) => {
                Some("is set-group-ID")
            }
            _ => None,
        }
    }
}

fn is_set_group_id(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.symlink_metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o2000 != 0)
}

/// Whether a program gets rights of its own by the file system's attributes.
#[cfg(target_os = "linux")]
fn has_capabilities(path: &Path) -> bool {
    rustix::fs::lgetxattr(path, "security.capability", &mut [0; 64]).is_ok_and(|length| length > 0)
}

#[cfg(not(target_os = "linux"))]
fn has_capabilities(_path: &Path) -> bool {
    false
}

/// What is known of the outputs that lie here: how they looked last, and which of them no run has made.
///
/// Invariant: what may be removed is what a run has made. What is there before a command starts, or before outputs are put
/// back, and that nobody is known to have made, is known as found before anything is written, and stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// Paths that were there before the first run that could have made them: perhaps somebody's work.
    pub(crate) found: BTreeSet<PathBuf>,
    /// Until when a larder may have had something written there that was killed before it could say what, in nanoseconds
    /// since 1970. What changed later is somebody's.
    pub(crate) unfinished: Option<i64>,
}

impl Known {
    /// Whether a run, or a restoration, made what lies at a path, as far as that is not older than the runs.
    pub(crate) fn has_made(&self, entry: &Entry<'_>) -> bool {
        let knows = |known: &Arc<Snapshot>| self.is_unfinished(entry) || known.get(entry.path).is_some();
        self.snapshot.as_ref().is_some_and(knows) && !self.found.contains(entry.path)
    }

    /// Whether an unfinished run may have written it.
    fn is_unfinished(&self, entry: &Entry<'_>) -> bool {
        self.unfinished.is_some_and(|until| entry.stat.changed <= until)
    }

    /// Whether what lies at a path is what a run made there, or what an unfinished one may have.
    fn is_own(&self, entry: &Entry<'_>) -> bool {
        let as_made = || {
            let made = self.snapshot.as_ref().and_then(|known| known.get(entry.path));
            made.is_some_and(|made| made.kind == entry.kind)
        };
        self.has_made(entry) && (self.is_unfinished(entry) || as_made())
    }

    /// Whether what lies at a path is what a run made there, or has become of it.
    fn is_of_own(&self, entry: &Entry<'_>) -> bool {
        let is_directory = |entry: &Entry<'_>| entry.kind == EntryKind::Directory;
        let made = self.snapshot.as_ref().and_then(|known| known.get(entry.path));
        let is_alike = made.is_some_and(|made| is_directory(&made) == is_directory(entry));
        self.has_made(entry) && (self.is_unfinished(entry) || is_alike)
    }

    /// What is to be known before something is written here, if that is more than is known by now: that what nobody has
    /// made, and what `stays` says of, was found.
    pub(crate) fn with_found(
        &self,
        outputs: &Outputs,
        before: &Arc<Snapshot>,
        stays: impl Fn(&Path) -> bool,
    ) -> Option<Self> {
        let foreign = before.entries().filter(|entry| !self.is_own(entry) && stays(entry.path));
        let found: BTreeSet<PathBuf> = foreign.map(|entry| entry.path.to_owned()).collect();
        let is_known = self.snapshot.as_ref().is_some_and(|known| known.is_of(&outputs.files));
        if is_known && found.is_subset(&self.found) {
            return None;
        }
        Some(Self { found, snapshot: Some(Arc::clone(before)), unfinished: self.unfinished })
    }

    /// Files and links that lie here before a command starts and that no earlier run has made so. What becomes of them in
    /// a fresh clone, which has none, cannot be told from what the command does to them: it may read them, add to them or
    /// take them away.
    pub(crate) fn foreign(&self, before: &Snapshot) -> Vec<PathBuf> {
        let is_foreign = |entry: &Entry<'_>| entry.kind != EntryKind::Directory && !self.is_own(entry);
        before.entries().filter(is_foreign).map(|entry| entry.path.to_owned()).collect()
    }

    /// Directories that were there before a command, and that no earlier run has made: a run in a fresh clone would not
    /// leave them, unless something was made in them.
    pub(crate) fn foreign_directories(&self, before: &Snapshot, after: &Snapshot) -> Vec<PathBuf> {
        let is_directory = |entry: &Entry<'_>| entry.kind == EntryKind::Directory;
        let is_left = |entry: &Entry<'_>| {
            is_directory(entry)
                && before.get(entry.path).as_ref().is_some_and(is_directory)
                && !self.is_own(entry)
        };
        let (left, made): (Vec<Entry<'_>>, Vec<Entry<'_>>) = after.entries().partition(is_left);
        let above: HashSet<&Path> = made.iter().flat_map(|entry| entry.path.ancestors()).collect();
        left.iter().map(|entry| entry.path).filter(|path| !above.contains(path)).map(Path::to_owned).collect()
    }

    /// What is known once a run or restoration has turned `before` into `after`. Where nobody looked before,
    /// anything may have been there.
    pub(crate) fn after(&self, before: Option<&Snapshot>, after: &Arc<Snapshot>) -> Self {
        let is_found = |entry: &Entry<'_>| match before {
            Some(before) => before.get(entry.path).is_some_and(|was| !self.has_made(&was)),
            None => !self.has_made(entry),
        };
        let found = after.entries().filter(is_found).map(|entry| entry.path.to_owned()).collect();
        Self { found, snapshot: Some(Arc::clone(after)), unfinished: None }
    }

    /// Removes files and links where an earlier run made some, as it made them or edited since, and directories that are
    /// empty without them: what a run does not make anew is not among its outputs, and a hit puts back what was edited,
    /// too. Of an unfinished run nothing is worth keeping. A directory stays in which a place is taken out of the outputs:
    /// another task may be about to write there. Returns what cannot be removed. Blocks.
    pub(crate) fn clean(&self, outputs: &Outputs, now: &Snapshot) -> Vec<PathBuf> {
        let goes = |entry: &Entry<'_>| self.is_of_own(entry) && !outputs.is_above_what_is_taken_out(entry);
        Removal::of(outputs.root(), now.entries().filter(goes).collect()).stuck
    }
}

/// What came of removing outputs.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// How many were removed.
    pub(crate) removed: usize,
    /// What is still there, although it had to go.
    pub(crate) stuck: Vec<PathBuf>,
    /// What is somebody's, and was written to.
    pub(crate) spared: Vec<PathBuf>,
}

impl Removal {
    /// Removes entries that are sorted by path, so that what is inside a directory goes before it. Blocks.
    fn of(root: &Path, entries: Vec<Entry<'_>>) -> Self {
        let mut removal = Self::default();
        let mut directories = Unlocked::default();
        for entry in entries.into_iter().rev() {
            match directories.remove(&root.join(entry.path), entry.kind) {
                Ok(()) => removal.removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // It holds what does not go, or is somebody's mount point.
                Err(error)
                    if entry.kind == EntryKind::Directory
                        && matches!(
                            error.kind(),
                            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy
                        ) => {}
                Err(_) => removal.stuck.push(entry.path.to_owned()),
            }
        }
        removal.stuck.reverse();
        removal
    }

    /// What a user should know of it after a command that did not come to its end.
    pub(crate) fn notes(self) -> impl Iterator<Item = Note> {
        let removed = (self.removed > 0).then_some(Note::RemovedUnfinished(self.removed));
        let stuck = (!self.stuck.is_empty()).then_some(Note::StuckUnfinished(self.stuck));
        let spared = (!self.spared.is_empty()).then_some(Note::SparedUnfinished(self.spared));
        removed.into_iter().chain(stuck).chain(spared)
    }
}

/// Removes all that lies among the outputs, whoever made it, but for directories that hold something else. Returns what
/// cannot be removed. Blocks.
pub(crate) fn clear(root: &Path, now: &Snapshot) -> Vec<PathBuf> {
    Removal::of(root, now.entries().collect()).stuck
}

/// Removes what is new against `before`, and what is different and runs have made: the leavings of a command that did not
/// come to its end. A directory that was there stays, and so does what somebody may have written to meanwhile. Blocks.
pub(crate) fn discard_since(root: &Path, known: &Known, before: &Snapshot, after: &Snapshot) -> Removal {
    let changes = after.changes_since(before);
    let is_made = |path: &PathBuf| before.get(path).is_some_and(|was| known.has_made(&was));
    let (made, spared): (Vec<_>, Vec<_>) = changes.modified.into_iter().partition(is_made);
    let mut paths = [changes.added, made].concat();
    paths.sort();
    let stays = |entry: &Entry<'_>| {
        let is_directory = |kind| kind == EntryKind::Directory;
        is_directory(entry.kind) && before.get(entry.path).is_some_and(|was| is_directory(was.kind))
    };
    let entries = paths.iter().filter_map(|path| after.get(path)).filter(|entry| !stays(entry));
    Removal { spared, ..Removal::of(root, entries.collect()) }
}
