//! Running a task's command, and what becomes of the result.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::key::Digest;
use larder::source::{Entry, EntryKind, Scan, Snapshot, SourceError};
use larder::tier::Brief;
use larder::tier::disk::Disk;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use super::beside::Beside;
use super::look::Ahead;
use super::marker::{Left, Marker};
use super::prepare::{Keyed, Prepared, said, unmatched};
use super::remember::Place;
use super::{Alone, Inner, RunOptions, Stopping, joined};
use crate::checkout::Memory;
use crate::event::{Event, NotRun, Note, Unkept};
use crate::execute::{Execution, Exit, Start, Stop, Tap, execute};
use crate::kept::{InputLine, InputList, KeptLog, KeptOutput, KeptResult, OutputForm};
use crate::log::{Log, Stream};
use crate::outputs::{self, Known, Outputs, discard_since};
use crate::plain;
use crate::task::{Command, Task};

/// What all tasks of one run share.
pub(super) struct Run {
    pub(super) options: RunOptions,
    /// How many commands may run at once.
    pub(super) jobs: usize,
    pub(super) permits: Arc<Semaphore>,
    pub(super) stop: watch::Receiver<Stop>,
    pub(super) events: mpsc::Sender<Event>,
    /// Set once `stop` says anything, for work that waits for nothing.
    pub(super) stopping: Stopping,
    /// Looks at files that were taken ahead.
    pub(super) ahead: Ahead,
    /// Set once a task failed and the others are not to begin any more.
    pub(super) halted: AtomicBool,
    /// Set once somebody has seen to the disk tier's log.
    pub(super) is_tidied: AtomicBool,
    /// Who has written which file, of tasks whose outputs are globs.
    pub(super) writers: Mutex<HashMap<Vec<u8>, Arc<Task>>>,
}

/// A place to run.
pub(super) type Permit = OwnedSemaphorePermit;

impl Run {
    /// Waits for a place to run a task; `None` once no command is to begin any more.
    pub(super) async fn permit(&self, task: &Task) -> Option<Permit> {
        // What never ends would never give its permit back.
        let permits = match (task.persistent, task.interactive) {
            (true, _) => 0,
            // The terminal is for one at a time.
            (_, true) => u32::try_from(self.jobs).unwrap_or(u32::MAX),
            _ => 1,
        };
        let permit = Arc::clone(&self.permits).acquire_many_owned(permits).await.ok();
        permit.filter(|_| !self.is_stopped())
    }

    /// Tells something. Whoever does not listen any more misses it.
    pub(super) async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    /// Notes who has written these outputs. Returns one that another task has written in this run, and which. Of paths it
    /// is known before, and two globs that meet in no file are well.
    pub(super) fn other_writer(&self, task: &Arc<Task>, outputs: &[KeptOutput]) -> Option<(PathBuf, String)> {
        if task.outputs.iter().all(|output| output.value.glob().is_none()) {
            return None;
        }
        let mut writers = self.writers.lock();
        let mut found = None;
        for file in outputs.iter().filter(|output| !matches!(output.form, OutputForm::Directory { .. })) {
            let writer = writers.entry(file.path.clone()).or_insert_with(|| Arc::clone(task));
            if found.is_none() && !Arc::ptr_eq(writer, task) {
                found = Some((PathBuf::from(OsStr::from_bytes(&file.path)), writer.id.to_string()));
            }
        }
        found
    }

    /// Which task of those whose outputs are globs has written a file in this run.
    fn writer(&self, path: &Path) -> Option<String> {
        self.writers.lock().get(path.as_os_str().as_bytes()).map(|task| task.id.to_string())
    }

    /// Ends once the run is stopped.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.clone();
        let is_over = stop.wait_for(|stop| *stop != Stop::No).await.is_err();
        if is_over {
            // Nobody is left to stop it.
            std::future::pending::<()>().await;
        }
    }

    /// Whether what larder does for its tasks is to end, too.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether no command is to begin any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.halted.load(Ordering::Relaxed) || *self.stop.borrow() != Stop::No
    }
}

/// A command that has run.
pub(super) struct Performed {
    pub(super) exit: Exit,
    pub(super) took: Duration,
    pub(super) log: Log,
    pub(super) outputs: Option<Digest>,
    /// What to keep, with the blobs that it names; or why nothing.
    pub(super) result: Result<(KeptResult, Vec<Digest>), Unkept>,
}

/// Why a command did not run.
#[derive(Debug)]
pub(super) enum Unrun {
    /// It is not to, or cannot.
    NotRun(NotRun),
    /// Its inputs have changed since they were looked at, while it waited for its turn: it has another key now.
    Outdated,
}

impl From<NotRun> for Unrun {
    fn from(not_run: NotRun) -> Self {
        Self::NotRun(not_run)
    }
}

/// The place of a task's outputs before its command starts.
struct Room {
    /// What is remembered of the task.
    memory: Memory,
    /// What was known of its outputs.
    known: Known,
    /// How the outputs look; `None` where there are none or they cannot be looked at.
    before: Option<Arc<Snapshot>>,
    left: Left,
    /// What else the key covers; or what of it is not as the key has it.
    beside: Result<Beside, Unkept>,
    /// Why what the command leaves cannot be told from what earlier runs made, if it cannot.
    unclean: Option<Unkept>,
}

/// A log up to this size is kept with the result.
const INLINE_LOG_BYTES: usize = 8 << 10;

/// Threads that work at once when a command has ended: one looks at its outputs or keeps them, one looks at its inputs, and
/// one writes down what is remembered.
const HANDS: usize = 3;

/// What a command writes that takes no longer is kept in place, if its work is.
const BRIEFLY: Duration = Duration::from_millis(250);

struct Live<'a> {
    run: &'a Arc<Run>,
    at: usize,
    inner: &'a Arc<Inner>,
    prepared: &'a Arc<Prepared>,
    /// What is done for the result while the command runs.
    listing: Option<JoinHandle<Option<Vec<u8>>>>,
}

impl Tap for Live<'_> {
    fn take<'a>(
        &'a mut self,
        stream: Stream,
        bytes: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let event = Event::Output { task: self.at, stream, bytes: bytes.to_vec() };
        Box::pin(self.run.tell(event))
    }

    fn started(&mut self, _group: Option<u32>) {
        // Not before the command is there: it would wait for a processor that these take.
        let (inner, ready, run) = (Arc::clone(self.inner), Arc::clone(self.prepared), Arc::clone(self.run));
        self.listing = Some(spawn_blocking(move || inner.get_ready(&ready, &run)));
        if self.prepared.brief == Brief::Aside {
            // What follows is done by three hands, and having one made then takes as long as what it does.
            (0..HANDS - 1).for_each(|_| drop(spawn_blocking(|| ())));
        }
    }
}

impl Inner {
    /// Runs a task's command in this clone, alone. `permit` is held until it has ended.
    pub(super) async fn perform(
        self: &Arc<Self>,
        at: usize,
        prepared: &Arc<Prepared>,
        run: &Arc<Run>,
        permit: Option<Permit>,
    ) -> Result<Performed, Unrun> {
        let done = self.perform_permitted(at, prepared, run).await;
        self.programs.forget();
        self.inputs.forget(self.clock.wall());
        let goes_on = match &done {
            Ok(performed) => performed.exit.is_success(),
            Err(Unrun::Outdated) => true,
            Err(Unrun::NotRun(_)) => false,
        };
        if !goes_on && !run.options.keep_going {
            // Before the permit is given back, so that nobody who waits for it begins.
            run.halted.store(true, Ordering::Relaxed);
        }
        drop(permit);
        done
    }

    async fn perform_permitted(
        self: &Arc<Self>,
        at: usize,
        prepared: &Arc<Prepared>,
        run: &Arc<Run>,
    ) -> Result<Performed, Unrun> {
        let task = &prepared.task;
        if run.is_stopped() {
            return Err(NotRun::Stopped.into());
        }
        run.ahead.end();
        let Some((alone, room)) = self.alone_in_room(at, prepared, run).await? else {
            return Err(Unrun::Outdated);
        };
        if room.left.ended {
            run.tell(Event::Noted { task: at, note: Note::EndedOrphan }).await;
        }
        if run.is_stopping() {
            // What was looked at may not have been looked at to its end. Nothing has been written.
            if room.left.unfinished.is_none() {
                self.clear(task);
            }
            return Err(NotRun::Stopped.into());
        }
        let start = self.start(prepared, run).inspect_err(|_| self.clear(task))?;
        run.tell(Event::Started { task: at }).await;
        let writes = run.options.mode.writes();
        let masks = [prepared.environment.mask(), prepared.environment.mask()];
        let mut live = Live { run, at, inner: self, prepared, listing: None };
        let executed = tokio::select! {
            executed = execute(&start, masks, run.stop.clone(), &mut live) => executed,
            never = self.beat(task) => match never {},
        };
        let (execution, mut slept) = executed.map_err(|error| {
            self.clear(task);
            could_not_start(&start, &error)
        })?;
        let listed = match live.listing {
            Some(listing) => joined(listing).await,
            None => None,
        };
        let (inner, ready) = (Arc::clone(self), Arc::clone(prepared));
        // What took long may have written much.
        let brief = if execution.took <= BRIEFLY { prepared.brief } else { Brief::Aside };
        let conclude = move || inner.conclude(&ready, room, alone, execution, listed, (writes, brief));
        let (mut performed, notes) = self.at(brief, conclude).await;
        if performed.result.is_ok() && slept.over().await {
            performed.result = Err(Unkept::SleptOver);
        }
        let other_writer = match &performed.result {
            Ok((kept, _)) => run.other_writer(task, &kept.outputs),
            Err(Unkept::LeftOver { path, .. }) => run.writer(path).map(|other| (path.clone(), other)),
            Err(_) => None,
        };
        if let Some((path, other)) = other_writer {
            performed.result = Err(Unkept::TwoWriters { path, other });
        }
        for note in notes {
            run.tell(Event::Noted { task: at, note }).await;
        }
        Ok(performed)
    }

    /// The right to run a task in this clone, and the place of its outputs made ready. `None` if the inputs are not
    /// those of the key any more.
    async fn alone_in_room(
        self: &Arc<Self>,
        at: usize,
        prepared: &Arc<Prepared>,
        run: &Arc<Run>,
    ) -> Result<Option<(Alone, Room)>, NotRun> {
        let clear = run.options.clean;
        // Mostly nobody has to be waited for, and one hand does both.
        let (inner, ready) = (Arc::clone(self), Arc::clone(prepared));
        let at_once = move || {
            let alone = inner.try_alone(&ready.task)?;
            Some(inner.make_room(&ready, clear, false).map(|room| (alone, room)))
        };
        if let Some(done) = self.at(prepared.brief, at_once).await {
            return Ok(done);
        }
        let waiting = async || run.tell(Event::Noted { task: at, note: Note::Waiting }).await;
        let alone = tokio::select! {
            alone = self.alone(&prepared.task, waiting) => alone,
            () = run.stopped() => return Err(NotRun::Stopped),
        };
        if run.is_stopped() {
            return Err(NotRun::Stopped);
        }
        let (inner, ready) = (Arc::clone(self), Arc::clone(prepared));
        let room = self.blocking(move || inner.make_room(&ready, clear, true)).await;
        Ok(room.map(|room| (alone, room)))
    }

    fn start(&self, prepared: &Prepared, run: &Run) -> Result<Start, NotRun> {
        let task = &prepared.task;
        let argv: Vec<OsString> = match &task.command {
            Some(Command::Script { shell, script }) => {
                shell.iter().chain([script]).map(OsString::from).collect()
            }
            Some(Command::Argv(argv)) => argv.iter().map(OsString::from).collect(),
            None => Vec::new(),
        };
        let cwd = task.cwd.under(self.workspace.root());
        if !cwd.is_dir() {
            return Err(NotRun::NoDirectory(cwd));
        }
        let direct = match &task.command {
            Some(Command::Script { shell, script }) if *shell == ["sh", "-c"] => plain::words(script),
            _ => None,
        };
        Ok(Start {
            argv,
            direct: direct.map(|words| words.into_iter().map(OsString::from).collect()),
            cwd,
            environment: prepared.variables.clone(),
            timeout: task.timeout,
            grace: run.options.grace,
            interactive: task.interactive,
            marks: Some(self.marks(task)),
        })
    }

    /// The marker of a task in this clone, if there is a place for it.
    pub(super) fn marker(&self, task: &Task) -> Option<Marker> {
        let disk = self.disk.as_ref().filter(|disk| !disk.read_only())?;
        Some(Marker::of(disk, &self.place(task)))
    }

    pub(super) fn clear(&self, task: &Task) {
        if let Some(marker) = self.marker(task) {
            marker.clear();
        }
    }

    /// Marks the place of a task's outputs as being written to. Returns what is known of it, by whoever was there last;
    /// after a wait for somebody else, that is all that they have learnt. The place is this one's alone. Blocks.
    pub(super) fn mark(&self, prepared: &Prepared, waited: bool) -> (Memory, Left) {
        let task = &prepared.task;
        let mut memory = match waited {
            true => self.checkout.recall_one(&super::stable_name(&self.workspace, task)),
            false => prepared.memory.clone(),
        };
        if let (Some(_), false) = (&prepared.outputs, waited) {
            memory.outputs = self.known_outputs(prepared);
        }
        let left = self.marker(task).map(|marker| marker.set()).unwrap_or_default();
        let known = memory.outputs.snapshot.as_ref().zip(prepared.outputs.as_ref());
        // Of what was not among its outputs nothing was known when it was written to.
        let is_of_these = known.is_some_and(|(known, outputs)| known.is_of(&outputs.files));
        memory.outputs.unfinished = left.unfinished.filter(|_| is_of_these);
        (memory, left)
    }

    /// What is known of a task's outputs, by whoever was there last. Their place is this one's alone. Blocks.
    pub(super) fn known_outputs(&self, prepared: &Prepared) -> Known {
        let name = super::stable_name(&self.workspace, &prepared.task);
        self.checkout.recall_outputs(&name).unwrap_or_else(|| prepared.memory.outputs.clone())
    }

    /// Remembers which of what lies there nobody has made, and stays, before anything is written: after a kill, what is
    /// there besides is unfinished. Blocks.
    pub(super) fn remember_found(
        &self,
        prepared: &Prepared,
        memory: &mut Memory,
        before: &Arc<Snapshot>,
        stays: impl Fn(&Path) -> bool,
    ) {
        let Some(outputs) = &prepared.outputs else { return };
        if let Some(known) = memory.outputs.with_found(outputs, before, stays) {
            memory.outputs = known;
            self.remember(&prepared.task, memory.clone());
        }
    }

    /// Whether the look at the inputs decides: it is not old, or there is to be no other.
    pub(super) fn may_decide(&self, prepared: &Prepared) -> bool {
        prepared.insists || self.is_fresh(prepared.at)
    }

    /// Whether the inputs are those of the key, if there is one. Blocks.
    pub(super) fn inputs_stand(&self, prepared: &Prepared) -> bool {
        let Ok(keyed) = &prepared.keyed else { return true };
        let now = self.scan(&keyed.files, Some(&keyed.inputs), &prepared.stopping);
        now.is_ok_and(|now| now.fingerprint() == keyed.inputs.fingerprint())
    }

    /// Ends what an earlier run left running, and takes away what earlier runs made, or all that lies among the outputs if
    /// that is to be `clear`. `None` if the inputs are not those of the key any more. Blocks.
    fn make_room(&self, prepared: &Prepared, clear: bool, waited: bool) -> Option<Room> {
        let (mut memory, left) = self.mark(prepared, waited);
        if !self.may_decide(prepared) && !self.inputs_stand(prepared) {
            if left.unfinished.is_none() {
                self.clear(&prepared.task);
            }
            return None;
        }
        let beside = self.look_beside(prepared);
        let known = memory.outputs.clone();
        let Some(outputs) = &prepared.outputs else {
            return Some(Room { memory, known, before: None, left, beside, unclean: None });
        };
        let previous = prepared.seen.as_ref().map(|seen| &seen.snapshot).or(known.snapshot.as_ref());
        let mut before = match self.scan(&outputs.files, previous, &prepared.stopping) {
            Ok(seen) => seen.snapshot,
            Err(error) => {
                let unclean = Some(Unkept::Outputs(said(&error)));
                return Some(Room { memory, known, before: None, left, beside, unclean });
            }
        };
        let root = self.workspace.root();
        let stuck = if clear {
            Some(outputs::clear(root, &before))
        } else {
            let cleans = (prepared.task.clean || known.unfinished.is_some()) && known.snapshot.is_some();
            cleans.then(|| known.clean(outputs, &before))
        };
        if stuck.is_some() {
            before = self.scan(&outputs.files, Some(&before), &prepared.stopping).ok()?.snapshot;
        }
        self.remember_found(prepared, &mut memory, &before, |_| true);
        let stuck = stuck.filter(|stuck| !stuck.is_empty()).map(Unkept::Stuck);
        let unclean = stuck.or_else(|| {
            let foreign = known.foreign(&before);
            let inputs = prepared.keyed.as_ref().ok().map(|keyed| &keyed.inputs);
            let is_input = |path: &&PathBuf| inputs.is_some_and(|inputs| inputs.get(path).is_some());
            let input = foreign.iter().find(is_input).cloned();
            input.map(Unkept::OutputIsInput).or_else(|| left_over(&foreign))
        });
        Some(Room { memory, known, before: Some(before), left, beside, unclean })
    }

    /// Does what can be done for the result while the command runs. Returns the list of the inputs, which is a blob
    /// then: none where nothing is kept, or without a disk tier, as a result is then kept for this process only, which
    /// knows its inputs. Blocks.
    fn get_ready(&self, prepared: &Prepared, run: &Run) -> Option<Vec<u8>> {
        let keyed = prepared.keyed.as_ref().ok();
        let keyed = keyed.filter(|keyed| run.options.mode.writes() && keyed.rules.mode.writes())?;
        let disk = self.disk.as_ref().filter(|disk| !disk.read_only())?;
        if !run.is_tidied.swap(true, Ordering::Relaxed)
            && let Some(log) = disk.long_log()
        {
            // Nobody waits for this one.
            drop(spawn_blocking(|| log.write_back()));
        }
        disk.get_ready();
        let list = postcard::to_allocvec(&input_list(&keyed.inputs, self.umask)).ok()?;
        // That it fails is told when it is put with the result.
        let _ = disk.put_blob_bytes(&list);
        Some(list)
    }

    /// Looks at what a command left behind and makes a result of it. What is remembered of it is written beside what
    /// comes next, or at once in place, and where the outputs lie is the task's alone until then. Blocks.
    fn conclude(
        self: &Arc<Self>,
        prepared: &Arc<Prepared>,
        room: Room,
        alone: Alone,
        execution: Execution,
        listed: Option<Vec<u8>>,
        (writes, brief): (bool, Brief),
    ) -> (Performed, Vec<Note>) {
        let mut notes = Vec::new();
        let Room { mut memory, known, before, beside, unclean, .. } = room;
        memory.took_millis = Some(millis(execution.took));
        let unfinished = matches!(execution.exit, Exit::Stopped | Exit::TimedOut(_));
        let seen = prepared.outputs.as_ref().map(|outputs| {
            // What a command that was stopped has left is taken away whatever that takes.
            let never = AtomicBool::new(false);
            let stop = if unfinished { &never } else { &*prepared.stopping };
            let seen = self.scan(&outputs.files, before.as_ref(), stop)?;
            let Some(before) = before.as_ref().filter(|_| unfinished) else { return Ok(seen) };
            notes.extend(discard_since(outputs.root(), &known, before, &seen.snapshot).notes());
            self.scan(&outputs.files, Some(before), stop)
        });
        let is_unknown = matches!(seen, Some(Err(SourceError::Stopped)));
        if let Some(Ok(seen)) = &seen {
            memory.outputs = known.after(before.as_deref(), &seen.snapshot);
        }
        let seen = seen.transpose().map_err(|error| prepared.unless_stopped(Unkept::Outputs(said(&error))));
        if let (Ok(Some(seen)), true) = (&seen, execution.exit.is_success()) {
            notes.extend(unmatched(seen, "output", prepared.task.outputs.iter()));
        }
        let outputs = seen.as_ref().ok().and_then(Option::as_ref).map(Scan::fingerprint);
        let result = seen.and_then(|seen| {
            let keyed = prepared.keyed.as_ref().map_err(Clone::clone)?;
            acceptable(prepared, keyed, &execution)?;
            unclean.map_or(Ok(()), Err)?;
            if let (Some(seen), Some(before)) = (&seen, &before) {
                let left = left_over(&known.foreign_directories(before, &seen.snapshot));
                left.map_or(Ok(()), Err)?;
            }
            // The inputs are looked at again while the outputs are put into blobs, where that is another's work.
            let (inner, ready) = (Arc::clone(self), Arc::clone(prepared));
            let looking = (brief == Brief::Aside).then(|| spawn_blocking(move || inner.unchanged(&ready)));
            let result = if !writes || !keyed.rules.mode.writes() {
                Err(Unkept::SwitchedOff)
            } else if self.disk.as_ref().is_some_and(Disk::read_only) {
                Err(Unkept::ReadOnly)
            } else {
                self.result(prepared, keyed, seen.as_ref(), &execution, listed)
            };
            let inputs = match looking.map(|looking| Handle::current().block_on(looking)) {
                Some(looked) => looked.unwrap_or_else(|error| Err(Unkept::Inputs(said(&error)))),
                None => self.unchanged(prepared),
            };
            self.still_beside(prepared, &beside?)?;
            memory.inputs = Some(inputs?);
            memory.key = Some(keyed.key.digest());
            result
        });
        if is_unknown {
            // The place stays marked, as after a kill: whoever comes next takes away what is there.
            drop(alone);
        } else {
            self.remember_soon(prepared, memory, Place::Marked(alone));
        }
        let Execution { exit, log, took, .. } = execution;
        (Performed { exit, took, log, outputs, result }, notes)
    }

    /// Looks at the inputs again: the result of a run during which one changed belongs to no content.
    fn unchanged(&self, prepared: &Prepared) -> Result<Arc<Snapshot>, Unkept> {
        let keyed = prepared.keyed.as_ref().map_err(Clone::clone)?;
        let after = self
            .scan(&keyed.files, Some(&keyed.inputs), &prepared.stopping)
            .map_err(|error| prepared.unless_stopped(Unkept::Inputs(said(&error))))?;
        let touched = touched(&keyed.inputs, &after.snapshot);
        let Some(path) = touched.first() else { return Ok(after.snapshot) };
        if let Some(outputs) = &prepared.outputs
            && let Some(output) = touched.iter().find(|path| outputs.declares(path))
        {
            return Err(Unkept::OutputIsInput(output.clone()));
        }
        Err(Unkept::InputChanged { path: path.clone(), others: touched.len() - 1 })
    }

    /// Puts everything that the result names into blobs.
    fn result(
        &self,
        prepared: &Prepared,
        keyed: &Keyed,
        seen: Option<&Scan>,
        execution: &Execution,
        listed: Option<Vec<u8>>,
    ) -> Result<(KeptResult, Vec<Digest>), Unkept> {
        let chunks = execution.log.whole().ok_or(Unkept::LogTooLarge)?;
        let mut outputs: Vec<KeptOutput> = Vec::new();
        let mut outputs_digest = Digest::of(b"");
        if let (Some(seen), Some(set)) = (seen, &prepared.outputs) {
            let disk = self.disk.as_ref().ok_or(Unkept::NoDisk)?;
            let limit = keyed.rules.max_size.map(|size| size.0);
            outputs = set
                .collect(&seen.snapshot, disk, limit, &prepared.stopping)
                .map_err(|error| prepared.unless_stopped(Unkept::Outputs(said(&error))))?;
            outputs_digest = seen.fingerprint();
        }
        let mut blobs: Vec<Digest> = outputs
            .iter()
            .filter_map(|output| match output.form {
                OutputForm::File { digest, .. } => Some(digest),
                _ => None,
            })
            .collect();
        let mut store = |bytes: &[u8]| {
            let disk = self.disk.as_ref().ok_or(Unkept::NoDisk)?;
            let blob = disk.put_blob_bytes(bytes).map_err(|error| Unkept::Outputs(said(&error)))?;
            blobs.push(blob.digest);
            Ok::<_, Unkept>(blob.digest)
        };
        let length: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        let log = if length <= INLINE_LOG_BYTES {
            KeptLog::Inline(chunks.to_vec())
        } else {
            KeptLog::Blob(store(
                &postcard::to_allocvec(chunks).map_err(|error| Unkept::Engine(error.to_string()))?,
            )?)
        };
        // While the command ran, a gc may have taken what was put before: then it is put anew.
        let inputs = listed.map(|list| store(&list)).transpose()?;
        blobs.sort_unstable();
        blobs.dedup();
        let all = crate::manifest::Component::WORDS.iter();
        let left_out = all.filter(|(_, component)| !keyed.rules.components.contains(component));
        let kept = KeptResult {
            task: super::stable_name(&self.workspace, &prepared.task),
            parts: keyed.key.parts().to_vec(),
            left_out: left_out.map(|(word, _)| (*word).to_owned()).collect(),
            exit_code: execution.exit.code(),
            took_millis: millis(execution.took),
            log,
            outputs,
            outputs_digest,
            inputs,
        };
        Ok((kept, blobs))
    }
}

/// Whether the end of a command allows that its result is kept.
fn acceptable(prepared: &Prepared, keyed: &Keyed, execution: &Execution) -> Result<(), Unkept> {
    match execution.exit {
        Exit::Code(code) if keyed.rules.exit_codes.contains(&code) => {}
        Exit::Code(code) => return Err(Unkept::ExitCode(code)),
        Exit::Signal(signal) => return Err(Unkept::Signal(signal)),
        Exit::TimedOut(limit) => return Err(Unkept::TimedOut(limit)),
        Exit::Stopped => return Err(Unkept::Stopped),
    }
    if execution.left_behind {
        return Err(Unkept::LeftBehind);
    }
    let missing = prepared.task.outputs.iter().find(|output| {
        let is_path = !output.value.is_negated() && output.value.glob().is_none();
        is_path
            && prepared.outputs.as_ref().is_some_and(|outputs| !exists(outputs.root(), output.value.base()))
    });
    if let Some(output) = missing {
        return Err(Unkept::MissingOutput(output.value.written().to_owned()));
    }
    let behind = prepared.outputs.iter().find_map(Outputs::first_behind_link);
    behind.map_or(Ok(()), |(output, link)| Err(Unkept::BehindLink { output, link }))
}

/// Why nothing is kept where something was there before that no run has made, if there is anything.
fn left_over(paths: &[PathBuf]) -> Option<Unkept> {
    let (path, others) = paths.split_first()?;
    Some(Unkept::LeftOver { path: path.clone(), others: others.len() })
}

fn exists(root: &Path, path: &crate::path::RelPath) -> bool {
    path.under(root).symlink_metadata().is_ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Inputs that were written to between two looks, also if with the same content: what a command read between two
/// writes is not known. Whoever writes may set the time of that as it was before, so the time that nobody can set counts
/// as well, though modes and further names of a file move it, too.
pub(super) fn touched(before: &Snapshot, after: &Snapshot) -> Vec<PathBuf> {
    let changes = after.changes_since(before);
    let mut paths: Vec<PathBuf> = [changes.added, changes.removed, changes.modified].concat();
    let known: HashSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let rewritten = |(is, was): &(Entry<'_>, Entry<'_>)| {
        let has_content = matches!(is.kind, EntryKind::File(_) | EntryKind::LinkedFile(_));
        has_content
            && (is.stat.modified, is.stat.changed, is.stat.inode, is.stat.device)
                != (was.stat.modified, was.stat.changed, was.stat.inode, was.stat.device)
    };
    let mut more: Vec<PathBuf> = Vec::new();
    if paths.is_empty() {
        // The same paths of the same kinds, so both lists run in step.
        let pairs = after.entries().zip(before.entries()).filter(rewritten);
        more.extend(pairs.map(|(is, _)| is.path).filter(|path| !known.contains(path)).map(Path::to_owned));
    }
    paths.append(&mut more);
    paths.sort();
    paths
}

/// The inputs with one digest each.
pub(super) fn input_list(inputs: &Snapshot, umask: u32) -> InputList {
    use std::os::unix::ffi::OsStrExt as _;
    let mut lines: Vec<InputLine> = Vec::with_capacity(inputs.len());
    for entry in inputs.entries() {
        let mut hasher = larder::key::Hasher::new(larder::key::Algorithm::Blake3);
        match entry.kind {
            EntryKind::File(digest) | EntryKind::LinkedFile(digest) => {
                hasher.update(digest.as_bytes());
                let mode = crate::kept::KeptMode::of(entry.stat.permissions(), umask);
                hasher.update(format!("{mode:?}").as_bytes());
            }
            EntryKind::Link { target, .. } => hasher.update(target.as_os_str().as_bytes()),
            EntryKind::Directory => hasher.update(b"directory"),
        }
        let path = entry.path.as_os_str().as_bytes();
        match lines.last_mut() {
            // A link and the file that it leads to are one input.
            Some(last) if last.path == path => {
                last.digest = Digest::after(last.digest, [(path, Some(hasher.finish()))]);
            }
            _ => lines.push(InputLine { path: path.to_vec(), digest: hasher.finish() }),
        }
    }
    InputList(lines)
}

fn could_not_start(start: &Start, error: &std::io::Error) -> NotRun {
    let program =
        start.argv.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    match error.kind() {
        std::io::ErrorKind::NotFound => NotRun::CommandNotFound(program),
        _ => NotRun::CouldNotStart(format!("{program}: {error}")),
    }
}

/// What is remembered after a kept result was given back.
pub(super) fn after_hit(
    prepared: &Prepared,
    keyed: &Keyed,
    outputs: Option<Known>,
    took_millis: u64,
) -> Memory {
    Memory {
        inputs: Some(Arc::clone(&keyed.inputs)),
        outputs: outputs.unwrap_or_else(|| prepared.memory.outputs.clone()),
        key: Some(keyed.key.digest()),
        took_millis: Some(took_millis),
    }
}
