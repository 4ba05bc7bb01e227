//! Running one command: its own process group, two pipes, a time limit, and an end that leaves nobody behind.
//!
//! Invariant: when [`execute`] returns after a stop or a time limit, no process of the command's group is alive.
//! After an ordinary end the group may be: a command that leaves processes behind is told apart, because those
//! may still be writing. That holds for what has left the group as well, as far as `process` knows of it.
//! Not here: what is kept of the result (`job`), where the command came from.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Waker};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::signal;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::environment::Mask;
use crate::log::{Log, Stream};
use crate::plain::is_handed_on;
use crate::process::{MARKS, Process, group_is_alive, marked_orphans, orphans, own_mark, ticks};
use crate::program::{is_path, which};

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// Program and arguments; never empty.
    pub(crate) argv: Vec<OsString>,
    /// The same without the shell in between, where that would do nothing else than start it.
    pub(crate) direct: Option<Vec<OsString>>,
    pub(crate) cwd: PathBuf,
    /// All that it sees of the environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) timeout: Option<Duration>,
    /// How long it may take to end after it was asked to.
    pub(crate) grace: Duration,
    /// Whether it talks to the terminal itself. Its output is then not seen, and it stays in the group that the
    /// terminal belongs to.
    pub(crate) interactive: bool,
    /// What all that it starts is known by: its own mark, and before it those that this process has.
    pub(crate) marks: Option<String>,
}

impl Start {
    /// What a variable is to the command.
    fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Whether a run is to end, and how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// It goes on.
    #[default]
    No,
    /// Commands are asked to end, and killed after a grace.
    Gently,
    /// Commands are killed.
    AtOnce,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By a signal that somebody else sent.
    Signal(i32),
    /// It took longer than it may, and was ended.
    TimedOut(Duration),
    /// The run was stopped, and it was ended.
    Stopped,
}

impl Exit {
    /// Whether it did what it should.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code as a shell would give it.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128u8.saturating_add(u8::try_from(signal).unwrap_or(127)),
            Self::TimedOut(_) => 124,
            Self::Stopped => 130,
        }
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) exit: Exit,
    pub(crate) log: Log,
    pub(crate) took: Duration,
    /// Whether processes that it started outlived it.
    pub(crate) left_behind: bool,
}

/// Whether this process was stopped (as by Ctrl-Z) when a command ended, and went on only later.
#[derive(Debug)]
pub(crate) struct Slept {
    is_known: bool,
    goes_on: signal::unix::Signal,
}

impl Slept {
    /// Tells it, best after what the command left was looked at: that this process goes on may be heard a moment later
    /// than that the command has ended.
    pub(crate) async fn over(&mut self) -> bool {
        // What has come by now is heard.
        tokio::task::yield_now().await;
        self.is_known || self.goes_on.poll_recv(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

/// How long after a command's end its pipes and its process group are waited for. What still runs then, such as a
/// server that a script started, is left alone.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the process group is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// How often what the command has left behind so far is waited for while it runs.
const REAPING: Duration = Duration::from_secs(1);
/// How much of a pipe is read at once; a Linux pipe holds no more.
const READ_BYTES: usize = 64 << 10;

/// Where output goes while a command runs.
pub(crate) trait Tap: Send {
    /// Takes what was read; the command waits when this does.
    fn take<'a>(
        &'a mut self,
        stream: Stream,
        bytes: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// Hears that the command runs, under which process group.
    fn started(&mut self, group: Option<u32>);
}

/// Starts a command and waits for its end. `masks` are for stdout and stderr.
///
/// An error means that it could not be started. Dropping the future kills the whole group.
pub(crate) async fn execute(
    start: &Start,
    masks: [Mask; 2],
    mut stop: watch::Receiver<Stop>,
    tap: &mut dyn Tap,
) -> io::Result<(Execution, Slept)> {
    let began = Instant::now();
    let since = ticks();
    // Before there is a command that could end meanwhile.
    let goes_on = signal::unix::signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut slept = Slept { is_known: false, goes_on };
    let mut child = spawn(start)?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    tap.started(child.id().filter(|_| !start.interactive));
    let whole_group = !start.interactive;
    let mark = start.marks.as_deref().and_then(|marks| Some((own_mark(marks)?, since)));
    let ending = Ending { group, whole_group, mark, grace: start.grace, phase: Phase::Running, over: false };
    let limit = start.timeout.map(|limit| began + limit);
    let mut pipes = Pipes::new(&mut child, masks, began);
    let attended = attend(&mut child, &mut pipes, ending, limit, (&mut stop, &mut slept), tap).await;
    let (exit, left_behind) = attended?;
    let exit = match (exit, start.timeout) {
        (End::TimedOut, Some(limit)) => Exit::TimedOut(limit),
        (End::TimedOut | End::Stopped, _) => Exit::Stopped,
        (End::Itself(status), _) => exit_of(status),
    };
    pipes.finish(tap).await;
    Ok((Execution { exit, log: pipes.log, took: began.elapsed(), left_behind }, slept))
}

fn spawn(start: &Start) -> io::Result<Child> {
    if let Some(child) = start.direct.as_deref().and_then(|words| spawn_directly(start, words)) {
        return Ok(child);
    }
    let (program, arguments) = start.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let path = start.variable("PATH");
    // Given the path, a process is made without a copy of this one's memory, which a look-up by the child needs.
    let found = if is_path(program) { None } else { which(program, path, &start.cwd) };
    match found.map(|found| spawn_program(start, found.as_os_str(), program, arguments)) {
        // No program of its own, and no line that names one: by its name it is run by the shell.
        Some(Err(error)) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {}
        Some(spawned) => return spawned,
        None => {}
    }
    spawn_program(start, program, program, arguments)
}

/// Starts a command as the shell would. `None` where that has to say what is wrong, or knows more than we do.
fn spawn_directly(start: &Start, words: &[OsString]) -> Option<Child> {
    let (program, arguments) = words.split_first()?;
    let path = start.variable("PATH")?;
    let as_it_is = start.environment.iter().all(|(name, _)| is_handed_on(name.as_encoded_bytes()));
    if !as_it_is || std::env::split_paths(path).any(|path| path.is_relative()) {
        return None;
    }
    let found = which(program, Some(path), &start.cwd)?;
    let here = start.cwd.canonicalize().ok()?;
    // A script is told by which path it was called.
    let called = if is_path(program) { program } else { found.as_os_str() };
    command(start, called, program, arguments).env("PWD", here).spawn().ok()
}

fn spawn_program(start: &Start, path: &OsStr, name: &OsStr, arguments: &[OsString]) -> io::Result<Child> {
    command(start, path, name, arguments).spawn()
}

fn command(start: &Start, path: &OsStr, name: &OsStr, arguments: &[OsString]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(path);
    command.arg0(name);
    command.args(arguments).current_dir(&start.cwd).env_clear().kill_on_drop(true);
    command.envs(start.environment.iter().map(|(name, value)| (name, value)));
    command.envs(start.marks.iter().map(|marks| (MARKS, marks)));
    if !start.interactive {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    }
    command
}

fn exit_of(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt as _;
    match status.code() {
        Some(code) => Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        None => Exit::Signal(status.signal().unwrap_or(0)),
    }
}

enum End {
    Itself(ExitStatus),
    TimedOut,
    Stopped,
}

/// Reads the pipes until the command and its group are gone, or have had their time.
async fn attend(
    child: &mut Child,
    pipes: &mut Pipes,
    mut ending: Ending<'_>,
    limit: Option<Instant>,
    (stop, slept): (&mut watch::Receiver<Stop>, &mut Slept),
    tap: &mut dyn Tap,
) -> io::Result<(End, bool)> {
    let far = Instant::now() + Duration::from_secs(365 * 24 * 60 * 60);
    let mut status = None;
    let mut drained_at = far;
    let mut stopped = false;
    let mut timed_out = false;
    let mut reap_at = Instant::now() + REAPING;
    ending.follow(*stop.borrow_and_update(), &mut stopped);
    loop {
        if let Some(status) = status {
            let alive = ending.is_survived();
            if (pipes.are_closed() && !alive) || Instant::now() >= drained_at {
                if alive && (stopped || timed_out) {
                    ending.kill();
                }
                let end = if timed_out {
                    End::TimedOut
                } else if stopped {
                    End::Stopped
                } else {
                    End::Itself(status)
                };
                ending.over = true;
                return Ok((end, alive || !pipes.are_closed()));
            }
        }
        let wake = match status {
            Some(_) => (Instant::now() + LOOK).min(drained_at),
            None => ending.deadline().or(limit.filter(|_| !timed_out)).unwrap_or(far),
        };
        tokio::select! {
            // That this process goes on is heard about when what happened meanwhile is, and is to come first.
            biased;
            Some(()) = slept.goes_on.recv() => slept.is_known |= status.is_some() || child.try_wait()?.is_some(),
            changed = stop.changed(), if !stop_is_gone(stop) => {
                if changed.is_ok() {
                    ending.follow(*stop.borrow_and_update(), &mut stopped);
                }
            }
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                // A moment to close what they hold, for what was asked to end beside what is left of the grace.
                drained_at = Instant::now() + DRAIN;
                match ending.phase {
                    Phase::Running => {}
                    Phase::Asked(until) => drained_at = until + DRAIN,
                    Phase::Killed => ending.kill(),
                }
            }
            () = sleep_until(reap_at), if status.is_none() => {
                drop(orphans());
                reap_at = Instant::now() + REAPING;
            }
            () = sleep_until(wake) => {
                if !ending.escalate() && status.is_none() {
                    timed_out = true;
                    ending.ask();
                }
            }
            read = pipes.read() => pipes.pass_on(read, tap).await,
        }
    }
}

/// Whether nobody is left who could stop the run.
fn stop_is_gone(stop: &watch::Receiver<Stop>) -> bool {
    stop.has_changed().is_err()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// It was asked to end, and is killed then.
    Asked(Instant),
    Killed,
}

/// Ends a process group step by step.
struct Ending<'a> {
    group: Option<Pid>,
    whole_group: bool,
    /// What the command and all that it started is known by, and in which tick it began.
    mark: Option<(&'a str, u64)>,
    grace: Duration,
    phase: Phase,
    /// Whether nothing is left to end.
    over: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}

impl Ending<'_> {
    fn follow(&mut self, stop: Stop, stopped: &mut bool) {
        match stop {
            Stop::No => return,
            Stop::Gently => self.ask(),
            Stop::AtOnce => self.kill(),
        }
        *stopped = true;
    }

    fn signal(&self, signal: Signal) {
        let Some(group) = self.group else { return };
        // It may be gone already, which is what is wanted.
        let _ =
            if self.whole_group { kill_process_group(group, signal) } else { kill_process(group, signal) };
    }

    fn ask(&mut self) {
        if self.phase == Phase::Running {
            self.signal(Signal::TERM);
            // A stopped process does not hear it before it goes on.
            self.signal(Signal::CONT);
            self.phase = Phase::Asked(Instant::now() + self.grace);
        }
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        kill_all(&self.escaped().0);
        self.phase = Phase::Killed;
    }

    /// Kills when the grace is over. False when the command had not been asked to end yet.
    fn escalate(&mut self) -> bool {
        match self.phase {
            Phase::Running => return false,
            Phase::Asked(until) if Instant::now() >= until => self.kill(),
            Phase::Asked(_) | Phase::Killed => {}
        }
        true
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Asked(until) => Some(until),
            Phase::Killed => Some(Instant::now() + DRAIN),
            Phase::Running => None,
        }
    }

    /// What lives of the command that has left its group, as far as its parents have ended; and whether there may be more.
    fn escaped(&self) -> (Vec<Pid>, bool) {
        match self.mark {
            Some((mark, since)) if self.whole_group => marked_orphans(mark, since),
            _ => (Vec::new(), false),
        }
    }

    /// Whether anything lives that the command has started.
    fn is_survived(&mut self) -> bool {
        // Before the group is looked at, as those of it that have ended are waited for.
        let (escaped, may_be_more) = self.escaped();
        match self.phase {
            Phase::Running => {}
            // What is still in the group was asked, and what is not was not.
            Phase::Asked(_) => {
                let group = self.group.map(Pid::as_raw_pid);
                let is_outside = |id: &&Pid| {
                    let process = Process::find(id.as_raw_pid().unsigned_abs());
                    process.is_some_and(|process| Some(process.group) != group)
                };
                kill_all(escaped.iter().filter(is_outside));
            }
            Phase::Killed => kill_all(&escaped),
        }
        !escaped.is_empty() || may_be_more || self.whole_group && self.group.is_some_and(group_is_alive)
    }
}

fn kill_all<'a>(processes: impl IntoIterator<Item = &'a Pid>) {
    for &id in processes {
        // It may be gone already.
        let _ = kill_process(id, Signal::KILL);
    }
}

type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// Reads from a pipe; a closed one is never ready.
async fn read_from(pipe: &mut Option<Reader>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    match pipe {
        Some(pipe) => {
            buffer.clear();
            pipe.read_buf(buffer).await
        }
        None => std::future::pending().await,
    }
}

/// Both pipes, masked and collected.
struct Pipes {
    out: Option<Reader>,
    err: Option<Reader>,
    out_buffer: Vec<u8>,
    err_buffer: Vec<u8>,
    masks: [Option<Mask>; 2],
    log: Log,
    began: Instant,
}

impl Pipes {
    fn new(child: &mut Child, masks: [Mask; 2], began: Instant) -> Self {
        let out = child.stdout.take().map(|pipe| Box::pin(pipe) as Reader);
        let err = child.stderr.take().map(|pipe| Box::pin(pipe) as Reader);
        let [out_mask, err_mask] = masks;
        Self {
            out_buffer: Vec::with_capacity(if out.is_some() { READ_BYTES } else { 0 }),
            err_buffer: Vec::with_capacity(if err.is_some() { READ_BYTES } else { 0 }),
            out,
            err,
            masks: [Some(out_mask), Some(err_mask)],
            log: Log::default(),
            began,
        }
    }

    fn are_closed(&self) -> bool {
        self.out.is_none() && self.err.is_none()
    }

    /// Reads from whichever has something; never ends when both are closed. Nothing is lost when it is dropped.
    async fn read(&mut self) -> (Stream, io::Result<usize>) {
        tokio::select! {
            biased;
            read = read_from(&mut self.out, &mut self.out_buffer) => (Stream::Out, read),
            read = read_from(&mut self.err, &mut self.err_buffer) => (Stream::Err, read),
        }
    }

    async fn pass_on(&mut self, (stream, read): (Stream, io::Result<usize>), tap: &mut dyn Tap) {
        let (pipe, buffer, mask) = match stream {
            Stream::Out => (&mut self.out, &self.out_buffer, &mut self.masks[0]),
            Stream::Err => (&mut self.err, &self.err_buffer, &mut self.masks[1]),
        };
        let count = read.unwrap_or(0);
        let mut shown = Vec::new();
        if count == 0 {
            *pipe = None;
            if let Some(mask) = mask.take() {
                mask.finish(&mut shown);
            }
        } else if let Some(mask) = mask {
            mask.push(buffer, &mut shown);
        }
        self.hand_out(stream, &shown, tap).await;
    }

    /// Gives out what masks still hold of pipes that somebody else has open.
    async fn finish(&mut self, tap: &mut dyn Tap) {
        for (at, stream) in [Stream::Out, Stream::Err].into_iter().enumerate() {
            let mut shown = Vec::new();
            if let Some(mask) = self.masks[at].take() {
                mask.finish(&mut shown);
            }
            self.hand_out(stream, &shown, tap).await;
        }
    }

    async fn hand_out(&mut self, stream: Stream, bytes: &[u8], tap: &mut dyn Tap) {
        if !bytes.is_empty() {
            self.log.push(stream, self.began.elapsed(), bytes);
            tap.take(stream, bytes).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::environment::{EnvironmentRules, VariablePattern};
    use crate::manifest::EnvironmentTable;
    use crate::process::is_marked;

    #[derive(Default)]
    struct Seen {
        group: Option<u32>,
        stop_at: Option<(&'static str, watch::Sender<Stop>)>,
        text: String,
    }

    impl Tap for Seen {
        fn take<'a>(
            &'a mut self,
            _: Stream,
            bytes: &'a [u8],
        ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
            self.text += &String::from_utf8_lossy(bytes);
            if let Some((word, stop)) = &self.stop_at
                && self.text.contains(word)
            {
                stop.send_replace(Stop::Gently);
            }
            Box::pin(std::future::ready(()))
        }
        fn started(&mut self, group: Option<u32>) {
            self.group = group;
        }
    }

    fn script(text: &str) -> Start {
        Start {
            argv: ["sh", "-c", text].map(OsString::from).to_vec(),
            direct: None,
            cwd: std::env::temp_dir(),
            environment: vec![
                ("PATH".into(), std::env::var_os("PATH").unwrap()),
                ("TOKEN".into(), "hunter2".into()),
            ],
            timeout: None,
            grace: Duration::from_secs(5),
            interactive: false,
            marks: None,
        }
    }

    fn run(start: &Start, seen: &mut Seen) -> io::Result<Execution> {
        let secret = vec![VariablePattern::new("TOKEN").unwrap()];
        let table = EnvironmentTable { secret, ..EnvironmentTable::default() };
        let task =
            EnvironmentRules::new(&EnvironmentTable::default(), Some(&table)).apply(&start.environment);
        let (keep, stop) = watch::channel(Stop::No);
        let stop = seen.stop_at.as_ref().map_or(stop, |(_, sender)| sender.subscribe());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let done =
            runtime.block_on(execute(start, [task.mask(), task.mask()], stop, seen)).map(|(done, _)| done);
        drop(keep);
        done
    }

    fn texts(log: &Log, stream: Stream) -> String {
        let chunks = log.chunks().iter().filter(|chunk| chunk.stream == stream);
        chunks.map(|chunk| String::from_utf8_lossy(&chunk.bytes)).collect()
    }

    fn is_gone(group: Option<u32>) -> bool {
        !group_is_alive(Pid::from_raw(group.unwrap() as i32).unwrap())
    }

    #[test]
    fn streams_stay_apart_the_code_is_returned_and_secrets_are_masked() {
        let mut seen = Seen::default();
        let start = script("echo one; echo two >&2; echo $TOKEN; printf hun; printf 'ter2\n'; pwd; exit 7");
        let done = run(&Start { cwd: "/".into(), ..start }, &mut seen).unwrap();
        assert_eq!(done.exit, Exit::Code(7));
        assert_eq!(texts(&done.log, Stream::Out), "one\n***\n***\n/\n");
        assert_eq!(texts(&done.log, Stream::Err), "two\n");
        assert!(!done.left_behind && is_gone(seen.group) && !seen.text.contains("hunter2"));
    }

    #[test]
    fn a_command_reads_nothing_and_sees_only_what_it_is_given() {
        let done = run(&script("cat; echo ${HOME-none} ${TOKEN:+some}"), &mut Seen::default()).unwrap();
        assert_eq!(texts(&done.log, Stream::Out), "none some\n");
    }

    #[test]
    fn large_output_on_both_streams_is_whole() {
        let text =
            "i=0; while [ $i -lt 2000 ]; do printf '%0100d' $i; printf '%0100d' $i >&2; i=$((i+1)); done";
        let done = run(&script(text), &mut Seen::default()).unwrap();
        assert_eq!(
            (texts(&done.log, Stream::Out).len(), texts(&done.log, Stream::Err).len()),
            (200_000, 200_000)
        );
    }

    #[test]
    fn a_time_limit_ends_the_whole_group() {
        let mut seen = Seen::default();
        let limit = Duration::from_millis(200);
        let start = Start { timeout: Some(limit), ..script("sleep 100 & sleep 100; echo not reached") };
        let done = run(&start, &mut seen).unwrap();
        assert_eq!(done.exit, Exit::TimedOut(limit));
        assert!(is_gone(seen.group) && seen.text.is_empty());
    }

    #[test]
    fn a_stop_lets_a_command_clean_up_and_kills_one_that_does_not_listen() {
        let stop = || Some(("ready", watch::channel(Stop::No).0));
        let mut seen = Seen { stop_at: stop(), ..Seen::default() };
        let polite = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
        let done = run(&script(polite), &mut seen).unwrap();
        assert!(done.exit == Exit::Stopped && seen.text.contains("bye\n"), "{}", seen.text);
        let mut seen = Seen { stop_at: stop(), ..Seen::default() };
        let deaf = Start {
            grace: Duration::from_millis(100),
            ..script("trap '' TERM; echo ready; while :; do sleep 0.01; done")
        };
        let done = run(&deaf, &mut seen).unwrap();
        assert_eq!((done.exit, &*seen.text), (Exit::Stopped, "ready\n"));
        assert!(is_gone(seen.group));
        // Also where what was started first has ended, as a shell does that waits for others.
        for (then, grace, cleans_up) in [("echo bye; exit", 5000, true), ("", 100, false)] {
            let mut seen = Seen { stop_at: stop(), ..Seen::default() };
            let inner = format!("trap \"sleep 0.05; {then}\" TERM; echo ready; while :; do sleep 0.01; done");
            let grace = Duration::from_millis(grace);
            let done =
                run(&Start { grace, ..script(&format!("sh -c '{inner}' & wait")) }, &mut seen).unwrap();
            assert_eq!((done.exit, seen.text.contains("bye")), (Exit::Stopped, cleans_up));
            assert!(is_gone(seen.group) && !done.left_behind);
        }
    }

    #[test]
    fn processes_that_outlive_the_command_are_told_of_and_the_remains_of_ended_ones_are_not() {
        let mut seen = Seen::default();
        let done = run(&script("sleep 20 > /dev/null 2>&1 & echo done"), &mut seen).unwrap();
        assert_eq!((done.exit, done.left_behind), (Exit::Code(0), true));
        let group = Pid::from_raw(seen.group.unwrap() as i32).unwrap();
        kill_process_group(group, Signal::KILL).unwrap();
        let done = run(&script("(sleep 0.1; echo late) & echo done"), &mut Seen::default()).unwrap();
        assert_eq!((texts(&done.log, Stream::Out).as_str(), done.left_behind), ("done\nlate\n", false));
    }

    #[test]
    fn what_has_left_the_group_of_the_command_is_told_of_and_ended_where_that_is() {
        crate::take_in_orphans();
        let dir = tempfile::tempdir().unwrap();
        let mark = |name: &str| format!("{}/{name}", dir.path().display());
        let marked =
            |name: &str, text: &str| Start { marks: Some(format!("outer {}", mark(name))), ..script(text) };
        // It says when it has left, as it has closed everything by then.
        let hidden = |then: &str| {
            format!(
                "mkfifo $D/left; setsid sh -c 'echo > $D/left; {then}' > /dev/null 2>&1 & read x < $D/left; rm $D/left"
            )
        };
        let in_dir = |mut start: Start| {
            start.environment.push(("D".into(), dir.path().into()));
            start
        };
        let done = run(&in_dir(marked("one", &hidden("sleep 20"))), &mut Seen::default()).unwrap();
        assert_eq!((done.exit, done.left_behind), (Exit::Code(0), true));
        // One that ends in time has not been left, nor what another command has left, or an earlier one.
        let done =
            run(&in_dir(marked("two", &hidden("sleep 0.1; touch $D/end"))), &mut Seen::default()).unwrap();
        assert!(!done.left_behind && dir.path().join("end").exists());
        let then = ticks();
        while ticks() == then {
            std::thread::yield_now();
        }
        assert!(!run(&marked("one", ":"), &mut Seen::default()).unwrap().left_behind);
        // What holds a pipe is told of without a mark.
        let done = run(&script("setsid sleep 3 & exit 0"), &mut Seen::default()).unwrap();
        assert!(done.left_behind);
        let limit = Duration::from_millis(300);
        let start =
            Start { timeout: Some(limit), ..marked("three", &format!("{}; sleep 20", hidden("sleep 20"))) };
        let done = run(&in_dir(start), &mut Seen::default()).unwrap();
        assert_eq!((done.exit, done.left_behind), (Exit::TimedOut(limit), false));
        assert!(!crate::process::ids().any(|id| is_marked(id, &mark("three"), 0)));
        // What an outer command has started has its mark, too.
        crate::process::ids()
            .filter(|&id| is_marked(id, "outer", 0) && is_marked(id, &mark("one"), 0))
            .for_each(|id| {
                kill_process(Pid::from_raw(id as i32).unwrap(), Signal::KILL).unwrap();
            });
    }

    #[test]
    fn programs_are_found_on_the_path_of_the_task_and_know_their_own_names() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        };
        put("with-line", "#!/bin/sh\necho line $1 $(basename $0)\n");
        put("without-line", "echo shell $1\n");
        let said = |argv: &[&str]| {
            let argv = argv.iter().map(OsString::from).collect();
            let mut path = dir.path().as_os_str().to_owned();
            path.push(":/usr/bin:/bin");
            let start = Start { argv, environment: vec![("PATH".into(), path)], ..script("") };
            texts(&run(&start, &mut Seen::default()).unwrap().log, Stream::Out)
        };
        assert_eq!(said(&["with-line", "one"]), "line one with-line\n");
        assert_eq!(said(&["without-line", "two"]), "shell two\n");
        assert_eq!(said(&["sh", "-c", "echo $0"]), "sh\n");
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error_and_a_signal_is_told() {
        let start = Start { argv: vec!["no-such-program".into()], ..script("") };
        assert_eq!(run(&start, &mut Seen::default()).unwrap_err().kind(), io::ErrorKind::NotFound);
        let done = run(&script("kill -SEGV $$"), &mut Seen::default()).unwrap();
        assert_eq!((done.exit, done.exit.code()), (Exit::Signal(11), 139));
    }
}
