//! A task of one package, ready to run: template and override joined, paths followed, contradictions refused.
//!
//! Invariant: a [`Task`] cannot be wrong by itself: it has a command or dependencies, its paths lie inside the
//! workspace, and it is kept only if something says what its result depends on.
//! Not here: whether it fits with other tasks (`graph`, `check`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use larder::config::{ByteSize, Mode};

use crate::environment::EnvironmentRules;
use crate::manifest::{CacheTable, CacheWish, CommandLine, Component, Definition, EnvironmentTable, Tool};
use crate::name::{Dependency, TaskId};
use crate::path::{Pattern, RelPath};
use crate::place::{Located, Place};
use crate::problem::{Fault, Problem};

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A script, appended to the shell's words.
    Script {
        /// Such as `["sh", "-c"]`; never empty.
        shell: Vec<String>,
        /// The script.
        script: String,
    },
    /// Program and arguments; never empty.
    Argv(Vec<String>),
}

/// Which files a task reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Neither inputs nor outputs are declared, and nothing is kept.
    Undeclared,
    /// Every file of the package that git does not ignore, minus outputs and packages inside.
    Package,
    /// Those that the patterns choose, in order; `!` takes away.
    Declared(Vec<Located<Pattern>>),
}

/// Whether a task's results are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Keeping {
    /// Never, and why.
    Never(WhyNever),
    /// Under these rules.
    Keep(Rules),
}

/// Why a task's results are never kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhyNever {
    /// Neither inputs nor outputs are declared, and `cache = true` is not written.
    #[error("neither inputs nor outputs are declared; write `cache = true` to keep it all the same")]
    NothingDeclared,
    /// `cache = false` or `cache.mode = "off"` is written.
    #[error("its cache is switched off")]
    SwitchedOff,
    /// It never ends.
    #[error("it is persistent")]
    Persistent,
    /// It talks to the user.
    #[error("it is interactive")]
    Interactive,
    /// It only stands for its dependencies.
    #[error("it has no command of its own")]
    NoCommand,
}

/// How results are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// What of the cache is used.
    pub mode: Mode,
    /// Results older than this are not used.
    pub max_age: Option<Duration>,
    /// Outputs that are larger together are not kept.
    pub max_size: Option<ByteSize>,
    /// Components of the key that count.
    pub components: BTreeSet<Component>,
    /// Changing it drops what was kept.
    pub salt: Option<String>,
    /// Exit codes whose results are kept.
    pub exit_codes: BTreeSet<u8>,
}

/// A task of a package.
#[derive(Debug, Clone)]
pub struct Task {
    /// Package and name.
    pub id: TaskId,
    /// The package's directory.
    pub package: RelPath,
    /// Where it is defined; a template's place when the package has no table of its own.
    pub place: Place,
    /// What to start; `None` for a name that only stands for its dependencies.
    pub command: Option<Command>,
    /// What it is for.
    pub description: Option<String>,
    /// What runs before it.
    pub depends_on: Vec<Located<Dependency>>,
    /// Whether `depends_on` comes from a template, which may name tasks that this package does not have.
    pub(crate) depends_by_template: bool,
    /// Which files it reads.
    pub inputs: Inputs,
    /// Inputs besides those.
    pub extra_inputs: Vec<Located<Pattern>>,
    /// Inputs that do not count.
    pub ignored_inputs: Vec<Located<Pattern>>,
    /// Which files it writes; `!` takes away.
    pub outputs: Vec<Located<Pattern>>,
    /// What it sees of the environment.
    pub environment: Arc<EnvironmentRules>,
    /// Directories that come first in its `PATH`: where a package's scripts find their programs.
    pub path_first: Vec<RelPath>,
    /// Where it runs.
    pub cwd: RelPath,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Whether results are kept.
    pub keeping: Keeping,
    /// Programs whose identity enters the key.
    pub tools: Vec<Located<Tool>>,
    /// Whether outputs of earlier runs are removed before the command starts.
    pub clean: bool,
    /// Whether it runs until it is stopped.
    pub persistent: bool,
    /// Whether it reads from the terminal.
    pub interactive: bool,
}

/// What resolving a definition needs to know of its package.
pub(crate) struct Surroundings<'a> {
    pub(crate) package: &'a RelPath,
    /// What fills in the keys that a definition leaves out.
    pub(crate) template: Option<&'a Definition>,
    /// Whether the definition itself is one.
    pub(crate) is_template: bool,
    pub(crate) workspace_environment: &'a EnvironmentTable,
    /// The rules of all tasks without a table of their own, made once.
    pub(crate) shared_environment: &'a Arc<EnvironmentRules>,
}

impl Task {
    /// Resolves a definition for a package; `None` when something is wrong with it, which is then in `problems`.
    pub(crate) fn resolve(
        id: TaskId,
        definition: &Definition,
        around: &Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let before = problems.len();
        let depends_by_template = around.is_template || definition.depends_on.is_none();
        let joined = around.template.map(|template| definition.over(template));
        let definition = joined.as_ref().unwrap_or(definition);
        let table = match definition.cache.as_ref().map(|cache| &cache.value) {
            Some(CacheWish::Table(table)) => Some(&**table),
            _ => None,
        };
        let mut patterns = |key, written: &[Located<String>]| follow(around.package, key, written, problems);
        let declared = definition.inputs.as_ref().map(|inputs| patterns("input", inputs));
        let outputs = definition.outputs.as_ref().map(|outputs| patterns("output", outputs));
        let extra_inputs = table.map(|table| patterns("input", &table.extra_inputs)).unwrap_or_default();
        let ignored_inputs = table.map(|table| patterns("input", &table.ignore_inputs)).unwrap_or_default();
        let cwd = cwd(definition, around.package, problems);
        let keeping = keeping(definition, table, problems);
        let depends_on = definition.depends_on.clone().unwrap_or_default();
        if definition.command.is_none() && depends_on.is_empty() && !definition.broken {
            let fault = Fault::Empty(id.task.to_string());
            problems.push(Problem::at(&definition.place, fault).hint("give it a `command`"));
        }
        // A template may give some to a task of which a package has no command: nobody makes them.
        let outputs = outputs.filter(|_| definition.command.is_some()).unwrap_or_default();
        let inputs = match (declared, &keeping) {
            (Some(declared), _) => Inputs::Declared(declared),
            (None, Keeping::Keep(_)) => Inputs::Package,
            // Nothing is kept, but it tells when to run again.
            (None, Keeping::Never(_)) if !outputs.is_empty() => Inputs::Package,
            (None, Keeping::Never(_)) => Inputs::Undeclared,
        };
        if problems.len() > before || definition.broken {
            return None;
        }
        Some(Self {
            id,
            package: around.package.clone(),
            place: definition.place.clone(),
            command: definition.command.as_ref().map(|command| start(&command.value, definition)),
            description: definition.description.clone(),
            depends_on,
            depends_by_template,
            inputs,
            extra_inputs,
            ignored_inputs,
            outputs,
            environment: match &definition.environment {
                None => Arc::clone(around.shared_environment),
                own => Arc::new(EnvironmentRules::new(around.workspace_environment, own.as_ref())),
            },
            path_first: Vec::new(),
            cwd,
            timeout: definition.timeout,
            keeping,
            tools: definition.tools.clone().unwrap_or_default(),
            clean: definition.clean.unwrap_or(true),
            persistent: definition.persistent.unwrap_or(false),
            interactive: definition.interactive.unwrap_or(false),
        })
    }
}

fn follow(
    package: &RelPath,
    key: &'static str,
    written: &[Located<String>],
    problems: &mut Vec<Problem>,
) -> Vec<Located<Pattern>> {
    let mut patterns = Vec::with_capacity(written.len());
    for Located { value, place } in written {
        match Pattern::of_checked(package, value) {
            Ok(pattern) => patterns.push(Located { value: pattern, place: place.clone() }),
            Err(error) => problems.push(Problem::at(place, Fault::of_pattern(key, value, &error))),
        }
    }
    patterns
}

fn cwd(definition: &Definition, package: &RelPath, problems: &mut Vec<Problem>) -> RelPath {
    let Some(Located { value, place }) = &definition.cwd else { return package.clone() };
    match package.join(value) {
        Ok(cwd) => cwd,
        Err(error) => {
            problems.push(Problem::at(place, Fault::of_path("cwd", value, error)));
            package.clone()
        }
    }
}

fn start(command: &CommandLine, definition: &Definition) -> Command {
    match command {
        CommandLine::Argv(argv) => Command::Argv(argv.clone()),
        CommandLine::Script(script) => Command::Script {
            shell: definition.shell.clone().unwrap_or_else(|| vec!["sh".into(), "-c".into()]),
            script: script.clone(),
        },
    }
}

/// Decides whether results are kept, and refuses wishes that exclude each other.
fn keeping(definition: &Definition, table: Option<&CacheTable>, problems: &mut Vec<Problem>) -> Keeping {
    let wish = definition.cache.as_ref();
    let off = match wish.map(|wish| &wish.value) {
        Some(CacheWish::Plain(wished)) => !wished,
        Some(CacheWish::Table(table)) => table.mode == Some(Mode::Off),
        None => false,
    };
    let persistent = definition.persistent == Some(true);
    let interactive = definition.interactive == Some(true);
    if let Some(wish) = wish.filter(|_| !off && (persistent || interactive)) {
        let fault = if persistent {
            Fault::Contradiction("a persistent task never ends, so `cache` cannot keep it")
        } else {
            Fault::Contradiction("an interactive task depends on its user, so `cache` cannot keep it")
        };
        problems.push(Problem::at(&wish.place, fault));
    }
    let declared = definition.inputs.is_some() || definition.outputs.as_ref().is_some_and(|o| !o.is_empty());
    if off {
        Keeping::Never(WhyNever::SwitchedOff)
    } else if persistent {
        Keeping::Never(WhyNever::Persistent)
    } else if interactive {
        Keeping::Never(WhyNever::Interactive)
    } else if definition.command.is_none() {
        Keeping::Never(WhyNever::NoCommand)
    } else if wish.is_none() && !declared {
        Keeping::Never(WhyNever::NothingDeclared)
    } else {
        Keeping::Keep(rules(table))
    }
}

fn rules(table: Option<&CacheTable>) -> Rules {
    let none = CacheTable::default();
    let table = table.unwrap_or(&none);
    let all = || Component::WORDS.iter().map(|(_, component)| *component).collect();
    Rules {
        mode: table.mode.unwrap_or(Mode::ReadWrite),
        max_age: table.max_age,
        max_size: table.max_size,
        components: table.components.as_ref().map_or_else(all, |chosen| chosen.iter().copied().collect()),
        salt: table.salt.clone(),
        exit_codes: table
            .exit_codes
            .as_ref()
            .map_or_else(|| [0].into(), |codes| codes.iter().copied().collect()),
    }
}
