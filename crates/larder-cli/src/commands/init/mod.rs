//! `larder init`: a first `larder.toml` from what a project already has.
//!
//! Invariant: what is written is right as it stands. A task is kept only where every file of its package may be
//! taken for its input, with the programs that are seen to run; where something would have to be guessed, the line is
//! there as a comment.

mod cargo;
mod justfile;
mod makefile;
mod npm;
mod programs;
mod render;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::configuration::PROJECT_FILE;
use crate::console::{Console, GOOD, NAME, stdout, styled};
use crate::failure::{Code, Failure};
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder init --print
  larder init && larder run test")]
pub(crate) struct Arguments {
    /// Print what would be written, and write nothing
    #[arg(long)]
    print: bool,
    /// Write over a larder.toml that is there
    #[arg(long)]
    force: bool,
}

/// What a task seems to be, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Character {
    /// Says yes or no and writes nothing: may be kept with the whole package as input.
    Check,
    /// Writes something. What, if that is known.
    Build(Vec<String>),
    /// Runs until it is stopped.
    Persistent,
    /// Anything.
    Unknown,
}

/// A task that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Draft {
    name: String,
    command: String,
    description: Option<String>,
    character: Character,
    /// What runs before it.
    depends_on: &'static [&'static str],
    /// Programs whose identity counts, if it is kept.
    tools: Vec<String>,
    /// Why it is not kept as it stands.
    doubt: Option<Doubt>,
    /// The file that it comes from.
    from: &'static str,
}

/// What somebody has to say before a task may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// What it reads of other packages and of the root, or in the root of packages.
    OtherPackages,
    /// Which versions it uses of what others have written: no lock file that counts says so.
    Versions,
}

/// One `larder.toml`.
#[derive(Debug, Default)]
struct Plan {
    /// Relative to where we are; empty for the root.
    dir: String,
    /// Globs of members.
    members: Vec<String>,
    /// Tasks of each member.
    templates: Vec<Draft>,
    tasks: Vec<Draft>,
}

const CHECKS: &[&str] =
    &["test", "tests", "check", "lint", "typecheck", "type-check", "types", "unit", "verify", "clippy"];
const BUILDS: &[&str] =
    &["build", "compile", "bundle", "dist", "package", "generate", "codegen", "docs", "doc"];
const PERSISTENT: &[&str] = &["dev", "start", "serve", "watch", "preview"];
/// Directories that builds usually write to.
const OUTPUTS: &[&str] = &["dist", "build", "out", "_build", "public", "site"];

/// Guesses by the name, its first part if it has parts: `test:unit` is a test.
fn character(name: &str, dir: &Path) -> Character {
    let head = name.split([':', '.']).next().unwrap_or(name);
    let is = |names: &[&str]| names.contains(&head);
    if name.split([':', '.', '-']).any(|part| PERSISTENT.contains(&part)) {
        Character::Persistent
    } else if is(CHECKS) {
        Character::Check
    } else if is(BUILDS) {
        // A directory that git ignores is one that something writes.
        let written = |output: &&&str| is_ignored(dir, output);
        Character::Build(OUTPUTS.iter().filter(written).map(|output| (*output).to_owned()).collect())
    } else {
        Character::Unknown
    }
}

/// Whether the `.gitignore` of a directory names something in it.
fn is_ignored(dir: &Path, name: &str) -> bool {
    let ignored = fs::read_to_string(dir.join(".gitignore")).unwrap_or_default();
    ignored.lines().any(|line| line.trim().trim_matches('/') == name)
}

pub(crate) fn run(arguments: &Arguments, console: Console) -> Result<Code, Failure> {
    let root = Surroundings::look()?.current;
    let plans = plan(&root)?;
    if plans.iter().all(|plan| plan.tasks.is_empty() && plan.templates.is_empty()) {
        let error = anyhow!("there is no package.json, Cargo.toml, Makefile or justfile with tasks here");
        return Err(Failure::usage(error).hint("docs/tasks.md shows how to write a larder.toml by hand"));
    }
    if arguments.print {
        let mut out = stdout();
        for (n, plan) in plans.iter().enumerate() {
            if plans.len() > 1 {
                let separator = if n > 0 { "\n" } else { "" };
                writeln!(out, "{separator}# {}", Path::new(&plan.dir).join(PROJECT_FILE).display())?;
            }
            out.write_all(render::render(plan).as_bytes())?;
        }
        return Ok(Code::Done);
    }
    let path = |plan: &Plan| Path::new(&plan.dir).join(PROJECT_FILE);
    if let Some(there) =
        plans.iter().map(path).find(|path| root.join(path).exists()).filter(|_| !arguments.force)
    {
        let error = anyhow!("{} is there already", there.display());
        return Err(Failure::usage(error)
            .hint("`larder init --print` shows what would be written; --force writes over it"));
    }
    for plan in &plans {
        let path = path(plan);
        fs::write(root.join(&path), render::render(plan))
            .with_context(|| format!("cannot write {}", path.display()))?;
        let tasks: BTreeSet<&str> =
            plan.tasks.iter().chain(&plan.templates).map(|task| task.name.as_str()).collect();
        let names: Vec<String> = tasks.into_iter().map(|name| styled(NAME, name)).collect();
        console.note(format_args!("{} {} with {}", styled(GOOD, "wrote"), path.display(), names.join(", ")));
    }
    Ok(Code::Done)
}

/// Looks at what is there. Of two tasks with one name the one that people type counts: a justfile's, then a
/// Makefile's, then a script, then what cargo has for every crate.
fn plan(root: &Path) -> Result<Vec<Plan>, Failure> {
    let mut plans = npm::plans(root)?;
    let mut tasks = justfile::drafts(root)?;
    tasks.extend(makefile::drafts(root)?);
    let own = &mut plans[0];
    tasks.append(&mut own.tasks);
    tasks.extend(cargo::drafts(root));
    let mut names = BTreeSet::new();
    tasks.retain(|task| names.insert(task.name.clone()));
    own.tasks = tasks;
    if !own.members.is_empty() {
        // A member reads others and what lies in the root, and a task of the root reads members.
        let drafts = plans.iter_mut().flat_map(|plan| plan.templates.iter_mut().chain(&mut plan.tasks));
        drafts.for_each(|draft| draft.doubt = Some(Doubt::OtherPackages));
    }
    Ok(plans)
}

/// Reads a file that may be absent.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Failure::usage(anyhow::Error::from(error).context(format!("cannot read {}", path.display()))))
        }
    }
}

/// Whether a task can have this name without quotes and doubts.
fn plain_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
}
