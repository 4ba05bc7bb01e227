//! Seeing all tasks of a graph to their ends: in order, many at once, the longest chain first.

use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::config::processors;
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::behind::Behind;
use super::perform::Run;
use super::{RunOptions, Stopping, Tasks};
use crate::event::{Event, How, NotRun, Summary, TaskEnd};
use crate::execute::Stop;
use crate::graph::Graph;
use crate::log::Log;

/// How many tasks are looked at or given back at once, however few commands may run; where more may, as many as those.
const AT_ONCE: usize = 64;
/// How many commands may run at once at most.
const MOST_JOBS: usize = 4096;
/// How many files a run has open beside those of its tasks, at most.
const OPEN_FILES: usize = 96;
/// How many files a task has open that is under way, which are leases, and how many a command besides: its pipes, what
/// tells of its end, and what is opened to start it.
const TASK_FILES: usize = 2;
const COMMAND_FILES: usize = 4;
/// What a task counts that never ran.
const UNKNOWN_TIME: Duration = Duration::from_secs(1);

impl Tasks {
    /// Runs the tasks of a graph, or gives back what is kept of them.
    ///
    /// Tells of everything through `events`, and waits for whoever reads them. A change of `stop` ends the
    /// commands that run; the summary then says that it was stopped. Dropping the future kills them.
    pub async fn run(
        &self,
        graph: &Graph,
        options: RunOptions,
        stop: watch::Receiver<Stop>,
        events: mpsc::Sender<Event>,
    ) -> Summary {
        let began = self.inner.clock.now();
        let (inner_stop, told) = watch::channel(*stop.borrow());
        let stopping = Stopping::default();
        let inner_stop = InnerStop(inner_stop, Arc::clone(&stopping));
        let jobs = options.jobs.unwrap_or_else(|| match graph.nodes().len() {
            // It is not worth counting them.
            0 | 1 => NonZeroUsize::MIN,
            _ => processors(),
        });
        let (at_once, most_jobs) = within(open_files());
        let jobs = jobs.get().min(most_jobs);
        let audit = options.audit;
        let run = Arc::new(Run {
            jobs,
            permits: Arc::new(Semaphore::new(jobs)),
            options,
            stop: told,
            events,
            ahead: self.inner.look_ahead(graph, Arc::clone(&stopping)),
            stopping: Arc::clone(&stopping),
            halted: AtomicBool::new(false),
            is_tidied: AtomicBool::new(false),
            writers: Mutex::default(),
        });
        tokio::select! {
            biased;
            never = inner_stop.follow(stop.clone()) => match never {},
            () = self.inner.look_at_programs(graph.nodes().iter().map(|node| &**node.task()), &stopping) => (),
        }
        let mut schedule = Schedule::new(self, graph, Arc::clone(&run), &inner_stop, at_once);
        schedule.all(stop.clone()).await;
        let ends = schedule.into_ends();
        let audits = match audit {
            Some(sample) if ends.iter().all(|end| end.is_success()) => {
                let audits = pin!(self.audit(graph, &ends, sample, &run));
                tokio::select! {
                    biased;
                    never = inner_stop.follow(stop.clone()) => match never {},
                    audits = audits => audits,
                }
            }
            _ => Vec::new(),
        };
        self.inner.all_remembered().await;
        let stopped = *stop.borrow() != Stop::No;
        Summary { ends, took: self.inner.clock.now().since(began), stopped, audits }
    }
}

/// How many files this process may have open. More would be had by asking, but not for this process alone: commands
/// would have them, too, and there are some that close all that they may have or cannot count so far.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// How many tasks may be under way, and how many commands may run, with so many open files.
fn within(files: usize) -> (usize, usize) {
    let at_once = AT_ONCE.min(files / 2 / TASK_FILES);
    let jobs = MOST_JOBS.min(files.saturating_sub(OPEN_FILES) / (TASK_FILES + COMMAND_FILES));
    (at_once.max(1), jobs.max(1))
}

/// What the commands of a run are told of its end: what came from outside, or that nothing else comes.
struct InnerStop(watch::Sender<Stop>, Stopping);

impl InnerStop {
    /// Tells them, unless they know of that or more.
    fn tell(&self, stop: Stop) {
        self.0.send_if_modified(|told| {
            let more = stop > *told;
            *told = stop.max(*told);
            more
        });
        // After that: who finds it set finds the run stopped.
        self.1.fetch_or(stop != Stop::No, Ordering::Relaxed);
    }

    /// Tells them what comes from outside, for as long as this is waited for.
    async fn follow(&self, mut outer: watch::Receiver<Stop>) -> Infallible {
        loop {
            let stop = *outer.borrow_and_update();
            self.tell(stop);
            if outer.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

struct Schedule<'a> {
    tasks: &'a Tasks,
    graph: &'a Graph,
    run: Arc<Run>,
    stop: &'a InnerStop,
    /// How many nodes may be busy, however few commands may run.
    at_once: usize,
    /// Nodes that may begin, those with the longest chain behind them first.
    ready: BinaryHeap<(Duration, std::cmp::Reverse<usize>)>,
    priorities: Vec<Duration>,
    /// How many nodes each one still waits for.
    missing: Vec<usize>,
    ends: Vec<Option<Arc<TaskEnd>>>,
    behind: Behind,
    busy: JoinSet<(usize, TaskEnd)>,
    /// Nodes that are busy and never end by themselves.
    persistent: usize,
    halting: bool,
}

impl<'a> Schedule<'a> {
    fn new(tasks: &'a Tasks, graph: &'a Graph, run: Arc<Run>, stop: &'a InnerStop, at_once: usize) -> Self {
        let nodes = graph.nodes();
        let priorities = graph.priorities(|task| tasks.last_time(task).unwrap_or(UNKNOWN_TIME));
        let missing: Vec<usize> = nodes.iter().map(|node| node.needs().len()).collect();
        let ready = (0..nodes.len()).filter(|at| missing[*at] == 0);
        Self {
            ready: ready.map(|at| (priorities[at], std::cmp::Reverse(at))).collect(),
            ends: vec![None; nodes.len()],
            behind: Behind::of(graph),
            busy: JoinSet::new(),
            persistent: 0,
            halting: false,
            tasks,
            graph,
            run,
            stop,
            at_once,
            priorities,
            missing,
        }
    }

    async fn all(&mut self, mut outer: watch::Receiver<Stop>) {
        loop {
            self.begin_ready();
            if self.halting && self.busy.len() == self.persistent {
                // Nothing else comes; what never ends by itself is told to.
                self.tell_to_stop(Stop::Gently);
            }
            tokio::select! {
                ended = self.busy.join_next() => match ended {
                    Some(Ok((at, end))) => self.ended(at, end).await,
                    Some(Err(error)) => {
                        if let Ok(panic) = error.try_into_panic() {
                            std::panic::resume_unwind(panic);
                        }
                    }
                    None => break,
                },
                changed = outer.changed(), if outer.has_changed().is_ok() => {
                    if changed.is_ok() {
                        let stop = *outer.borrow_and_update();
                        self.tell_to_stop(stop);
                    }
                }
            }
        }
        self.skip_the_rest().await;
    }

    fn tell_to_stop(&mut self, stop: Stop) {
        self.halting |= stop != Stop::No;
        self.stop.tell(stop);
    }

    fn begin_ready(&mut self) {
        let at_once = self.run.jobs.max(self.at_once) + self.persistent;
        while !self.halting && self.busy.len() < at_once {
            let Some((_, std::cmp::Reverse(at))) = self.ready.pop() else { return };
            let node = &self.graph.nodes()[at];
            let upstream = self.behind.begins(at, node);
            self.persistent += usize::from(node.task().persistent);
            let (inner, task, run) =
                (Arc::clone(&self.tasks.inner), Arc::clone(node.task()), Arc::clone(&self.run));
            let omitted = node.omitted().to_vec();
            self.busy.spawn(async move {
                let upstream = inner.with_omitted(&upstream, &omitted, &run.stopping).await;
                // Large, and made where it stays: what is spawned is moved a few times.
                (at, Box::pin(inner.give(at, &task, &upstream, &run)).await)
            });
        }
    }

    async fn ended(&mut self, at: usize, end: TaskEnd) {
        let node = &self.graph.nodes()[at];
        let task = node.task();
        self.persistent -= usize::from(task.persistent);
        self.behind.ended(&self.tasks.inner, at, task, end.outputs);
        if end.is_success() {
            for waiting in node.needed_by() {
                self.missing[*waiting] -= 1;
                if self.missing[*waiting] == 0 {
                    self.ready.push((self.priorities[*waiting], std::cmp::Reverse(*waiting)));
                }
            }
        } else if !self.run.options.keep_going {
            self.halting = true;
            // Those that have begun and wait for their turn to run do not run any more.
            self.run.halted.store(true, Ordering::Relaxed);
        }
        self.tell(at, end).await;
    }

    async fn tell(&mut self, at: usize, end: TaskEnd) {
        let end = Arc::new(end);
        self.ends[at] = Some(Arc::clone(&end));
        self.run.tell(Event::Ended { task: at, end }).await;
    }

    /// Gives everything that did not begin an end that says why. The order of nodes lets a failure be followed
    /// down in one pass.
    async fn skip_the_rest(&mut self) {
        for at in 0..self.ends.len() {
            if self.ends[at].is_some() {
                continue;
            }
            let failed = self.graph.nodes()[at].needs().iter().find(|need| self.has_failed(**need));
            let why = match failed {
                Some(need) => self.cause(*need),
                None => NotRun::Stopped,
            };
            let how = How::NotRun(why);
            let end = TaskEnd {
                how,
                exit: None,
                took: Duration::ZERO,
                log: Log::default(),
                key: None,
                outputs: None,
            };
            self.tell(at, end).await;
        }
    }

    /// Whether a task failed, or did not run because another had.
    fn has_failed(&self, at: usize) -> bool {
        self.ends[at].as_ref().is_some_and(|end| match &end.how {
            How::NotRun(NotRun::Stopped) => false,
            _ => !end.is_success(),
        })
    }

    /// The failure that a task's not running goes back to.
    fn cause(&self, at: usize) -> NotRun {
        match self.ends[at].as_ref().map(|end| &end.how) {
            Some(How::NotRun(NotRun::DependencyFailed(first))) => NotRun::DependencyFailed(first.clone()),
            _ => NotRun::DependencyFailed(self.graph.nodes()[at].task().id.to_string()),
        }
    }

    fn into_ends(self) -> Vec<Arc<TaskEnd>> {
        self.ends.into_iter().map(|end| end.expect("each node was run or skipped")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_open_files_allow_few_commands_and_always_one() {
        assert_eq!([0, 64, 256, 1024].map(within), [(1, 1), (16, 1), (64, 26), (64, 154)]);
        assert_eq!(within(usize::MAX), (AT_ONCE, MOST_JOBS));
    }
}
