//! Putting outputs back as they were.
//!
//! Invariant: what is already right is not touched; a file that takes another's place appears whole under its name, and
//! a new one holds its own content, or only the beginning of it if larder is killed; when this succeeds the declared
//! outputs are those of the kept result and nothing else, but for files that no run is known to have made: those that a glob
//! happens to match, and those that were found before.
//! Phases: plan against what is there, hold on to every blob that it takes, take away, make directories, put in, and set
//! the directories' modes last, as they may forbid writing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use larder::key::Digest;
use larder::source::{Entry, EntryKind, Snapshot, Written};
use larder::tier::TierError;
use larder::tier::disk::{BlobError, Disk, Made, Pin, temporary_name};

use crate::kept::{KeptMode, KeptOutput, OutputForm};
use crate::outputs::{Known, Outputs};
use crate::unlocked::Unlocked;
use crate::workspace::real_path;

/// What was done to put outputs back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restoration {
    /// Outputs that were right already.
    pub left_alone: usize,
    /// Outputs that were made, or put right.
    pub written: usize,
    /// Files and directories that were too much.
    pub removed: usize,
}

/// Outputs cannot be put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// A content is no longer there, or was damaged.
    #[error("content {0:.12} is no longer in the cache")]
    Missing(Digest),
    /// The result names a path that it must not.
    #[error("kept output {0:?} is not one that the task declares")]
    Foreign(String),
    /// The run was stopped meanwhile.
    #[error("stopped")]
    Stopped,
    /// The file system refused.
    #[error("{} could not be restored", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Whether the contents are there cannot be told.
    #[error("contents could not be held on to")]
    Pin { source: TierError },
    /// The blob could not be written out.
    #[error("{} could not be restored", path.display())]
    Blob { path: PathBuf, source: BlobError },
}

impl RestoreError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// What has to be done for one output.
enum Step<'a> {
    Nothing,
    Mode(KeptMode),
    File(Digest, KeptMode),
    Directory(KeptMode),
    Link(&'a [u8]),
}

fn step<'a>(kept: &'a KeptOutput, now: Option<&Entry<'_>>, umask: u32) -> Step<'a> {
    // Not by what it is meant as: another umask may give the same bits another meaning.
    let has = |entry: &Entry<'_>, wanted: KeptMode| entry.stat.permissions() == wanted.bits(umask);
    match (&kept.form, now.map(|entry| (entry.kind, entry))) {
        (OutputForm::File { digest, mode: wanted, .. }, Some((EntryKind::File(is), entry)))
            if is == *digest =>
        {
            if has(entry, *wanted) {
                Step::Nothing
            } else {
                Step::Mode(*wanted)
            }
        }
        (OutputForm::File { digest, mode, .. }, _) => Step::File(*digest, *mode),
        (OutputForm::Directory { mode: wanted }, Some((EntryKind::Directory, entry))) => {
            if has(entry, *wanted) { Step::Nothing } else { Step::Mode(*wanted) }
        }
        (OutputForm::Directory { mode }, _) => Step::Directory(*mode),
        (OutputForm::Link { target }, Some((EntryKind::Link { target: is, .. }, _)))
            if is.as_os_str().as_bytes() == target =>
        {
            Step::Nothing
        }
        (OutputForm::Link { target }, _) => Step::Link(target),
    }
}

/// What came of putting outputs back.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) done: Restoration,
    /// The files that were written where they belong.
    pub(crate) written: Written,
    /// Whether a link led to where something was written.
    pub(crate) strayed: bool,
}

/// What has to be done for all outputs, and the contents for it, which stay until then.
struct Plan<'a> {
    steps: Vec<(&'a Path, Step<'a>)>,
    _contents: Option<Pin>,
}

/// Puts the outputs of a kept result back. `now` is how they look. Ends with [`RestoreError::Stopped`] before the next
/// output once `stop` is set, and what it has done until then stays. Blocks.
pub(crate) fn restore(
    outputs: &Outputs,
    kept: &[KeptOutput],
    now: &Snapshot,
    known: &Known,
    disk: &Disk,
    stop: &AtomicBool,
) -> Result<Restored, RestoreError> {
    let plan = plan(outputs, kept, now, disk)?;
    carry_out(&plan, outputs, now, known, disk, stop)
}

fn plan<'a>(
    outputs: &Outputs,
    kept: &'a [KeptOutput],
    now: &Snapshot,
    disk: &Disk,
) -> Result<Plan<'a>, RestoreError> {
    let mut steps: Vec<(&Path, Step<'_>)> = Vec::with_capacity(kept.len());
    let mut needed = Vec::new();
    for output in kept {
        let foreign = || RestoreError::Foreign(String::from_utf8_lossy(&output.path).into_owned());
        let path = output.safe_path().filter(|path| outputs.declares(path)).ok_or_else(foreign)?;
        let step = step(output, now.get(path).as_ref(), outputs.umask());
        if let Step::File(digest, _) = step {
            needed.push(digest);
        }
        steps.push((path, step));
    }
    if needed.is_empty() {
        return Ok(Plan { steps, _contents: None });
    }
    let contents = disk.pin(&needed).map_err(|source| RestoreError::Pin { source })?;
    match contents.missing().first() {
        Some(missing) => Err(RestoreError::Missing(*missing)),
        None => Ok(Plan { steps, _contents: Some(contents) }),
    }
}

fn carry_out(
    plan: &Plan<'_>,
    outputs: &Outputs,
    now: &Snapshot,
    known: &Known,
    disk: &Disk,
    stop: &AtomicBool,
) -> Result<Restored, RestoreError> {
    let steps = &plan.steps;
    let mut directories = Unlocked::default();
    let removed = remove_extra(outputs, steps, now, known, &mut directories, stop)?;
    let mut done = Restoration { removed, ..Restoration::default() };
    let mut hands =
        Hands { outputs, directories, checked: BTreeSet::new(), strayed: false, written: Written::default() };
    for (path, step) in steps {
        if stop.load(Ordering::Relaxed) {
            return Err(RestoreError::Stopped);
        }
        if matches!(step, Step::Nothing) {
            done.left_alone += 1;
        } else {
            hands.carry_out(path, step, now.get(path).as_ref(), disk)?;
            done.written += 1;
        }
    }
    let Hands { directories, strayed, written, .. } = hands;
    directories.lock().map_err(|(path, source)| RestoreError::Io { path, source })?;
    Ok(Restored { done, written, strayed })
}

/// Removes what the result does not have, and was not found before: all of it inside outputs that are declared whole, and
/// elsewhere what runs made. Innermost first.
fn remove_extra(
    outputs: &Outputs,
    steps: &[(&Path, Step<'_>)],
    now: &Snapshot,
    known: &Known,
    directories: &mut Unlocked,
    stop: &AtomicBool,
) -> Result<usize, RestoreError> {
    let wanted: BTreeSet<&Path> = steps.iter().map(|(path, _)| *path).collect();
    let entries: Vec<Entry<'_>> = now.entries().filter(|entry| !wanted.contains(entry.path)).collect();
    let mut removed = 0;
    for entry in entries.iter().rev() {
        if stop.load(Ordering::Relaxed) {
            return Err(RestoreError::Stopped);
        }
        let goes = outputs.is_declared_whole(entry.path) || known.has_made(entry);
        if !goes || known.found.contains(entry.path) {
            continue;
        }
        let path = outputs.root().join(entry.path);
        match directories.remove(&path, entry.kind) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It holds what is not an output, or what stays; or it is somebody's mount point.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {
            }
            Err(error) => return Err(RestoreError::Io { path, source: error }),
        }
    }
    Ok(removed)
}

struct Hands<'a> {
    outputs: &'a Outputs,
    /// Directories whose modes are set in the end.
    directories: Unlocked,
    /// Directories that are known to lie inside the root.
    checked: BTreeSet<PathBuf>,
    /// Whether a link led to one of them.
    strayed: bool,
    written: Written,
}

impl Hands<'_> {
    fn carry_out(
        &mut self,
        path: &Path,
        step: &Step<'_>,
        now: Option<&Entry<'_>>,
        disk: &Disk,
    ) -> Result<(), RestoreError> {
        let full = self.outputs.root().join(path);
        let umask = self.outputs.umask();
        if let Step::Mode(mode) = step {
            if matches!(now.map(|entry| entry.kind), Some(EntryKind::Directory)) {
                self.directories.set(full, mode.bits(umask));
                return Ok(());
            }
            return fs::set_permissions(&full, Permissions::from_mode(mode.bits(umask)))
                .map_err(RestoreError::io(&full));
        }
        self.prepare_parent(&full)?;
        // What is of another kind has to go first; a rename replaces only files and links.
        let is_directory = matches!(now.map(|entry| entry.kind), Some(EntryKind::Directory));
        if let Some(now) = now.filter(|_| is_directory || matches!(step, Step::Directory(_))) {
            self.directories.remove(&full, now.kind).map_err(RestoreError::io(&full))?;
        }
        match step {
            Step::Nothing | Step::Mode(_) => Ok(()),
            Step::Directory(mode) => {
                self.directories.set(full.clone(), mode.bits(umask));
                match fs::create_dir(&full) {
                    // New, so no link, and below a directory that was looked at.
                    Ok(()) if umask & 0o300 == 0 => {
                        if *mode == KeptMode::Executable {
                            // As it was made. Where a default ACL stands against that, the look afterwards shows it.
                            self.directories.forget(&full);
                        }
                        self.checked.insert(full);
                    }
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && full.is_dir() => {}
                    Err(source) => return Err(RestoreError::Io { path: full, source }),
                }
                Ok(())
            }
            Step::File(digest, mode) => {
                let mode = mode.bits(umask);
                let made = match now {
                    Some(_) => disk.restore_blob(*digest, &full, mode).map(|made| made.map(|_| None)),
                    // Should larder be killed now, the place's marker tells that what lies there is unfinished.
                    None => {
                        let made = disk.make_from_blob(*digest, &full, mode);
                        made.map(|made| made.map(|Made { metadata, .. }| metadata))
                    }
                };
                match made {
                    Ok(Some(metadata)) => {
                        metadata.inspect(|metadata| self.written.add(path, metadata, *digest));
                        Ok(())
                    }
                    Ok(None) => Err(RestoreError::Missing(*digest)),
                    Err(source) => Err(RestoreError::Blob { path: full, source }),
                }
            }
            Step::Link(target) => link(OsStr::from_bytes(target), &full).map_err(RestoreError::io(&full)),
        }
    }

    /// Makes the directory of `path` if it is not there, and makes sure that it can be written to and lies inside
    /// the root, whatever links lead to it.
    fn prepare_parent(&mut self, path: &Path) -> Result<(), RestoreError> {
        let parent = path.parent().unwrap_or(path);
        if self.checked.contains(parent) {
            return Ok(());
        }
        let real = match real_path(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(parent).and_then(|()| real_path(parent))
            }
            known => known,
        };
        let real = real.map_err(RestoreError::io(parent))?;
        let root = self.outputs.workspace().real_root().map_err(RestoreError::io(parent))?;
        let Ok(below) = real.strip_prefix(root) else {
            return Err(RestoreError::Foreign(path.display().to_string()));
        };
        self.strayed |= parent.strip_prefix(self.outputs.root()) != Ok(below);
        self.directories.parent_of(path).map_err(RestoreError::io(parent))?;
        self.checked.insert(parent.to_owned());
        Ok(())
    }
}

/// Makes a link in place of whatever file or link is there.
fn link(target: &OsStr, path: &Path) -> io::Result<()> {
    let new = path.with_file_name(temporary_name());
    std::os::unix::fs::symlink(target, &new)?;
    fs::rename(&new, path).inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::time::Duration;

    use larder::clock::Clock;
    use larder::source::ScanOptions;
    use larder::tier::disk::{DiskOptions, Limits};

    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn another_handles_gc_leaves_what_a_restoration_is_about_to_take() {
        let (project, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(project.path().join("larder.toml"), "[tasks.build]\ncommand = 'true'\noutputs = ['dist']")
            .unwrap();
        let workspace = Arc::new(Workspace::load(project.path()).unwrap());
        let task = workspace.packages()[0].tasks().values().next().unwrap();
        let clock = Clock::manual(std::time::SystemTime::now().into());
        let options = DiskOptions { clock: clock.clone(), ..DiskOptions::default() };
        let open = || Disk::open(cache.path(), options.clone()).unwrap();
        let (disk, other) = (open(), open());
        let digest = disk.put_blob_bytes(b"content").unwrap().digest;
        let form = OutputForm::File { digest, bytes: 7, mode: KeptMode::Ordinary };
        let kept = [KeptOutput { path: b"dist/a".to_vec(), form }];
        let outputs = Outputs::of(&workspace, task, 0o022, None).unwrap();
        let stop = AtomicBool::new(false);
        let options = ScanOptions { clock: &clock, stop: &stop, threads: Some(NonZeroUsize::MIN) };
        let now = outputs.files.scan(None, &options).unwrap().snapshot;
        let all = Limits { max_bytes: Some(0), grace: Duration::ZERO, ..Limits::default() };

        let planned = plan(&outputs, &kept, &now, &disk).unwrap();
        other.gc(&all).unwrap();
        let restored = carry_out(&planned, &outputs, &now, &Known::default(), &disk, &stop).unwrap();
        assert_eq!((restored.done.written, restored.strayed), (1, false));
        assert_eq!(fs::read(project.path().join("dist/a")).unwrap(), b"content");

        drop(planned);
        // What no entry names is looked for once a day.
        clock.advance(Duration::from_secs(2 * 86_400));
        other.gc(&all).unwrap();
        let planned = plan(&outputs, &kept, &now, &disk).map(drop);
        assert!(matches!(planned, Err(RestoreError::Missing(missing)) if missing == digest), "{planned:?}");
    }
}
