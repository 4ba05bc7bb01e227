//! From the command line, variables and files to one [`Config`].

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use larder::config::{Config, ConfigError, Fault, Layers, Origin, Places, Problem, SETTINGS, Setting};

use crate::arguments::{self, Global};
use crate::console::{BAD, FAINT, styled};
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// Variables that are larder's, no settings of the cache, and stand for no flag. A command of a task has the last one, also
/// if that command is larder.
const OTHER_VARIABLES: &[&str] = &[crate::events::VARIABLE, larder_tasks::MARKS];

/// A file of tasks, whose table `[cache]` is the project's layer.
pub(crate) const PROJECT_FILE: &str = "larder.toml";

/// A setting that a verb has a flag of its own for.
pub(crate) struct Assigned {
    pub(crate) flag: &'static str,
    pub(crate) setting: &'static str,
    pub(crate) value: String,
}

/// Reads all layers; `root` is the workspace's, if we are in one.
pub(crate) fn load(global: &Global, root: Option<&Path>) -> Result<Config, Failure> {
    load_with(global, root, &[])
}

/// Like [`load`], with a verb's own flags.
pub(crate) fn load_with(global: &Global, root: Option<&Path>, own: &[Assigned]) -> Result<Config, Failure> {
    let surroundings = Surroundings::look()?;
    let mut layers = Layers::new(Places {
        default_dir: surroundings.cache,
        home: surroundings.home,
        current_dir: surroundings.current,
    });
    if let Some((path, text)) = user_file(global.config.as_ref(), surroundings.config)? {
        layers.user_file(&path, &text);
    }
    if let Some(root) = root
        && let Some((path, text)) = optional(root.join(PROJECT_FILE))?
    {
        layers.project_file(&path, &text);
    }
    let others = other_variables();
    layers.environment(std::env::vars_os(), &others.iter().map(String::as_str).collect::<Vec<_>>());
    for assignment in &global.set {
        let Some((setting, value)) = assignment.split_once('=') else {
            let error = anyhow!("--set {assignment} has no value");
            return Err(Failure::usage(error).hint("write it as --set SETTING=VALUE"));
        };
        layers.flag(&format!("--set {setting}"), setting, value);
    }
    if let Some(dir) = &global.dir {
        layers.flag("--dir", "dir", dir);
    }
    for Assigned { flag, setting, value } in own {
        layers.flag(flag, setting, value);
    }
    layers.resolve().map_err(|error| wrong(&error))
}

/// Variables that are larder's and no settings of the cache. Those that stand for flags, of whichever verb, are looked for
/// only if there is one that is nothing else: defining all verbs takes time.
fn other_variables() -> Vec<String> {
    let mut others: Vec<String> = OTHER_VARIABLES.iter().map(ToString::to_string).collect();
    let is_setting =
        |name: &String| SETTINGS.iter().filter_map(Setting::variable).any(|known| known == *name);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names = names.filter(|name| name.starts_with("LARDER_"));
    if names.any(|name| !others.contains(&name) && !is_setting(&name)) {
        others.extend(arguments::variables());
    }
    others
}

/// The user's file: one that is named has to be there.
fn user_file(named: Option<&PathBuf>, usual: Option<PathBuf>) -> Result<Option<(PathBuf, String)>, Failure> {
    match (named, usual) {
        (Some(named), _) => match optional(named.clone())? {
            None => Err(Failure::usage(anyhow!("configuration file {} is not there", named.display()))),
            file => Ok(file),
        },
        (None, Some(usual)) => optional(usual),
        (None, None) => Ok(None),
    }
}

fn optional(path: PathBuf) -> Result<Option<(PathBuf, String)>, Failure> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => {
            Err(Failure::usage(anyhow::Error::from(error).context(format!("cannot read {}", path.display()))))
        }
    }
}

/// All problems, each with its place, its line and what may be meant.
fn wrong(error: &ConfigError) -> Failure {
    let mut details = String::new();
    for problem in &error.problems {
        let suggestion = match problem.fault.suggestion() {
            Some(suggestion) => format!("did you mean {suggestion:?}?"),
            None => advice(&problem.fault),
        };
        let note =
            if suggestion.is_empty() { String::new() } else { format!(" {}", styled(BAD, suggestion)) };
        match &problem.excerpt {
            None if note.is_empty() => drop(writeln!(details, "{problem}")),
            None => drop(writeln!(details, "{problem};{note}")),
            Some(excerpt) => {
                let number = line_number(problem);
                let margin = " ".repeat(number.len());
                // A tab stays a tab, so that the carets stand below the place at every tab width.
                let keep_tab = |c| if c == '\t' { '\t' } else { ' ' };
                let indent: String = excerpt.text.chars().take(excerpt.start).map(keep_tab).collect();
                let carets = styled(BAD, "^".repeat(excerpt.width));
                let bar = styled(FAINT, "|");
                let _ = writeln!(details, "{problem}\n{margin} {bar}\n{number} {bar} {}", excerpt.text);
                let _ = writeln!(details, "{margin} {bar} {indent}{carets}{note}");
            }
        }
    }
    let failure = match error.problems.as_slice() {
        [_] => Failure::usage(anyhow!("the configuration is wrong")),
        many => Failure::usage(anyhow!("the configuration is wrong in {} places", many.len())),
    };
    failure.details(details)
}

fn line_number(problem: &Problem) -> String {
    match problem.origin {
        Origin::File { line, .. } => line.to_string(),
        _ => String::new(),
    }
}

/// What to write where nothing is near to what was written.
fn advice(fault: &Fault) -> String {
    match fault {
        Fault::Size { .. } | Fault::SizeUnit { .. } => {
            "write a number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"
        }
        Fault::Share { .. } => "write a share such as \"12.5%\"",
        Fault::Duration { .. } => "write a number and ms, s, min, h, d or w",
        Fault::Name { .. } => "names have 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'",
        Fault::UnknownSetting { .. } => "`larder config show` lists all settings",
        Fault::UnknownTable { .. } => "this file may only have the table [cache]",
        Fault::Zero { instead, .. } => return format!("to turn it off, write {instead} = false"),
        Fault::NoHome { .. } => "write the whole path",
        Fault::NoDir => "write it with --dir or in LARDER_DIR",
        _ => "",
    }
    .to_owned()
}

/// The root of the workspace that we are in, by the files alone: the outermost-but-nearest `larder.toml` with a
/// table `[workspace]`, else the nearest `larder.toml`.
pub(crate) fn project_root(from: &Path) -> Option<PathBuf> {
    let with_file = |dir: &&Path| dir.join(PROJECT_FILE).is_file();
    let nearest = from.ancestors().find(with_file)?;
    let is_workspace = |dir: &&Path| {
        let text = std::fs::read_to_string(dir.join(PROJECT_FILE)).unwrap_or_default();
        text.lines().any(|line| line.trim_start().starts_with("[workspace"))
    };
    Some(nearest.ancestors().filter(with_file).find(is_workspace).unwrap_or(nearest).to_owned())
}

/// Fails the verb if the directory that `-C` names is not there.
pub(crate) fn change_directory(global: &Global) -> Result<(), Failure> {
    let Some(directory) = &global.directory else { return Ok(()) };
    std::env::set_current_dir(directory)
        .with_context(|| format!("cannot go to {}", directory.display()))
        .map_err(Failure::usage)
}
