//! Collecting assignments from all layers, each with its origin.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{Excerpt, Fault, Problem};
use super::file;
use super::schema::{SETTINGS, Target, VARIABLE_PREFIX, nearest};
use super::settings::Profile;

/// Where values come from, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// What larder does if nobody says otherwise.
    Default,
    /// A set of defaults.
    Profile,
    /// The user's own file.
    User,
    /// The file at the root of a workspace.
    Project,
    /// Variables.
    Environment,
    /// The command line.
    Flag,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// What larder does if nobody says otherwise.
    Default,
    /// A set of defaults.
    Profile(Profile),
    /// A file.
    File {
        /// The user's or the project's.
        layer: Layer,
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// The variable of that name.
    Environment(String),
    /// The flag of that name.
    Flag(String),
}

impl Origin {
    /// The layer.
    pub fn layer(&self) -> Layer {
        match self {
            Self::Default => Layer::Default,
            Self::Profile(_) => Layer::Profile,
            Self::File { layer, .. } => *layer,
            Self::Environment(_) => Layer::Environment,
            Self::Flag(_) => Layer::Flag,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(profile) => write!(f, "profile {profile}"),
            Self::File { path, line, column, .. } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Directories that settings may refer to.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where the disk tier lives if nobody says otherwise. Without it, somebody has to.
    pub default_dir: Option<PathBuf>,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// What relative paths in variables and flags are relative to.
    pub current_dir: PathBuf,
}

/// One value for one setting.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) target: Target,
    pub(super) text: String,
    /// What a relative path is relative to.
    pub(super) base: PathBuf,
    pub(super) origin: Origin,
    pub(super) excerpt: Option<Excerpt>,
}

/// Layers as far as they are collected. The order in which they are added makes no difference, except that of two
/// flags for one setting the later wins.
#[derive(Debug)]
pub struct Layers {
    pub(super) places: Places,
    pub(super) assignments: Vec<Assignment>,
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    /// Starts with the defaults alone.
    pub fn new(places: Places) -> Self {
        Self { places, assignments: Vec::new(), problems: Vec::new() }
    }

    /// Adds the user's file, which may only have the table `[cache]`.
    pub fn user_file(&mut self, path: &Path, text: &str) {
        file::read(self, Layer::User, path, text);
    }

    /// Adds the file at the root of a workspace, of which only the table `[cache]` is looked at.
    pub fn project_file(&mut self, path: &Path, text: &str) {
        file::read(self, Layer::Project, path, text);
    }

    /// Adds the variables whose names begin with `LARDER_`. Those in `others` are not settings and somebody
    /// else's matter; any other that is no setting is a problem. An empty value is none.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        others: &[&str],
    ) {
        let mut known: Vec<(String, &str)> =
            SETTINGS.iter().filter_map(|setting| Some((setting.variable()?, setting.name))).collect();
        known.sort_unstable();
        let mut variables: Vec<(String, OsString)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, value)| {
                name.starts_with(VARIABLE_PREFIX) && !others.contains(&name.as_str()) && !value.is_empty()
            })
            .collect();
        variables.sort_unstable();
        for (name, value) in variables {
            let origin = Origin::Environment(name.clone());
            let Some((_, setting)) = known.iter().find(|(variable, _)| *variable == name) else {
                let suggestion = nearest(&name, known.iter().map(|(variable, _)| variable.as_str()));
                self.problems.push(Problem {
                    origin,
                    fault: Fault::UnknownVariable { suggestion },
                    excerpt: None,
                });
                continue;
            };
            match value.into_string() {
                Ok(text) => self.assign_by_name(setting, text, origin),
                Err(_) => self.problems.push(Problem { origin, fault: Fault::NotUtf8, excerpt: None }),
            }
        }
    }

    /// Adds a value from the command line, where `flag` is what the user wrote.
    pub fn flag(&mut self, flag: &str, setting: &str, value: &str) {
        self.assign_by_name(setting, value.to_owned(), Origin::Flag(flag.to_owned()));
    }

    fn assign_by_name(&mut self, name: &str, text: String, origin: Origin) {
        let base = self.places.current_dir.clone();
        match Target::find(name) {
            Ok(target) => self.assignments.push(Assignment { target, text, base, origin, excerpt: None }),
            Err(fault) => self.problems.push(Problem { origin, fault, excerpt: None }),
        }
    }
}
