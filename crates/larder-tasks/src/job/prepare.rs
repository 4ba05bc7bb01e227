//! Before a task: what it sees, what it reads, and so its key.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::clock::Instant;
use larder::key::Key;
use larder::source::{FileSet, Scan, ScanOptions, Snapshot, SourceError, Written};
use larder::tier::Brief;

use super::beside::LeftBehind;
use super::look::{Look, SeenOutputs};
use super::{Inner, Stopping};
use crate::checkout::Memory;
use crate::environment::{EnvironmentMode, TaskEnvironment};
use crate::event::{Note, Unkept};
use crate::key::{Part, PartKind, TaskKey};
use crate::outputs::Outputs;
use crate::path::Pattern;
use crate::place::Located;
use crate::task::{Command, Inputs, Keeping, Rules, Task};

/// What tasks before left behind, by stable name.
pub(super) type Upstream = BTreeMap<Arc<str>, LeftBehind>;

/// A task ready to be asked for.
pub(super) struct Prepared {
    pub(super) task: Arc<Task>,
    /// What the command sees, `PATH` with the package's own programs first.
    pub(super) environment: TaskEnvironment,
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) outputs: Option<Outputs>,
    pub(super) upstream: Arc<Upstream>,
    /// How the place of the outputs looked, if that was to be known.
    pub(super) seen: Option<Scan>,
    /// When files were looked at.
    pub(super) at: Instant,
    /// Whether it runs also if its inputs have changed since: they do so all the time.
    pub(super) insists: bool,
    pub(super) memory: Memory,
    /// Where what it needs of the file system is done.
    pub(super) brief: Brief,
    /// Ends looks at its files, and what else larder does for it, once it is set.
    pub(super) stopping: Stopping,
    /// The key and what it was made from, or why there is none.
    pub(super) keyed: Result<Keyed, Unkept>,
    pub(super) notes: Vec<Note>,
}

impl Prepared {
    /// Why something could not be done: that it was stopped, or else this.
    pub(super) fn unless_stopped(&self, why: Unkept) -> Unkept {
        if self.stopping.load(Ordering::Relaxed) { Unkept::Stopped } else { why }
    }
}

/// What a result can be kept under.
pub(super) struct Keyed {
    pub(super) rules: Rules,
    pub(super) key: TaskKey,
    pub(super) engine_key: Key,
    pub(super) files: FileSet,
    pub(super) inputs: Arc<Snapshot>,
    /// Whether `inputs` has something that is not remembered yet.
    pub(super) is_new: bool,
}

pub(super) fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    super::identify::variable_of(environment, name)
}

impl Inner {
    /// Makes a task's key from how its files look and from everything else that the key covers.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        task: &Arc<Task>,
        upstream: &Arc<Upstream>,
        look: Look,
    ) -> Prepared {
        let mut notes = Vec::new();
        if task.environment.mode() == EnvironmentMode::Loose {
            notes.push(Note::LooseEnvironment);
        }
        let environment = task.environment.apply(&self.environment);
        let variables = self.variables(task, &environment);
        let (outputs, seen, unusable) = match look.outputs {
            None => (None, None, None),
            Some(Ok(SeenOutputs { set, scan })) => (Some(set), scan, None),
            Some(Err(unkept)) => (None, None, Some(unkept)),
        };
        let keyed = match (unusable, &task.keeping, look.inputs) {
            (Some(unkept), ..) => Err(unkept),
            (None, Keeping::Never(why), _) => Err(Unkept::Never(*why)),
            (None, Keeping::Keep(_), Some(Err(unkept))) => Err(unkept),
            (None, Keeping::Keep(rules), Some(Ok((files, scan)))) => {
                let looked = (files, scan, &look.stopping);
                self.keyed(task, rules, upstream, (&environment, &variables), looked, &mut notes).await
            }
            (None, Keeping::Keep(_), None) => Err(Unkept::Inputs("nobody looked at them".to_owned())),
        };
        let memory = self.remembered(task);
        Prepared {
            task: Arc::clone(task),
            environment,
            variables,
            outputs,
            upstream: Arc::clone(upstream),
            seen,
            at: look.at,
            insists: false,
            brief: self.brief_for(task),
            stopping: look.stopping,
            memory,
            keyed,
            notes,
        }
    }

    /// Adds what tasks that are left out of a graph have left behind: what a task finds there counts, whoever
    /// made it and when.
    pub(super) async fn with_omitted(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        omitted: &[Arc<Task>],
        stopping: &Stopping,
    ) -> Arc<Upstream> {
        let mut upstream = Arc::clone(upstream);
        for task in omitted.iter().filter(|task| !task.outputs.is_empty()) {
            let name: Arc<str> = super::stable_name(&self.workspace, task).into();
            let (inner, asked, stopping) = (Arc::clone(self), Arc::clone(task), Arc::clone(stopping));
            let look = move || {
                let outputs = inner.outputs_of(&asked).ok()?;
                let known = inner.remembered(&asked).outputs.snapshot;
                inner.scan(&outputs.files, known.as_ref(), &stopping).ok().map(|scan| scan.snapshot)
            };
            let seen = self.blocking(look).await;
            let outputs = seen.as_ref().map(|seen| seen.fingerprint());
            Arc::make_mut(&mut upstream).insert(name, LeftBehind { task: Arc::clone(task), outputs, seen });
        }
        upstream
    }

    fn variables(&self, task: &Task, environment: &TaskEnvironment) -> Vec<(OsString, OsString)> {
        let mut variables = environment.passed().to_vec();
        if task.path_first.is_empty() {
            return variables;
        }
        let first = task.path_first.iter().map(|directory| directory.under(self.workspace.root()));
        let rest = variable(&variables, "PATH").unwrap_or_default().to_owned();
        // A directory whose name has a colon cannot stand in PATH; without it programs are not found there.
        if let Ok(path) = std::env::join_paths(first.chain(std::env::split_paths(&rest))) {
            variables.retain(|(name, _)| name != "PATH");
            variables.push(("PATH".into(), path));
        }
        variables
    }

    async fn keyed(
        self: &Arc<Self>,
        task: &Arc<Task>,
        rules: &Rules,
        upstream: &Upstream,
        (environment, variables): (&TaskEnvironment, &[(OsString, OsString)]),
        (files, scan, stopping): (FileSet, Scan, &Stopping),
        notes: &mut Vec<Note>,
    ) -> Result<Keyed, Unkept> {
        let mut parts = described(task, rules, self.umask);
        for variable in environment.parts() {
            let kind = if variable.secret { PartKind::Secret } else { PartKind::Variable };
            parts.push(Part::digest(kind, &variable.name, variable.digest, ""));
        }
        if rules.components.contains(&crate::manifest::Component::Upstream) {
            for (name, left) in upstream {
                let digest = left.outputs.ok_or_else(|| Unkept::Upstream(name.to_string()))?;
                parts.push(Part::digest(PartKind::Upstream, name, digest, &format!("{digest:.12}")));
            }
        }
        parts.extend(self.identify(task, variables, stopping, notes).await?);
        notes.extend(unmatched(&scan, "input", declared(task)));
        let count = scan.snapshot.len();
        let shown = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        parts.push(Part::digest(PartKind::Inputs, "", scan.fingerprint(), &shown));
        let key = TaskKey::new(parts, |component| rules.components.contains(&component));
        let engine_key = self.kind.key_of_digest(key.digest());
        let (is_new, inputs) = (scan.is_new(), scan.snapshot);
        Ok(Keyed { rules: rules.clone(), key, engine_key, files, inputs, is_new })
    }

    /// Looks at a set of files, until `stop` is set. Blocks.
    pub(super) fn scan(
        &self,
        files: &FileSet,
        previous: Option<&Arc<Snapshot>>,
        stop: &AtomicBool,
    ) -> Result<Scan, SourceError> {
        self.scan_with(files, previous, None, stop)
    }

    /// Looks at a set of files of which some have just been written. Blocks.
    pub(super) fn scan_written(
        &self,
        files: &FileSet,
        previous: &Arc<Snapshot>,
        written: &Written,
        stop: &AtomicBool,
    ) -> Result<Scan, SourceError> {
        let options = ScanOptions { clock: &self.clock, stop, threads: None };
        files.scan_written(Some(previous), written, &options)
    }

    /// Looks at a set of files with this many threads, or as many as there are processors. Blocks.
    pub(super) fn scan_with(
        &self,
        files: &FileSet,
        previous: Option<&Arc<Snapshot>>,
        threads: Option<NonZeroUsize>,
        stop: &AtomicBool,
    ) -> Result<Scan, SourceError> {
        files.scan(previous, &ScanOptions { clock: &self.clock, stop, threads })
    }
}

/// The parts that the definition alone gives.
/// Users with either of these differ in what their group may write, and take each other's results.
const USUAL_UMASKS: [u32; 2] = [0o022, 0o002];

fn described(task: &Task, rules: &Rules, umask: u32) -> Vec<Part> {
    let mut command = match &task.command {
        Some(Command::Script { shell, script }) => {
            let words: Vec<&str> = shell.iter().map(String::as_str).chain([script.as_str()]).collect();
            json(&words)
        }
        Some(Command::Argv(argv)) => json(argv),
        None => String::new(),
    };
    for directory in &task.path_first {
        command += &format!(" PATH+={directory}");
    }
    let outputs: Vec<String> = task
        .outputs
        .iter()
        .map(|output| {
            format!("{}{}", if output.value.is_negated() { "!" } else { "" }, output.value.to_glob())
        })
        .collect();
    let mut outputs = json(&outputs);
    if !task.clean {
        // What lay there before is part of what comes of it.
        outputs += " not cleaned";
    }
    if !USUAL_UMASKS.contains(&umask) {
        // Whether a mode is meant, or is what the umask leaves of it, cannot be told: nobody else gets such files. And
        // what a command says of modes is true for nobody else.
        outputs += &format!(" umask {umask:03o}");
    }
    let mut parts = vec![
        Part::text(PartKind::Command, &command),
        Part::text(PartKind::Cwd, &task.cwd.to_string()),
        Part::text(PartKind::Platform, &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        Part::text(PartKind::Outputs, &outputs),
    ];
    parts.extend(rules.salt.as_deref().map(|salt| Part::text(PartKind::Salt, salt)));
    parts
}

/// Words framed so that no two lists look alike, and still for people.
fn json<T: serde::Serialize>(words: &[T]) -> String {
    serde_json::to_string(words).expect("text can be written as JSON")
}

fn declared(task: &Task) -> impl Iterator<Item = &Located<Pattern>> {
    let declared: &[Located<Pattern>] = match &task.inputs {
        Inputs::Declared(declared) => declared,
        Inputs::Package | Inputs::Undeclared => &[],
    };
    declared.iter().chain(&task.extra_inputs)
}

/// A note for each pattern that selects nothing.
pub(super) fn unmatched<'a>(
    scan: &Scan,
    what: &'static str,
    patterns: impl Iterator<Item = &'a Located<Pattern>> + 'a,
) -> Vec<Note> {
    let is_unmatched = |pattern: &&Located<Pattern>| {
        !pattern.value.is_negated() && scan.unmatched.contains(&pattern.value.to_glob())
    };
    let note = |pattern: &Located<Pattern>| Note::MatchesNothing {
        what,
        pattern: pattern.value.written().to_owned(),
        place: pattern.place.to_string(),
    };
    patterns.filter(is_unmatched).map(note).collect()
}

/// An error with its causes in one line.
pub(super) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
