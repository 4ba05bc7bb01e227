//! Markers: that a task's outputs are being written in this clone, and by whom.
//!
//! A marker is a small file beside the disk tier. It is set from before the first output is touched until what is
//! remembered of the outputs is right again; then it is blanked, as making files and removing them costs more than
//! all else about them. One that is found set by whoever holds the lease on the place says that
//! a larder was killed in between: what lies there is unfinished, and its command may still be writing. That is
//! ended first, wherever it stands: commands have the place's digest for their mark, and what has it and began since the
//! marker was set is the command's. Nothing that this larder itself runs under is ended.
//!
//! What it says is written over what it said, always at the same length. Cutting a file before it is written to
//! has some file systems (ext4) put it on the disk when it is closed, and wait there the next time that it is cut.
//!
//! While a command runs, its larder touches the marker several times a second: what changed among the outputs much later
//! than that was written by somebody else, and is not taken away with what is unfinished.
//!
//! Processes are known from `/proc`; on systems without it nothing is ever taken for a command that was left.

use std::convert::Infallible;
use std::fs::{self, File};
use std::future::pending;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::time::Duration;

use larder::key::Key;
use larder::tier::disk::Disk;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::Inner;
use crate::process::{MARKS, Process, ids, is_marked, ticks};
use crate::task::Task;

/// The folder of the cache's directory that they stand in.
const FOLDER: &str = "running";
/// What a marker says first.
const SET: &str = "set";
/// How long a marker is, whatever it says: spaces fill the rest, and are all there is in one that is not set.
const BYTES: usize = 96;
/// How often a marker is touched while a command runs.
const BEAT: Duration = Duration::from_millis(250);
/// How long a command that was left may take to vanish once it was killed.
const VANISHING: Duration = Duration::from_secs(2);

/// The marker of a place.
#[derive(Debug, Clone)]
pub(super) struct Marker {
    path: PathBuf,
    /// The mark of commands that run there.
    mark: String,
}

/// What a larder that was killed has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Left {
    /// Until when outputs may have been written that are unfinished, in nanoseconds since 1970; `None` if none are.
    pub(super) unfinished: Option<i64>,
    /// Whether a command was still running, and has been ended.
    pub(super) ended: bool,
}

impl Marker {
    /// The marker of a place, whether it is set or not.
    pub(super) fn of(disk: &Disk, place: &Key) -> Self {
        let mark = mark(place);
        Self { path: disk.directory().join(FOLDER).join(&mark), mark }
    }

    /// Sets it, and tells what one that was set already means. Blocks.
    ///
    /// Where it cannot be set, as in a cache that may not be written to, a kill is not noticed.
    pub(super) fn set(&self) -> Left {
        let opened = match self.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| self.open())
            }
            opened => opened,
        };
        let Ok(file) = opened else { return Left::default() };
        let touched = file.metadata().map_or(i64::MAX, |metadata| {
            metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
        });
        let mut said = [b' '; BYTES];
        // What cannot be read says nothing.
        let _ = file.read_at(&mut said, 0);
        let said = said.trim_ascii();
        let left = if said.is_empty() {
            Left::default()
        } else {
            let ended = noted(said).is_some_and(|since| end_marked(&self.mark, since));
            Left { unfinished: Some(touched.saturating_add(2 * BEAT.as_nanos() as i64)), ended }
        };
        let _ = write(&file, &format!("{SET} {} {}", ticks(), boot()));
        left
    }

    /// Says that who set it is still there. Blocks, very briefly.
    fn touch(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let now = Timestamps { last_access: now, last_modification: now };
        // Failing that, more passes for somebody else's.
        let _ = utimensat(CWD, &self.path, &now, AtFlags::empty());
    }

    /// Ends it. Blocks.
    pub(super) fn clear(&self) {
        if let Ok(file) = File::options().write(true).open(&self.path) {
            let _ = write(&file, "");
        }
    }

    /// Removes those that are not set and that nobody has set for so long. Blocks.
    pub(super) fn sweep(disk: &Disk, unused_for: Duration) {
        let files = fs::read_dir(disk.directory().join(FOLDER)).into_iter().flatten().flatten();
        for path in files.map(|file| file.path()) {
            let changed = path.metadata().and_then(|metadata| metadata.modified());
            let is_old = changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= unused_for));
            if is_old && fs::read(&path).is_ok_and(|said| said.trim_ascii().is_empty()) {
                // Should somebody set it this moment, a kill is not noticed.
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(false).open(&self.path)
    }
}

impl Inner {
    /// Touches a task's marker for as long as it is polled.
    pub(super) async fn beat(&self, task: &Task) -> Infallible {
        let Some(marker) = self.marker(task) else { return pending().await };
        loop {
            tokio::time::sleep(BEAT).await;
            marker.touch();
        }
    }

    /// The marks of a task's command in this clone.
    pub(super) fn marks(&self, task: &Task) -> String {
        let outer = self.environment.iter().find(|(name, _)| name == MARKS);
        let outer = outer.and_then(|(_, marks)| marks.to_str()).into_iter();
        let own = mark(&self.place(task));
        outer.chain([own.as_str()]).collect::<Vec<_>>().join(" ")
    }
}

fn mark(place: &Key) -> String {
    place.digest().to_string()
}

/// Writes what a marker says over what it said, in one step.
fn write(file: &File, says: &str) -> io::Result<()> {
    file.write_all_at(format!("{says:<BYTES$}").as_bytes(), 0)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When it was set, if that was since the machine started.
fn noted(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.strip_prefix(SET)?.split_whitespace();
    let since = words.next()?.parse().ok()?;
    (words.next()? == boot()).then_some(since)
}

/// Ends what has this mark and began since then. Returns whether there was anything.
fn end_marked(mark: &str, since: u64) -> bool {
    let above = |&id: &u32| u32::try_from(Process::find(id)?.parent).ok();
    let own: Vec<u32> = std::iter::successors(Some(std::process::id()), above).collect();
    let until = std::time::Instant::now() + VANISHING;
    let mut found = false;
    loop {
        let marked = ids().filter(|id| !own.contains(id) && is_marked(*id, mark, since));
        let marked: Vec<Pid> = marked.filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?)).collect();
        if marked.is_empty() || std::time::Instant::now() >= until {
            return found;
        }
        found = true;
        for id in marked {
            // With the group that it leads, if it does: others there may have hidden their mark. All of them may be gone.
            let _ = kill_process_group(id, Signal::KILL);
            let _ = kill_process(id, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
