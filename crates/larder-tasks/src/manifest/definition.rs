//! `[tasks.NAME]` as it is written: each key may be absent, and a member's keys override a template's.
//!
//! Invariant: each value that is present is well formed by itself; what only a package's directory can decide
//! (where a path leads) or several keys together (what is kept) is decided by `task`.

use std::time::Duration;

use larder::config::{ByteSize, Mode};
use toml::de::DeValue;

use super::reader::{Reader, Section, Value};
use crate::environment::{EnvironmentMode, VariablePattern};
use crate::name::Dependency;
use crate::path::Pattern;
use crate::place::{Located, Place};
use crate::problem::{Fault, Problem};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A script for a shell.
    Script(String),
    /// A program and its arguments; never empty.
    Argv(Vec<String>),
}

/// A program whose identity enters the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// `"cc"`: the content of the program that `PATH` leads to.
    Program(String),
    /// `"rustc --version"`: what this prints; for programs that only stand in for others. Never empty.
    Output(Vec<String>),
}

/// A component of the key that a task may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Command, shell and arguments.
    Command,
    /// The directory that the command runs in.
    Cwd,
    /// Keyed and secret variables.
    Env,
    /// Contents and modes of input files.
    Inputs,
    /// Identities of tools.
    Tools,
    /// Outputs of the tasks that this one depends on.
    Upstream,
    /// Operating system and architecture.
    Platform,
}

impl Component {
    /// The words for them, all in order.
    pub const WORDS: [(&str, Self); 7] = [
        ("command", Self::Command),
        ("cwd", Self::Cwd),
        ("env", Self::Env),
        ("inputs", Self::Inputs),
        ("tools", Self::Tools),
        ("upstream", Self::Upstream),
        ("platform", Self::Platform),
    ];
}

/// `cache = …`.
#[derive(Debug, Clone)]
pub enum CacheWish {
    /// `true` or `false`.
    Plain(bool),
    /// A table, which wishes results kept.
    Table(Box<CacheTable>),
}

/// `cache = { … }`.
#[derive(Debug, Clone, Default)]
pub struct CacheTable {
    /// `mode`.
    pub mode: Option<Mode>,
    /// `max_age`: a result older than this is not used.
    pub max_age: Option<Duration>,
    /// `max_size`: outputs that are larger together are not kept.
    pub max_size: Option<ByteSize>,
    /// `extra_inputs`: inputs besides `inputs`.
    pub extra_inputs: Vec<Located<String>>,
    /// `ignore_inputs`: inputs that do not count.
    pub ignore_inputs: Vec<Located<String>>,
    /// `key`: which components count; `None` for all.
    pub components: Option<Vec<Component>>,
    /// `salt`: any text; changing it drops what was kept.
    pub salt: Option<String>,
    /// `exit_codes`: which results are kept; only 0 when absent.
    pub exit_codes: Option<Vec<u8>>,
}

/// `env = { … }`.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentTable {
    /// `include`: passed and keyed.
    pub include: Vec<VariablePattern>,
    /// `exclude`: withheld, whatever else names them.
    pub exclude: Vec<VariablePattern>,
    /// `secret`: passed, keyed by digest, masked in kept logs.
    pub secret: Vec<VariablePattern>,
    /// `ambient`: passed and not keyed, instead of the usual list.
    pub ambient: Option<Vec<VariablePattern>>,
    /// `mode`.
    pub mode: Option<EnvironmentMode>,
}

/// `[tasks.NAME]`.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Where the table starts.
    pub place: Place,
    /// Whether a value could not be read, so that what is absent may have been meant.
    pub(crate) broken: bool,
    /// `command`.
    pub command: Option<Located<CommandLine>>,
    /// `description`.
    pub description: Option<String>,
    /// `depends_on`.
    pub depends_on: Option<Vec<Located<Dependency>>>,
    /// `inputs`.
    pub inputs: Option<Vec<Located<String>>>,
    /// `outputs`.
    pub outputs: Option<Vec<Located<String>>>,
    /// `env`.
    pub environment: Option<EnvironmentTable>,
    /// `cwd`.
    pub cwd: Option<Located<String>>,
    /// `shell`: the words that a script is appended to; never empty.
    pub shell: Option<Vec<String>>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `cache`.
    pub cache: Option<Located<CacheWish>>,
    /// `tools`.
    pub tools: Option<Vec<Located<Tool>>>,
    /// `clean`: whether outputs of an earlier run are removed before the command starts.
    pub clean: Option<bool>,
    /// `persistent`.
    pub persistent: Option<bool>,
    /// `interactive`.
    pub interactive: Option<bool>,
}

const TASK_KEYS: &[&str] = &[
    "command",
    "description",
    "depends_on",
    "inputs",
    "outputs",
    "env",
    "cwd",
    "shell",
    "timeout",
    "cache",
    "tools",
    "clean",
    "persistent",
    "interactive",
];
const CACHE_KEYS: &[&str] =
    &["mode", "max_age", "max_size", "extra_inputs", "ignore_inputs", "key", "salt", "exit_codes"];
const ENV_KEYS: &[&str] = &["include", "exclude", "secret", "ambient", "mode"];

impl Definition {
    /// A definition without any key.
    pub(crate) fn empty(place: Place) -> Self {
        Self {
            place,
            broken: false,
            command: None,
            description: None,
            depends_on: None,
            inputs: None,
            outputs: None,
            environment: None,
            cwd: None,
            shell: None,
            timeout: None,
            cache: None,
            tools: None,
            clean: None,
            persistent: None,
            interactive: None,
        }
    }

    /// These keys, and the template's where this has none.
    pub(crate) fn over(&self, template: &Self) -> Self {
        let own = self.clone();
        let template = template.clone();
        Self {
            place: own.place,
            broken: own.broken || template.broken,
            command: own.command.or(template.command),
            description: own.description.or(template.description),
            depends_on: own.depends_on.or(template.depends_on),
            inputs: own.inputs.or(template.inputs),
            outputs: own.outputs.or(template.outputs),
            environment: own.environment.or(template.environment),
            cwd: own.cwd.or(template.cwd),
            shell: own.shell.or(template.shell),
            timeout: own.timeout.or(template.timeout),
            cache: own.cache.or(template.cache),
            tools: own.tools.or(template.tools),
            clean: own.clean.or(template.clean),
            persistent: own.persistent.or(template.persistent),
            interactive: own.interactive.or(template.interactive),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, name: &str, place: Place, value: &Value<'_>) -> Self {
        let before = reader.problems.len();
        let mut task = Self::empty(place);
        task.broken = true;
        let Some(Section { name: shown, table }) = reader.section(name, value) else { return task };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "command" => task.command = command(reader, value),
                "description" => {
                    task.description = reader.string("description", value).map(|text| text.value)
                }
                "depends_on" => task.depends_on = dependencies(reader, value),
                "inputs" => task.inputs = globs(reader, "inputs", "input", value),
                "outputs" => task.outputs = globs(reader, "outputs", "output", value),
                "env" => {
                    task.environment = Some(EnvironmentTable::read(reader, &format!("{name}.env"), value))
                }
                "cwd" => task.cwd = reader.string("cwd", value),
                "shell" => task.shell = shell(reader, value),
                "timeout" => task.timeout = reader.duration("timeout", value).map(|time| time.value),
                "cache" => task.cache = cache(reader, &format!("{name}.cache"), value),
                "tools" => task.tools = tools(reader, value),
                "clean" => task.clean = reader.boolean("clean", value).map(|choice| choice.value),
                "persistent" => {
                    task.persistent = reader.boolean("persistent", value).map(|choice| choice.value)
                }
                "interactive" => {
                    task.interactive = reader.boolean("interactive", value).map(|choice| choice.value)
                }
                _ => reader.unknown(key, &shown, TASK_KEYS.iter().copied()),
            }
        }
        if let (Some(Located { value: CommandLine::Argv(_), place }), Some(_)) = (&task.command, &task.shell)
        {
            let fault =
                Fault::Contradiction("a `command` list runs without a shell, so `shell` means nothing");
            reader.problems.push(Problem::at(place, fault));
        }
        task.broken = reader.problems.len() > before;
        task
    }
}

fn command(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Located<CommandLine>> {
    const EXPECTED: &str = "a string for the shell or a list of program and arguments";
    let command = match value.get_ref() {
        DeValue::String(script) if script.trim().is_empty() => {
            reader.bad_value("command", EXPECTED, script, value);
            return None;
        }
        DeValue::String(script) => CommandLine::Script(script.to_string()),
        DeValue::Array(_) => {
            let argv: Vec<String> =
                reader.strings("command", value)?.into_iter().map(|word| word.value).collect();
            if argv.first().is_none_or(String::is_empty) {
                reader.bad_value("command", "a list that starts with a program", "", value);
                return None;
            }
            CommandLine::Argv(argv)
        }
        _ => return reader.mismatch("command", EXPECTED, value),
    };
    Some(reader.located(command, value.span()))
}

fn shell(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<String>> {
    const EXPECTED: &str =
        "a program, which is given `-c` and the script, or a list that the script is added to";
    let words = match value.get_ref() {
        DeValue::String(program) => vec![program.to_string(), "-c".to_owned()],
        DeValue::Array(_) => reader.strings("shell", value)?.into_iter().map(|word| word.value).collect(),
        _ => return reader.mismatch("shell", EXPECTED, value),
    };
    if words.first().is_none_or(String::is_empty) {
        reader.bad_value("shell", EXPECTED, "", value);
        return None;
    }
    Some(words)
}

fn dependencies(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Located<Dependency>>> {
    let mut dependencies = Vec::new();
    for Located { value: text, place } in reader.strings("depends_on", value)? {
        match Dependency::parse(&text) {
            Ok(dependency) => dependencies.push(Located { value: dependency, place }),
            Err(rule) => {
                let fault = Fault::Name { what: "dependency", name: text, rule: rule.0 };
                reader
                    .problems
                    .push(Problem::at(&place, fault).hint("write \"task\", \"^task\" or \"package#task\""));
            }
        }
    }
    Some(dependencies)
}

fn globs(
    reader: &mut Reader<'_>,
    key: &str,
    what: &'static str,
    value: &Value<'_>,
) -> Option<Vec<Located<String>>> {
    let mut globs = reader.strings(key, value)?;
    globs.retain(|glob| reader.accepts_glob(what, glob, Pattern::check));
    Some(globs)
}

fn tools(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Located<Tool>>> {
    let mut tools = Vec::new();
    for Located { value: text, place } in reader.strings("tools", value)? {
        let words: Vec<&str> = text.split_whitespace().collect();
        let tool = match words[..] {
            [] => {
                let expected = "programs, or programs with arguments that print a version";
                let fault = Fault::Value { key: "tools".into(), expected, found: text };
                reader.problems.push(Problem::at(&place, fault));
                continue;
            }
            [program] => Tool::Program(program.to_owned()),
            _ => Tool::Output(words.into_iter().map(str::to_owned).collect()),
        };
        tools.push(Located { value: tool, place });
    }
    Some(tools)
}

fn cache(reader: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Option<Located<CacheWish>> {
    let wish = match value.get_ref() {
        DeValue::Boolean(choice) => CacheWish::Plain(*choice),
        DeValue::Table(_) => {
            let Section { name: shown, table } = reader.section(name, value)?;
            let mut cache = CacheTable::default();
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "mode" => {
                        const EXPECTED: &str = "\"off\", \"read\", \"write\" or \"read-write\"";
                        const WORDS: [(&str, Mode); 4] = [
                            ("off", Mode::Off),
                            ("read", Mode::Read),
                            ("write", Mode::Write),
                            ("read-write", Mode::ReadWrite),
                        ];
                        cache.mode = reader.choice("cache.mode", EXPECTED, &WORDS, value);
                    }
                    "max_age" => cache.max_age = reader.duration("cache.max_age", value).map(|age| age.value),
                    "max_size" => {
                        cache.max_size = reader.size("cache.max_size", value).map(|size| size.value)
                    }
                    "extra_inputs" => {
                        cache.extra_inputs =
                            globs(reader, "cache.extra_inputs", "input", value).unwrap_or_default();
                    }
                    "ignore_inputs" => {
                        cache.ignore_inputs =
                            globs(reader, "cache.ignore_inputs", "input", value).unwrap_or_default();
                    }
                    "key" => cache.components = components(reader, value),
                    "salt" => cache.salt = reader.string("cache.salt", value).map(|salt| salt.value),
                    "exit_codes" => cache.exit_codes = reader.exit_codes("cache.exit_codes", value),
                    _ => reader.unknown(key, &shown, CACHE_KEYS.iter().copied()),
                }
            }
            CacheWish::Table(Box::new(cache))
        }
        _ => return reader.mismatch("cache", "true, false or a table", value),
    };
    Some(reader.located(wish, value.span()))
}

fn components(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Component>> {
    const EXPECTED: &str = "a list of command, cwd, env, inputs, tools, upstream and platform";
    let DeValue::Array(items) = value.get_ref() else { return reader.mismatch("cache.key", EXPECTED, value) };
    Some(
        items
            .iter()
            .filter_map(|item| reader.choice("cache.key", EXPECTED, &Component::WORDS, item))
            .collect(),
    )
}

impl EnvironmentTable {
    pub(super) fn read(reader: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Self {
        let mut table = Self::default();
        let Some(Section { name: shown, table: keys }) = reader.section(name, value) else { return table };
        for (key, value) in keys {
            match key.get_ref().as_ref() {
                "include" => {
                    table.include = variables(reader, "env.include", true, value).unwrap_or_default()
                }
                "exclude" => {
                    table.exclude = variables(reader, "env.exclude", false, value).unwrap_or_default()
                }
                "secret" => table.secret = variables(reader, "env.secret", true, value).unwrap_or_default(),
                "ambient" => table.ambient = variables(reader, "env.ambient", false, value),
                "mode" => {
                    const WORDS: [(&str, EnvironmentMode); 2] =
                        [("strict", EnvironmentMode::Strict), ("loose", EnvironmentMode::Loose)];
                    table.mode = reader.choice("env.mode", "\"strict\" or \"loose\"", &WORDS, value);
                }
                _ => reader.unknown(key, &shown, ENV_KEYS.iter().copied()),
            }
        }
        table
    }
}

/// Patterns of variables; those that enter the key must not name larder's own.
fn variables(
    reader: &mut Reader<'_>,
    key: &str,
    keyed: bool,
    value: &Value<'_>,
) -> Option<Vec<VariablePattern>> {
    let mut patterns = Vec::new();
    for Located { value: text, place } in reader.strings(key, value)? {
        match VariablePattern::new(&text) {
            Ok(pattern) if keyed && pattern.is_larders_own() => {
                let fault = Fault::Contradiction("LARDER_* is larder's own and never enters a key");
                reader.problems.push(Problem::at(&place, fault));
            }
            Ok(pattern) => patterns.push(pattern),
            Err(rule) => {
                let fault = Fault::Name { what: "variable", name: text, rule };
                reader.problems.push(Problem::at(&place, fault));
            }
        }
    }
    Some(patterns)
}
