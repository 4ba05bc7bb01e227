//! Giving back what is kept, or running for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::clock::Instant;
use larder::config::Mode;
use larder::engine::{Answer, AskError, Computed, Entry, Kept, NotKept, Origin};
use larder::key::Digest;
use larder::source::{Scan, Snapshot};
use larder::stats::Place;
use larder::tier::Brief;
use tokio::sync::Mutex;

use super::perform::{Performed, Run, Unrun, after_hit};
use super::prepare::{Keyed, Prepared, Upstream, said};
use super::remember::Place as OutputPlace;
use super::{Alone, Inner};
use crate::checkout::Memory;
use crate::event::{Event, Hit, How, NotRun, Note, TaskEnd, Unkept};
use crate::execute::Exit;
use crate::kept::{KeptLog, KeptOutput, KeptResult};
use crate::log::Log;
use crate::outputs::{self, Known, Outputs};
use crate::restore::{Restoration, Restored, restore};
use crate::task::Task;

/// Why the engine got no value: nothing came of the command that could be one.
#[derive(Debug, thiserror::Error)]
#[error("the command did not come to its end")]
struct NoValue;

/// What this process did while the engine computed.
type Done = Arc<Mutex<Option<Result<Performed, Unrun>>>>;

/// How many times a task whose inputs change before it can begin is prepared anew before it runs all the same.
const ROUNDS: usize = 3;
/// How many times a result that proves unusable is made anew through the engine before it is only run.
const ATTEMPTS: usize = 2;

/// A kept result on its way back.
struct Found {
    entry: Arc<Entry<KeptResult>>,
    from: Place,
}

impl Inner {
    /// Sees one task to its end.
    pub(super) async fn give(
        self: &Arc<Self>,
        at: usize,
        task: &Arc<Task>,
        upstream: &Arc<Upstream>,
        run: &Arc<Run>,
    ) -> TaskEnd {
        let began = self.clock.now();
        if task.command.is_none() {
            return self.end(began, None, How::Group);
        }
        if run.is_stopped() {
            return self.end(began, None, How::NotRun(NotRun::Stopped));
        }
        for round in 1..=ROUNDS {
            let look = self.look_now(at, task, &run.ahead).await;
            let mut prepared = self.prepare(task, upstream, look).await;
            prepared.insists = round == ROUNDS;
            if run.is_stopping() {
                break;
            }
            let notes = std::mem::take(&mut prepared.notes);
            for note in notes.into_iter().filter(|_| round == 1) {
                run.tell(Event::Noted { task: at, note }).await;
            }
            if let Some(end) = self.give_prepared(began, at, &Arc::new(prepared), run).await {
                return end;
            }
        }
        self.end(began, None, How::NotRun(NotRun::Stopped))
    }

    /// Sees a prepared task to its end; `None` if its inputs changed before its command could begin, or before its result
    /// was back.
    async fn give_prepared(
        self: &Arc<Self>,
        began: Instant,
        at: usize,
        prepared: &Arc<Prepared>,
        run: &Arc<Run>,
    ) -> Option<TaskEnd> {
        let Ok(keyed) = &prepared.keyed else { return self.just_run(began, at, prepared, run).await };
        let mode = both(keyed.rules.mode, run.options.mode);
        for attempt in 0..ATTEMPTS {
            let reads = mode.reads() && attempt == 0;
            let (done, answer) = match (reads, mode.writes()) {
                (true, true) => self.ask(at, prepared, keyed, run, false).await,
                (false, true) => self.ask(at, prepared, keyed, run, true).await,
                (true, false) => match self.kind.get_from(&keyed.engine_key).await {
                    Some((entry, from)) => (None, Some(Found { entry, from })),
                    None => break,
                },
                (false, false) => break,
            };
            if let Some(done) = done {
                return self.end_of(began, prepared, done);
            }
            let Some(found) = answer else { break };
            match self.give_back(prepared, keyed, &found, run).await {
                Ok(_) if !self.still_stands(prepared).await => return None,
                Ok((restored, log)) => {
                    if let Some((path, other)) = run.other_writer(&prepared.task, &found.entry.value.outputs)
                    {
                        run.tell(Event::Noted { task: at, note: Note::TwoWriters { path, other } }).await;
                    }
                    return Some(self.hit(began, keyed, found, restored, log));
                }
                Err(_) if run.is_stopping() => {
                    let key = Some(keyed.key.digest());
                    return Some(self.end(began, key, How::NotRun(NotRun::Stopped)));
                }
                Err(why) => run.tell(Event::Noted { task: at, note: Note::Unusable(why) }).await,
            }
        }
        self.just_run(began, at, prepared, run).await
    }

    /// Whether the inputs are still those of the key, if it took long to give its result back, as somebody was waited
    /// for.
    async fn still_stands(self: &Arc<Self>, prepared: &Arc<Prepared>) -> bool {
        let (inner, ready) = (Arc::clone(self), Arc::clone(prepared));
        self.may_decide(prepared) || self.at(prepared.brief, move || inner.inputs_stand(&ready)).await
    }

    /// Asks the engine; what this process did for the answer, or else the answer.
    async fn ask(
        self: &Arc<Self>,
        at: usize,
        prepared: &Arc<Prepared>,
        keyed: &Keyed,
        run: &Arc<Run>,
        anew: bool,
    ) -> (Option<Result<Performed, Unrun>>, Option<Found>) {
        let done: Done = Done::default();
        let begun = Arc::new(AtomicBool::new(false));
        let compute = {
            let (inner, prepared, run) = (Arc::clone(self), Arc::clone(prepared), Arc::clone(run));
            let (done, begun) = (Arc::clone(&done), Arc::clone(&begun));
            move |permit| async move {
                begun.store(true, Ordering::Relaxed);
                let performed = inner.perform(at, &prepared, &run, permit).await;
                let value = performed.as_ref().ok().and_then(value_of);
                *done.lock().await = Some(performed);
                value.ok_or(NoValue)
            }
        };
        let ready = {
            let (run, task) = (Arc::clone(run), Arc::clone(&prepared.task));
            move || {
                let (run, task) = (Arc::clone(&run), Arc::clone(&task));
                async move { run.permit(&task).await }
            }
        };
        let answer = async {
            if anew {
                self.kind.refresh(&keyed.engine_key, || async move { compute(ready().await).await }).await
            } else {
                self.kind.get_or_compute_when(&keyed.engine_key, ready, compute).await
            }
        };
        let stopped = async {
            run.stopped().await;
            if begun.load(Ordering::Relaxed) {
                // The command is told, and comes to its end.
                std::future::pending::<()>().await;
            }
        };
        let answer: Result<Answer<KeptResult>, AskError<NoValue>> = tokio::select! {
            answer = answer => answer,
            // Somebody else is at it, and may be for long.
            () = stopped => return (Some(Err(NotRun::Stopped.into())), None),
        };
        let done = done.lock().await.take();
        match (done, answer) {
            (Some(Ok(performed)), answer) => (Some(Ok(told(performed, &answer))), None),
            (Some(Err(unrun)), _) => (Some(Err(unrun)), None),
            (None, Ok(Answer { entry, origin: Origin::Kept(from), .. })) => {
                (None, Some(Found { entry, from }))
            }
            // Somebody else in this process ran it a moment ago, and it is kept.
            (None, Ok(Answer { entry, kept: Kept::Yes, .. })) => {
                (None, Some(Found { entry, from: Place::Memory }))
            }
            (None, _) => (None, None),
        }
    }

    /// Runs a task whose result is not to be kept.
    async fn just_run(
        self: &Arc<Self>,
        began: Instant,
        at: usize,
        prepared: &Arc<Prepared>,
        run: &Arc<Run>,
    ) -> Option<TaskEnd> {
        let permit = run.permit(&prepared.task).await;
        let done = self.perform(at, prepared, run, permit).await;
        let done = done.map(|performed| {
            // It may have been good enough to keep; nobody asked for that.
            let result = performed.result.and(Err(Unkept::SwitchedOff));
            Performed { result, ..performed }
        });
        self.end_of(began, prepared, done)
    }

    /// Puts the outputs of a kept result back and reads its log. An error says why it cannot be used.
    async fn give_back(
        self: &Arc<Self>,
        prepared: &Arc<Prepared>,
        keyed: &Keyed,
        found: &Found,
        run: &Arc<Run>,
    ) -> Result<(Restoration, Log), String> {
        let record = &found.entry.record;
        if let Some(limit) = keyed.rules.max_age {
            let now = self.clock.wall();
            if now < record.created || now.since(record.created) > limit {
                return Err("it is older than cache.max_age".to_owned());
            }
        }
        // Where all that lies there is to go first, being right is not enough: it may be somebody's.
        let right = self.judge(prepared, &found.entry).filter(|_| !run.options.clean);
        let Some(restored) = right else {
            return self.give_back_alone(prepared, found, run).await;
        };
        let news = self.is_news(prepared, keyed);
        if let (KeptLog::Inline(chunks), false) = (&found.entry.log, news) {
            return Ok((restored, Log::of_chunks(chunks.clone())));
        }
        let (inner, ready, entry) = (Arc::clone(self), Arc::clone(prepared), Arc::clone(&found.entry));
        let finish = move || {
            let log = inner.log_of(&entry)?;
            if news {
                inner.remember_look(&ready, &entry);
            }
            Ok((restored, log))
        };
        self.at(prepared.brief, finish).await
    }

    /// Puts the outputs back. Nobody else writes there meanwhile; what another run has done is looked at anew.
    async fn give_back_alone(
        self: &Arc<Self>,
        prepared: &Arc<Prepared>,
        found: &Found,
        run: &Arc<Run>,
    ) -> Result<(Restoration, Log), String> {
        run.ahead.moves(&prepared.task);
        let (inner, ready) = (Arc::clone(self), Arc::clone(prepared));
        let (entry, sharing) = (Arc::clone(&found.entry), Arc::clone(run));
        let clear = run.options.clean;
        let put_back = move |alone: Alone| {
            let log = inner.log_of(&entry)?;
            let (known, restored) = inner.put_back(&ready, &entry, clear, alone.waited, &ready.stopping)?;
            if restored.strayed {
                // Through a link into a place that others may have looked at under another name.
                sharing.ahead.end();
            }
            inner.remember_hit(&ready, Some(known), &entry, OutputPlace::Marked(alone));
            Ok((restored.done, log))
        };
        // Mostly nobody has to be waited for, and one hand does all of it.
        let (inner, ready, put_back_now) = (Arc::clone(self), Arc::clone(prepared), put_back.clone());
        let at_once = move || inner.try_alone(&ready.task).map(put_back_now);
        let few = super::are_few(found.entry.outputs.iter().map(KeptOutput::bytes));
        let brief = if few { prepared.brief } else { Brief::Aside };
        if let Some(done) = self.at(brief, at_once).await {
            return done;
        }
        let alone = tokio::select! {
            alone = self.alone(&prepared.task, async || {}) => alone,
            () = run.stopped() => return Err(NotRun::Stopped.to_string()),
        };
        self.blocking(move || put_back(Alone { waited: true, ..alone })).await
    }

    /// What there is to say if the outputs were right when they were looked at, not long ago.
    fn judge(&self, prepared: &Prepared, kept: &KeptResult) -> Option<Restoration> {
        if prepared.outputs.is_none() {
            return Some(Restoration::default());
        }
        let seen = prepared.seen.as_ref().filter(|_| self.is_fresh(prepared.at))?;
        (seen.fingerprint() == kept.outputs_digest)
            .then(|| Restoration { left_alone: kept.outputs.len(), ..Restoration::default() })
    }

    /// Puts the outputs back and looks whether they are right then, after all that lies there is taken away if that is to be
    /// `clear`. The place stays marked until that is remembered, also where `stop` ends it. Blocks.
    fn put_back(
        &self,
        prepared: &Prepared,
        kept: &Entry<KeptResult>,
        clear: bool,
        waited: bool,
        stop: &AtomicBool,
    ) -> Result<(Known, Restored), String> {
        let (Some(outputs), Some(disk)) = (&prepared.outputs, &self.disk) else {
            return Err(Unkept::NoDisk.to_string());
        };
        let (mut memory, left) = self.mark(prepared, waited);
        let before = self.before(prepared, outputs, kept, &memory, (clear, waited), stop);
        let before = before.inspect_err(|_| {
            if left.unfinished.is_none() {
                // Nothing has been written.
                self.clear(&prepared.task);
            }
        })?;
        let known = memory.outputs.clone();
        // What has come since somebody was here goes where all of an output is the task's.
        let is_new_here = known.snapshot.is_none();
        let stays = |path: &Path| is_new_here || !outputs.is_declared_whole(path);
        self.remember_found(prepared, &mut memory, &before, stays);
        let put_in = || {
            let restored = restore(outputs, &kept.outputs, &before, &memory.outputs, disk, stop);
            let restored = restored.map_err(|error| said(&error))?;
            let after = self.scan_written(&outputs.files, &before, &restored.written, stop);
            Ok::<_, String>((restored, after.map_err(|error| said(&error))?))
        };
        let (restored, after) = put_in().inspect_err(|_| {
            // Of what was written until now nobody knows.
            if stop.load(Ordering::Relaxed)
                && let Some(marker) = self.marker(&prepared.task)
            {
                marker.set();
            }
        })?;
        let known = known.after(Some(&before), &after.snapshot);
        self.programs.forget();
        self.inputs.forget(self.clock.wall());
        if after.fingerprint() != kept.outputs_digest {
            let again = restore(outputs, &kept.outputs, &after.snapshot, &known, disk, stop);
            let again = again.map_err(|error| said(&error))?.done;
            // What nobody is known to have made stays where it is.
            if again.written > 0 || again.removed > 0 {
                return Err("outputs change while they are restored".to_owned());
            }
        }
        Ok((known, restored))
    }

    /// How the place of the outputs looks before they are put back, after all that lies there is taken away if that is to
    /// be `clear`. Blocks.
    fn before(
        &self,
        prepared: &Prepared,
        outputs: &Outputs,
        kept: &Entry<KeptResult>,
        memory: &Memory,
        (clear, waited): (bool, bool),
        stop: &AtomicBool,
    ) -> Result<Arc<Snapshot>, String> {
        let before = match &prepared.seen {
            // A moment ago, and nobody had to be waited for. What has come since is in the way of a new file, and the
            // look afterwards finds it; to tell then whose it is takes no look now where all is the task's own.
            Some(seen)
                if !waited
                    && self.is_fresh(prepared.at)
                    && outputs.are_all_whole()
                    && !self.was_made_since(prepared.at, kept) =>
            {
                Arc::clone(&seen.snapshot)
            }
            seen => {
                let previous = seen.as_ref().map(|seen| &seen.snapshot).or(memory.outputs.snapshot.as_ref());
                self.scan(&outputs.files, previous, stop).map_err(|error| said(&error))?.snapshot
            }
        };
        if !clear {
            return Ok(before);
        }
        let stuck = outputs::clear(outputs.root(), &before);
        if !stuck.is_empty() {
            return Err(Unkept::Stuck(stuck).to_string());
        }
        Ok(self.scan(&outputs.files, Some(&before), stop).map_err(|error| said(&error))?.snapshot)
    }

    /// Whether a result may have been made since then: perhaps here, so that its outputs are there by now.
    fn was_made_since(&self, then: Instant, kept: &Entry<KeptResult>) -> bool {
        let since = self.clock.now().since(then);
        // Of `created` what is less than a millisecond is not told. A clock that was stepped tells nothing.
        let (now, created) = (self.clock.wall(), kept.record.created);
        now < created || now.since(created) <= since + Duration::from_millis(1)
    }

    /// Puts back what is kept, whatever an audit has made of it.
    pub(super) async fn restore_after_audit(
        self: &Arc<Self>,
        prepared: &Arc<Prepared>,
        kept: &Arc<Entry<KeptResult>>,
    ) {
        let alone = self.alone(&prepared.task, async || {}).await;
        let (inner, ready, kept) = (Arc::clone(self), Arc::clone(prepared), Arc::clone(kept));
        let put_back = move || {
            if ready.outputs.is_none() {
                return;
            }
            // What the audit took away comes back whatever that takes.
            // What the audit made is remembered as made by now, so that it may be taken away again.
            match inner.put_back(&ready, &kept, false, true, &AtomicBool::new(false)) {
                Ok((known, _)) => {
                    inner.remember_hit(&ready, Some(known), &kept, OutputPlace::Marked(alone));
                }
                Err(why) => {
                    let task = ready.task.id.to_string();
                    tracing::warn!(task, why, "outputs were not restored after an audit");
                }
            }
        };
        self.blocking(put_back).await;
    }

    fn log_of(&self, kept: &KeptResult) -> Result<Log, String> {
        let digest = match &kept.log {
            KeptLog::Inline(chunks) => return Ok(Log::of_chunks(chunks.clone())),
            KeptLog::Blob(digest) => *digest,
        };
        let disk = self.disk.as_ref().ok_or_else(|| Unkept::NoDisk.to_string())?;
        let bytes = disk.read_blob(digest).map_err(|error| said(&error))?;
        let bytes = bytes.ok_or_else(|| format!("its log {digest:.12} is no longer in the cache"))?;
        postcard::from_bytes(&bytes).map(Log::of_chunks).map_err(|error| error.to_string())
    }

    /// Whether there is something to remember that is not remembered yet.
    fn is_news(&self, prepared: &Prepared, keyed: &Keyed) -> bool {
        prepared.seen.as_ref().is_some_and(Scan::is_new)
            || keyed.is_new
            || prepared.memory.key != Some(keyed.key.digest())
    }

    /// Remembers how the files looked, where all was right. Blocks.
    fn remember_look(self: &Arc<Self>, prepared: &Prepared, kept: &KeptResult) {
        let new = prepared.seen.as_ref().filter(|seen| seen.is_new());
        // Where somebody else is at the place just now, they remember how it looks.
        let alone = new.and_then(|seen| Some((&seen.snapshot, self.try_alone(&prepared.task)?)));
        match alone {
            Some((seen, alone)) => {
                let known = self.known_outputs(prepared).after(Some(seen), seen);
                self.remember_hit(prepared, Some(known), kept, OutputPlace::Held(alone));
            }
            None => self.remember_hit(prepared, None, kept, OutputPlace::Shared),
        }
    }

    /// Remembers how the files looked, and sets the place free.
    fn remember_hit(
        self: &Arc<Self>,
        prepared: &Prepared,
        known: Option<Known>,
        kept: &KeptResult,
        place: OutputPlace,
    ) {
        if let Ok(keyed) = &prepared.keyed {
            let memory = after_hit(prepared, keyed, known, kept.took_millis);
            self.remember_soon(prepared, memory, place);
        }
    }

    fn hit(&self, began: Instant, keyed: &Keyed, found: Found, restored: Restoration, log: Log) -> TaskEnd {
        let Found { entry, from } = found;
        let hit = Hit {
            from,
            restored,
            saves: entry.record.cost,
            made: entry.record.created,
            producer: Arc::clone(&entry.record.producer),
        };
        TaskEnd {
            exit: Some(Exit::Code(entry.exit_code)),
            log,
            key: Some(keyed.key.digest()),
            outputs: Some(entry.outputs_digest),
            ..self.end(began, None, How::Hit(hit))
        }
    }

    fn end_of(&self, began: Instant, prepared: &Prepared, done: Result<Performed, Unrun>) -> Option<TaskEnd> {
        let key = prepared.keyed.as_ref().ok().map(|keyed| keyed.key.digest());
        match done {
            Err(Unrun::Outdated) => None,
            Err(Unrun::NotRun(not_run)) => Some(self.end(began, key, How::NotRun(not_run))),
            Ok(performed) => Some(TaskEnd {
                exit: Some(performed.exit),
                log: performed.log,
                outputs: performed.outputs,
                ..self.end(began, key, How::Ran { unkept: performed.result.err() })
            }),
        }
    }

    fn end(&self, began: Instant, key: Option<Digest>, how: How) -> TaskEnd {
        let took: Duration = self.clock.now().since(began);
        TaskEnd { how, exit: None, took, log: Log::default(), key, outputs: None }
    }
}

/// The value for the engine: a result that is not to be kept is one too, for whoever waits for it.
fn value_of(performed: &Performed) -> Option<Computed<KeptResult>> {
    let (kept, blobs) = performed.result.as_ref().ok()?;
    let tag = tag(&kept.task);
    Some(Computed::new(kept.clone()).naming(blobs.iter().copied()).tagged(&tag).costing(performed.took))
}

/// The tag of all results of a task.
pub(super) fn tag(task: &str) -> String {
    format!("task {task}")
}

/// What the engine says of a result that was offered to it.
fn told(performed: Performed, answer: &Result<Answer<KeptResult>, AskError<NoValue>>) -> Performed {
    let refused = match answer {
        Ok(Answer { kept: Kept::No(why) | Kept::InMemoryOnly(why), .. }) => Some(why),
        _ => None,
    };
    match (performed.result, refused) {
        (Ok(_), Some(why)) => {
            let unkept = match why {
                NotKept::ReadOnly => Unkept::SwitchedOff,
                why => Unkept::Engine(why.to_string()),
            };
            Performed { result: Err(unkept), ..performed }
        }
        (result, _) => Performed { result, ..performed },
    }
}

/// What two modes both allow.
fn both(one: Mode, other: Mode) -> Mode {
    match (one.reads() && other.reads(), one.writes() && other.writes()) {
        (true, true) => Mode::ReadWrite,
        (true, false) => Mode::Read,
        (false, true) => Mode::Write,
        (false, false) => Mode::Off,
    }
}
