//! The audit log: who wrote, removed or was refused what, and when; who read it, if that is wanted.
//!
//! One line of JSON for each, in a file that is put aside when it is large. Requests wait for no disk: lines go through
//! a bounded queue to a thread of the log's own. Invariant: what does not fit into the queue, or can't be written, is
//! counted, and the next line that is written says how many are missing. A file that can't be put aside is gone on with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use larder::clock::{Clock, Timestamp};
use larder::key::Scope;
use parking_lot::Mutex;
use serde::Serialize;

use super::Deed;

/// How many lines may wait to be written.
const QUEUED: usize = 8192;
/// How much more is written to a file that could not be put aside before that is tried again.
const AGAIN_BYTES: u64 = 64 << 10;

/// How the audit log is kept.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// Where it is written; what is there stays, and is gone on with.
    pub path: PathBuf,
    /// Whether reads are told, too.
    pub reads: bool,
    /// How large the file gets before it is put aside under its name with `.1` behind it.
    pub max_bytes: u64,
    /// How many that were put aside are kept.
    pub kept: u32,
}

/// The audit log. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Mutex<Option<SyncSender<Line>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    missing: Arc<AtomicU64>,
    reads: bool,
    clock: Clock,
}

/// What was done, or was to be.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) who: Option<&'a str>,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) protocol: &'static str,
    /// `None` if it was not seen what was wanted.
    pub(crate) deed: Option<Deed>,
    pub(crate) key: String,
    pub(crate) bytes: Option<u64>,
    pub(crate) outcome: Outcome,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// There was nothing.
    Missing,
    /// Who asked may not.
    Refused,
    /// It was not as it should be, or the server could not.
    Failed,
}

/// A line of the log.
#[derive(Debug, Serialize)]
struct Line {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deed: Option<&'static str>,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    outcome: Outcome,
}

/// Stands where lines are missing.
#[derive(Serialize)]
struct Missing {
    time: String,
    missing_lines: u64,
}

fn text(time: Timestamp) -> String {
    humantime::format_rfc3339_millis(time.into()).to_string()
}

impl Audit {
    /// Opens the log, and starts its thread.
    pub fn open(options: AuditOptions, clock: Clock) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUED);
        let (missing, reads) = (Arc::new(AtomicU64::new(0)), options.reads);
        let log = Log::open(options, Arc::clone(&missing), clock.clone())?;
        let writer = std::thread::Builder::new().name("larder-audit".to_owned());
        let writer = writer.spawn(move || log.follow(&lines))?;
        let (queue, writer) = (Mutex::new(Some(queue)), Mutex::new(Some(writer)));
        Ok(Self { inner: Arc::new(Inner { queue, writer, missing, reads, clock }) })
    }

    /// Writes what waits, and ends. Blocks. What comes later is missing.
    pub fn close(&self) {
        self.inner.queue.lock().take();
        if let Some(writer) = self.inner.writer.lock().take() {
            // It ends with its queue; that it panicked fails nobody.
            let _ = writer.join();
        }
    }

    /// How many lines are missing that were not told of in the log yet.
    pub fn missing(&self) -> u64 {
        self.inner.missing.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, entry: Entry<'_>) {
        let Entry { who, scope, protocol, deed, key, bytes, outcome } = entry;
        if deed == Some(Deed::Read) && outcome != Outcome::Refused && !self.inner.reads {
            return;
        }
        let line = Line {
            time: text(self.inner.clock.wall()),
            who: who.map(str::to_owned),
            scope: scope.map(|scope| scope.as_str().to_owned()),
            protocol,
            deed: deed.map(Deed::name),
            key,
            bytes,
            outcome,
        };
        let sent = match &*self.inner.queue.lock() {
            Some(queue) => queue.try_send(line).is_ok(),
            None => false,
        };
        if !sent {
            self.inner.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The file, on the log's own thread.
struct Log {
    options: AuditOptions,
    file: BufWriter<File>,
    bytes: u64,
    /// How large it may get before it is put aside.
    most: u64,
    missing: Arc<AtomicU64>,
    clock: Clock,
}

impl Log {
    fn open(options: AuditOptions, missing: Arc<AtomicU64>, clock: Clock) -> io::Result<Self> {
        let (file, bytes) = open(&options.path)?;
        Ok(Self { most: options.max_bytes, options, file, bytes, missing, clock })
    }

    fn follow(mut self, lines: &Receiver<Line>) {
        let mut next = lines.recv().ok();
        while let Some(line) = next {
            self.write_missing();
            if let Err(error) = self.write(&line) {
                self.failed(&error, 1);
            }
            next = match lines.try_recv() {
                Ok(line) => Some(line),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    self.flush();
                    lines.recv().ok()
                }
            };
        }
        self.write_missing();
        self.flush();
    }

    /// Says how many lines were lost since the last that were told.
    fn write_missing(&mut self) {
        let missing_lines = self.missing.swap(0, Ordering::Relaxed);
        if missing_lines == 0 {
            return;
        }
        tracing::warn!(lines = missing_lines, "the audit log misses lines");
        let line = Missing { time: text(self.clock.wall()), missing_lines };
        if let Err(error) = self.write(&line) {
            self.failed(&error, missing_lines);
        }
    }

    fn failed(&self, error: &io::Error, lines: u64) {
        tracing::warn!(error = error as &dyn std::error::Error, "the audit log is not written");
        self.missing.fetch_add(lines, Ordering::Relaxed);
    }

    fn flush(&mut self) {
        if let Err(error) = self.file.flush() {
            self.failed(&error, 1);
        }
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.most {
            self.most = self.options.max_bytes;
            if let Err(error) = self.rotate() {
                tracing::warn!(error = &error as &dyn std::error::Error, "the audit log is not put aside");
                self.most = self.bytes + AGAIN_BYTES;
            }
        }
        self.file.write_all(&text)?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Puts the file aside: `.1` is the youngest of those. Where a step fails those before it lost no file but the
    /// oldest, and the next time goes on from there.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let beside = |end: &str| {
            let mut name = self.options.path.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        let aside = |n: u32| beside(&format!(".{n}"));
        // Before any file moves, as there may be too many open ones.
        let next = open(&beside(".new"))?;
        let kept = self.options.kept;
        let free = (1..kept).find(|&n| matches!(aside(n).try_exists(), Ok(false))).unwrap_or(kept);
        for n in (1..free).rev() {
            fs::rename(aside(n), aside(n + 1))?;
        }
        if kept > 0 {
            match fs::rename(&self.options.path, aside(1)) {
                // It was put aside already, by a rotation that got no further or by somebody else.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
        fs::rename(beside(".new"), &self.options.path)?;
        (self.file, self.bytes) = next;
        Ok(())
    }
}

/// Opens the file to go on with it, for its owner's eyes.
fn open(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((BufWriter::new(file), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, deed: Deed) -> Entry<'static> {
        Entry {
            who: Some("ci"),
            scope: None,
            protocol: "test",
            deed: Some(deed),
            key: key.to_owned(),
            bytes: Some(5),
            outcome: Outcome::Done,
        }
    }

    fn audit(folder: &Path, reads: bool, max_bytes: u64) -> Audit {
        let options = AuditOptions { path: folder.join("audit"), reads, max_bytes, kept: 2 };
        Audit::open(options, Clock::manual(Timestamp::from_millis(1_000))).unwrap()
    }

    #[test]
    fn a_line_says_when_who_what_and_how_it_ended_and_reads_only_if_wanted() {
        let folder = tempfile::tempdir().unwrap();
        for reads in [false, true] {
            let audit = audit(folder.path(), reads, 1 << 20);
            audit.tell(entry("read", Deed::Read));
            audit.tell(entry("written", Deed::WriteResult));
            audit.close();
        }
        let text = fs::read_to_string(folder.path().join("audit")).unwrap();
        let line = |key: &str, deed: &str| {
            format!(
                "{{\"time\":\"1970-01-01T00:00:01.000Z\",\"who\":\"ci\",\"protocol\":\"test\",\
                 \"deed\":\"{deed}\",\"key\":\"{key}\",\"bytes\":5,\"outcome\":\"done\"}}\n"
            )
        };
        let written = line("written", "write results");
        assert_eq!(text, [written.clone(), line("read", "read"), written].concat());
    }

    #[test]
    fn a_large_file_is_put_aside_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let audit = audit(folder.path(), false, 300);
        for n in 0..20 {
            audit.tell(entry(&n.to_string(), Deed::WriteContent));
        }
        audit.close();
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["audit", "audit.1", "audit.2"]);
        for name in names {
            assert!(fs::metadata(folder.path().join(name)).unwrap().len() <= 300);
        }
        let last = fs::read_to_string(folder.path().join("audit")).unwrap();
        assert!(last.lines().last().unwrap().contains("\"key\":\"19\""), "{last}");
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_is_gone_on_with_and_put_aside_later() {
        for hindrance in ["audit.new", "audit.2"] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let lines = |name: &str| fs::read_to_string(at(name)).unwrap().lines().count();
            fs::write(at("audit.1"), "older\n").unwrap();
            fs::create_dir_all(at(hindrance).join("in the way")).unwrap();
            let options = AuditOptions { path: at("audit"), reads: false, max_bytes: 300, kept: 2 };
            let clock = Clock::manual(Timestamp::from_millis(1_000));
            let mut log = Log::open(options, Arc::default(), clock).unwrap();
            let line = Missing { time: "now".to_owned(), missing_lines: 1 };
            for _ in 0..20 {
                log.write(&line).unwrap();
            }
            log.flush();
            assert_eq!((lines("audit"), lines("audit.1")), (20, 1), "{hindrance}");
            fs::remove_dir_all(at(hindrance)).unwrap();
            let mut more = 0;
            while !at("audit.2").exists() {
                log.write(&line).unwrap();
                more += 1;
                assert!(more < 10_000, "{hindrance}");
            }
            log.flush();
            assert_eq!(
                (lines("audit"), lines("audit.1"), lines("audit.2")),
                (1, 19 + more, 1),
                "{hindrance}"
            );
        }
    }

    #[test]
    fn lines_that_are_missing_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let audit = audit(folder.path(), false, 1 << 20);
        audit.inner.missing.fetch_add(7, Ordering::Relaxed);
        audit.tell(entry("next", Deed::WriteContent));
        audit.close();
        let text = fs::read_to_string(folder.path().join("audit")).unwrap();
        let first = "{\"time\":\"1970-01-01T00:00:01.000Z\",\"missing_lines\":7}";
        assert_eq!(text.lines().next(), Some(first));
        audit.tell(entry("late", Deed::WriteContent));
        assert_eq!(audit.missing(), 1);
    }
}
