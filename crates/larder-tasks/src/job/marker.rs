//! Markers: that a task's outputs are being written in this clone, and by whom.
//!
//! A marker is a small file beside the disk tier. It is set from before the first output is touched until what is
//! remembered of the outputs is right again; then it is blanked, as making files and removing them costs more than
//! all else about them. One that is found set by whoever holds the lease on the place says that
//! a larder was killed in between: what lies there is unfinished, and its command may still be writing. That is
//! ended first. A process group's number alone proves nothing, as the system gives it to others later: only
//! processes that are as old as the marker says and that stand inside the workspace are taken for the command's.
//!
//! What it says is written over what it said, always at the same length. Cutting a file before it is written to
//! has some file systems (ext4) put it on the disk when it is closed, and wait there the next time that it is cut.
//!
//! Processes are known from `/proc`; on systems without it nothing is ever taken for a command that was left.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::key::Key;
use larder::tier::disk::Disk;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::{Process, group_is_alive, members};

/// The folder of the cache's directory that they stand in.
const FOLDER: &str = "running";
/// What a marker says as long as no process group is known.
const SET: &str = "set";
/// How long a marker is, whatever it says: spaces fill the rest, and are all there is in one that is not set.
const BYTES: usize = 96;
/// How long a command that was left may take to vanish once it was killed.
const VANISHING: Duration = Duration::from_secs(2);

/// The marker of a place.
#[derive(Debug, Clone)]
pub(super) struct Marker(PathBuf);

/// What a larder that was killed has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Left {
    /// Whether outputs may be unfinished.
    pub(super) unfinished: bool,
    /// Whether a command was still running, and has been ended.
    pub(super) ended: bool,
}

impl Marker {
    /// The marker of a place, whether it is set or not.
    pub(super) fn of(disk: &Disk, place: &Key) -> Self {
        Self(disk.directory().join(FOLDER).join(place.digest().to_string()))
    }

    /// Sets it, and tells what one that was set already means. Blocks.
    ///
    /// Where it cannot be set, as in a cache that may not be written to, a kill is not noticed.
    pub(super) fn set(&self, root: &Path) -> Left {
        let opened = match self.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.0.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| self.open())
            }
            opened => opened,
        };
        let Ok(file) = opened else { return Left::default() };
        let mut said = [b' '; BYTES];
        // What cannot be read says nothing.
        let _ = file.read_at(&mut said, 0);
        let said = said.trim_ascii();
        let left = if said.is_empty() {
            Left::default()
        } else {
            let ended = noted(said).is_some_and(|(group, began)| end_group(group, began, root));
            Left { unfinished: true, ended }
        };
        let _ = write(&file, SET);
        left
    }

    /// Adds which process group writes. Blocks.
    pub(super) fn note(&self, group: u32) {
        if let (Some(leader), Ok(file)) = (Process::find(group), self.open()) {
            let _ = write(&file, &format!("{group} {} {}", leader.began, boot()));
        }
    }

    /// Ends it. Blocks.
    pub(super) fn clear(&self) {
        if let Ok(file) = File::options().write(true).open(&self.0) {
            let _ = write(&file, "");
        }
    }

    fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(false).open(&self.0)
    }
}

/// Writes what a marker says over what it said, in one step.
fn write(file: &File, says: &str) -> io::Result<()> {
    file.write_all_at(format!("{says:<BYTES$}").as_bytes(), 0)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The group and when its leader began, if that was since the machine started.
fn noted(bytes: &[u8]) -> Option<(i32, u64)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split(' ');
    let (group, began) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next()? == boot()).then_some((group, began))
}

fn end_group(group: i32, began: u64, root: &Path) -> bool {
    let Some(pid) = Pid::from_raw(group) else { return false };
    let leader = u32::try_from(group).ok().and_then(Process::find);
    if leader.is_some_and(|leader| leader.began != began) {
        // Somebody else has the number now.
        return false;
    }
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let stands_inside =
        |id: u32| fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(&root));
    if !members(pid).any(|(id, process)| process.began >= began && stands_inside(id)) {
        return false;
    }
    if kill_process_group(pid, Signal::KILL).is_err() {
        return false;
    }
    let until = std::time::Instant::now() + VANISHING;
    while group_is_alive(pid) && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}
