//! Putting layers over one another.

use std::collections::BTreeMap;

use super::error::{ConfigError, Excerpt, Fault, Problem};
use super::layers::{Assignment, Layers, Origin};
use super::schema::{Given, SETTINGS, Setting, Slot, Target};
use super::settings::{Profile, Settings};
use super::size::Amount;

/// Settings, each with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    settings: Settings,
    /// By whole name; a setting that is not here has its default.
    origins: BTreeMap<String, (Origin, Option<Excerpt>)>,
}

/// One setting, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its whole name, without `cache.`.
    pub name: String,
    /// Its value, as it can be written.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Config {
    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Each setting, in the order of [`SETTINGS`]; those of kinds and scopes where they are assigned.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for setting in SETTINGS {
            match setting.slot {
                Slot::Plain { show, .. } => rows.extend(self.row(setting, None, Some(show(&self.settings)))),
                Slot::Kind { show, .. } => {
                    for (name, kind) in &self.settings.kinds {
                        rows.extend(self.row(setting, Some(name), show(kind)));
                    }
                }
                Slot::Scope { show, .. } => {
                    for (name, scope) in &self.settings.scopes {
                        rows.extend(self.row(setting, Some(name), show(scope)));
                    }
                }
            }
        }
        rows
    }

    fn row(&self, setting: &'static Setting, of: Option<&String>, value: Option<String>) -> Option<Row> {
        let name = Target { setting, of: of.cloned() }.name();
        let origin = self.origin(&name);
        Some(Row { name, value: value?, origin })
    }

    fn origin(&self, name: &str) -> Origin {
        self.origins.get(name).map_or(Origin::Default, |(origin, _)| origin.clone())
    }

    /// A problem if `setting`, a limit inside `other`, is larger than it.
    fn larger(
        &self,
        setting: &str,
        value: Option<Amount>,
        other: &str,
        other_value: Option<Amount>,
    ) -> Option<Problem> {
        let (value, other_value) = value.zip(other_value)?;
        let too_large = match (value, other_value) {
            (Amount::Bytes(value), Amount::Bytes(other_value)) => value > other_value,
            // What a share comes to depends on the machine; a limit cut short by a machine is no contradiction.
            _ => false,
        };
        too_large.then(|| self.contradiction(setting, value.to_string(), other, other_value.to_string()))
    }

    /// The problem stands at the stronger of the two, as that is what changed the picture.
    fn contradiction(&self, first: &str, first_value: String, second: &str, second_value: String) -> Problem {
        let (mut one, mut two) = ((first, first_value), (second, second_value));
        if self.origin(one.0).layer() < self.origin(two.0).layer() {
            std::mem::swap(&mut one, &mut two);
        }
        let fault = Fault::Contradiction {
            setting: one.0.to_owned(),
            value: one.1,
            other: two.0.to_owned(),
            other_value: two.1,
            other_origin: Box::new(self.origin(two.0)),
        };
        let excerpt = self.origins.get(one.0).and_then(|(_, excerpt)| excerpt.clone());
        Problem { origin: self.origin(one.0), fault, excerpt }
    }

    /// Limits that cannot all hold.
    fn contradictions(&self) -> Vec<Problem> {
        let settings = &self.settings;
        let mut problems = Vec::new();
        let quotas = settings.kinds.iter().map(|(name, kind)| ("kind", name, kind.budget));
        let quotas = quotas.chain(settings.scopes.iter().map(|(name, scope)| ("scope", name, scope.budget)));
        for (group, of, budget) in quotas {
            if let Ok(target) = Target::find_in_group(group, of, "budget") {
                let budget = budget.map(Amount::Bytes);
                problems.extend(self.larger(&target.name(), budget, "memory.budget", settings.memory.budget));
            }
        }
        if let (Amount::Share(budget), Amount::Share(free)) = (settings.disk.budget, settings.disk.min_free)
            && budget + free > 10_000
        {
            let (budget, free) = (settings.disk.budget.to_string(), settings.disk.min_free.to_string());
            problems.push(self.contradiction("disk.budget", budget, "disk.min_free", free));
        }
        problems
    }
}

impl Layers {
    /// Puts the layers over one another, or returns everything that is wrong in any of them.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let Self { places, mut assignments, mut problems } = self;
        assignments.sort_by_key(|assignment| assignment.origin.layer());
        let dir_is_known = assignments.iter().any(|assignment| assignment.target.setting.name == "dir");
        if places.default_dir.is_none() && !dir_is_known {
            problems.push(Problem { origin: Origin::Default, fault: Fault::NoDir, excerpt: None });
        }
        let settings = Settings::new(places.default_dir.unwrap_or_default());
        let mut config = Config { settings, origins: BTreeMap::new() };
        for (name, text) in profile(&assignments).assignments() {
            let given = Given { text, base: &places.current_dir, home: places.home.as_deref() };
            let target = Target::find(name).expect("profiles name settings that there are");
            target.set(&mut config.settings, &given).expect("profiles have values that settings take");
            config.origins.insert(target.name(), (Origin::Profile(profile(&assignments)), None));
        }
        for Assignment { target, text, base, origin, excerpt } in assignments {
            let given = Given { text: &text, base: &base, home: places.home.as_deref() };
            match target.set(&mut config.settings, &given) {
                Ok(()) => {
                    config.origins.insert(target.name(), (origin, excerpt));
                }
                Err(fault) => problems.push(Problem { origin, fault, excerpt }),
            }
        }
        // A value that could not be read leaves a weaker one in its place, which may contradict for no reason.
        if problems.is_empty() {
            problems = config.contradictions();
        }
        let line = |problem: &Problem| match problem.origin {
            Origin::File { line, .. } => line,
            _ => 0,
        };
        problems.sort_by_key(|problem| (problem.origin.layer(), line(problem)));
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }
}

/// The strongest layer that names a profile decides.
fn profile(assignments: &[Assignment]) -> Profile {
    let named = assignments.iter().rev().filter(|assignment| assignment.target.setting.name == "profile");
    named.filter_map(|assignment| assignment.text.parse().ok()).next().unwrap_or(Profile::Development)
}
