//! File sets on real trees in temporary directories.

mod changes;
mod ignores;
mod links;
mod notices;
mod patterns;
mod random;
mod reading;
mod trouble;
mod written;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use expect_test::Expect;
use larder::clock::{Clock, Timestamp};
use larder::source::{EntryKind, FileSet, FileSetBuilder, Ignore, Scan, ScanOptions, Snapshot, SourceError};
use tempfile::TempDir;

/// A tree, a set over it, and the last snapshot of the set.
struct Lab {
    directory: TempDir,
    set: FileSet,
    clock: Clock,
    previous: Option<Arc<Snapshot>>,
    threads: usize,
}

impl Lab {
    /// Inputs that `patterns` select. The clock is an hour ahead of the files', so that all stamps have settled.
    fn inputs(patterns: &[&str]) -> Self {
        Self::of(|root| FileSet::inputs(root).patterns(patterns.iter().copied()))
    }

    /// Outputs that `patterns` select.
    fn outputs(patterns: &[&str]) -> Self {
        Self::of(|root| FileSet::outputs(root).patterns(patterns.iter().copied()))
    }

    fn of(set: impl Fn(PathBuf) -> FileSetBuilder) -> Self {
        let directory = TempDir::new().unwrap();
        let set = set(directory.path().to_owned()).build().unwrap();
        let clock = Clock::manual(SystemTime::now().into());
        clock.advance(Duration::from_secs(3600));
        Self { directory, set, clock, previous: None, threads: 1 }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Writes a file with mode 0o644, and the directories above it.
    fn file(&mut self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> &mut Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    fn directory(&mut self, path: &str) -> &mut Self {
        let path = self.path(path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn link(&mut self, path: &str, target: impl AsRef<Path>) -> &mut Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    fn mode(&mut self, path: &str, mode: u32) -> &mut Self {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn rename(&mut self, from: &str, to: &str) -> &mut Self {
        fs::rename(self.path(from), self.path(to)).unwrap();
        self
    }

    fn remove(&mut self, path: &str) -> &mut Self {
        let path = self.path(path);
        if path.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        self
    }

    /// Runs `edit` and gives the file its times back.
    fn keeping_times(&mut self, path: &str, edit: impl FnOnce(&mut Self)) -> &mut Self {
        let modified = fs::metadata(self.path(path)).unwrap().modified().unwrap();
        edit(self);
        self.modified(path, modified)
    }

    fn modified(&mut self, path: &str, time: SystemTime) -> &mut Self {
        fs::File::open(self.path(path)).unwrap().set_modified(time).unwrap();
        self
    }

    fn try_scan(&self, previous: Option<&Arc<Snapshot>>) -> Result<Scan, SourceError> {
        let stop = AtomicBool::new(false);
        let threads = NonZeroUsize::new(self.threads);
        self.set.scan(previous, &ScanOptions { clock: &self.clock, stop: &stop, threads })
    }

    /// Scans with the last snapshot and without, holds the two together, and keeps the new snapshot.
    fn scan(&mut self) -> Scan {
        let scan = self.try_scan(self.previous.as_ref()).unwrap();
        let fresh = self.try_scan(None).unwrap();
        assert_eq!(scan.fingerprint(), fresh.fingerprint(), "what a scan without a snapshot finds");
        assert_eq!(entries(&scan.snapshot), entries(&fresh.snapshot), "what a scan without a snapshot finds");
        assert_eq!(scan.unmatched, fresh.unmatched, "what a scan without a snapshot finds");
        if let Some(previous) = &self.previous {
            let same = scan.fingerprint() == previous.fingerprint();
            assert_eq!(scan.changes().is_empty(), same, "changes show in the fingerprint, and nothing else");
        }
        let stored = Snapshot::decode(&scan.snapshot.encode()).unwrap();
        assert_eq!(entries(&stored), entries(&scan.snapshot));
        self.previous = Some(Arc::new(stored));
        scan
    }
}

/// Scans, and checks what changed and how many files were read to find out.
fn check(lab: &mut Lab, expected: Expect) {
    let scan = lab.scan();
    let mut text = String::new();
    let changes = scan.changes();
    for (what, paths) in [('+', changes.added), ('-', changes.removed), ('~', changes.modified)] {
        paths.iter().for_each(|path| write!(text, "{what}{} ", path.display()).unwrap());
    }
    for pattern in &scan.unmatched {
        write!(text, "unmatched {pattern} ").unwrap();
    }
    write!(text, "read {}", scan.counts.read).unwrap();
    expected.assert_eq(&text);
}

/// All that a snapshot says, a line an entry.
fn entries(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for entry in snapshot.entries() {
        let (path, mode) = (entry.path.display(), entry.stat.permissions());
        match entry.kind {
            EntryKind::File(digest) => writeln!(text, "{path} {mode:o} {digest:.8}"),
            EntryKind::LinkedFile(digest) => writeln!(text, "{path} -> {mode:o} {digest:.8}"),
            EntryKind::Link { target, leads } => writeln!(text, "{path} -> {} {leads:?}", target.display()),
            EntryKind::Directory => writeln!(text, "{path}/ {mode:o}"),
        }
        .unwrap();
    }
    text
}

fn check_entries(lab: &mut Lab, expected: Expect) {
    expected.assert_eq(&entries(&lab.scan().snapshot));
}

/// The error with its sources, and the temporary directory's name left out.
fn check_error(lab: &Lab, error: &dyn std::error::Error, expected: Expect) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").unwrap();
        source = error.source();
    }
    expected.assert_eq(&text.replace(lab.directory.path().to_str().unwrap(), "ROOT"));
}
