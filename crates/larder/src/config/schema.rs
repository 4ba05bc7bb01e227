//! Which settings there are: one row for each, from which files, variables, flags and the reference are read.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::error::Fault;
use super::settings::{KindSettings, ScopeSettings, Secret, Settings};
use super::size::{Amount, ByteSize};
use super::text::{
    duration_text, limit_of_number, limit_of_time, parse_duration, parse_limit_of_number,
    parse_limit_of_time, parse_switch,
};
use crate::key::{KindName, Scope};
use crate::policy::PolicyName;
use crate::stats::Level;

/// A setting that can be assigned.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the table `[cache]`; `NAME` stands for a kind's or scope's name.
    pub name: &'static str,
    /// What its values look like, for people.
    pub values: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What a file writes it as.
    pub(super) form: Form,
    pub(super) slot: Slot,
}

/// What a file writes a value as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `true` or `false`.
    Switch,
    /// An integer, or a word in quotes.
    Number,
    /// Text in quotes.
    Text,
}

/// Where the value goes and how it is written.
#[derive(Debug)]
pub(super) enum Slot {
    Plain {
        set: fn(&mut Settings, &Given<'_>) -> Result<(), Fault>,
        show: fn(&Settings) -> String,
    },
    Kind {
        set: fn(&mut KindSettings, &str) -> Result<(), Fault>,
        show: fn(&KindSettings) -> Option<String>,
    },
    Scope {
        set: fn(&mut ScopeSettings, &str) -> Result<(), Fault>,
        show: fn(&ScopeSettings) -> Option<String>,
    },
}

/// A value on its way into [`Settings`].
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) text: &'a str,
    /// What a relative path is relative to.
    pub(super) base: &'a Path,
    pub(super) home: Option<&'a Path>,
}

impl Setting {
    /// The variable that assigns it: `LARDER_MEMORY_BUDGET` for `memory.budget`. Those of one kind or scope have
    /// none.
    pub fn variable(&self) -> Option<String> {
        let plain = matches!(self.slot, Slot::Plain { .. });
        plain.then(|| format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "_").to_uppercase()))
    }
}

/// What the names of larder's own variables begin with.
pub(super) const VARIABLE_PREFIX: &str = "LARDER_";

macro_rules! plain {
    ($name:literal, $form:ident, $values:literal, $about:literal, $set:expr, $show:expr) => {
        Setting {
            name: $name,
            values: $values,
            about: $about,
            form: Form::$form,
            slot: Slot::Plain { set: $set, show: $show },
        }
    };
}

/// All settings, in the order of the reference.
pub static SETTINGS: &[Setting] = &[
    plain!(
        "profile",
        Text,
        "development, production or ci",
        "which set of defaults is taken",
        |s, given| given.text.parse().map(|profile| s.profile = profile),
        |s| s.profile.to_string()
    ),
    plain!(
        "dir",
        Text,
        "a path",
        "where the disk tier lives; a relative path in a file is relative to that file",
        |s, given| path("dir", given).map(|path| s.dir = path),
        |s| s.dir.display().to_string()
    ),
    plain!(
        "mode",
        Text,
        "off, read, write or read-write",
        "whether kept answers are used (read) and new ones kept (write); off computes everything",
        |s, given| given.text.parse().map(|mode| s.mode = mode),
        |s| s.mode.to_string()
    ),
    plain!(
        "producer",
        Text,
        "text or \"auto\"",
        "who computes here, as others are told who made a result; auto is the account and the machine",
        |s, given| producer(given.text).map(|producer| s.producer = producer),
        |s| s.producer.clone().unwrap_or_else(|| "auto".to_owned())
    ),
    plain!(
        "jobs",
        Number,
        "a number or \"auto\"",
        "how many computations run at once; auto is as many as there are processors",
        |s, given| jobs(given.text).map(|jobs| s.jobs = jobs),
        |s| s.jobs.map_or("auto".to_owned(), |jobs| jobs.to_string())
    ),
    plain!(
        "memory.enabled",
        Switch,
        "true or false",
        "whether answers are kept in memory",
        |s, given| parse_switch(given.text).map(|on| s.memory.enabled = on),
        |s| s.memory.enabled.to_string()
    ),
    plain!(
        "memory.budget",
        Text,
        "a size, a share of the available memory or \"auto\"",
        "how much memory entries may take; auto is a tenth of the available memory, from 32 MiB to 1 GiB; a run of one \
         command takes 2 GiB to be available",
        |s, given| memory_budget(given.text).map(|budget| s.memory.budget = budget),
        |s| s.memory.budget.map_or("auto".to_owned(), |budget| budget.to_string())
    ),
    plain!(
        "memory.entries",
        Number,
        "a number or \"unlimited\"",
        "how many entries may be in memory",
        |s, given| parse_limit_of_number(given.text).map(|limit| s.memory.entries = limit),
        |s| limit_of_number(s.memory.entries)
    ),
    plain!(
        "memory.policy",
        Text,
        "lru, lfu, fifo, size, s3-fifo or cost",
        "who leaves memory first; cost keeps what saves the most computing per byte",
        |s, given| policy(&MEMORY_POLICIES, given.text).map(|policy| s.memory.policy = policy),
        |s| s.memory.policy.to_string()
    ),
    plain!(
        "disk.enabled",
        Switch,
        "true or false",
        "whether answers are kept on disk",
        |s, given| parse_switch(given.text).map(|on| s.disk.enabled = on),
        |s| s.disk.enabled.to_string()
    ),
    plain!(
        "disk.budget",
        Text,
        "a size or a share of the file system",
        "how much disk entries may take",
        |s, given| not_zero("disk.budget", "disk.enabled", given.text).map(|budget| s.disk.budget = budget),
        |s| s.disk.budget.to_string()
    ),
    plain!(
        "disk.entries",
        Number,
        "a number or \"unlimited\"",
        "how many entries may be on disk",
        |s, given| parse_limit_of_number(given.text).map(|limit| s.disk.entries = limit),
        |s| limit_of_number(s.disk.entries)
    ),
    plain!(
        "disk.max_age",
        Text,
        "a duration or \"never\"",
        "how long after its last use an entry leaves the disk",
        |s, given| parse_limit_of_time(given.text).map(|limit| s.disk.max_age = limit),
        |s| limit_of_time(s.disk.max_age)
    ),
    plain!(
        "disk.min_free",
        Text,
        "a size or a share of the file system",
        "how much of the file system is left free",
        |s, given| given.text.parse().map(|floor| s.disk.min_free = floor),
        |s| s.disk.min_free.to_string()
    ),
    plain!(
        "disk.reserved",
        Text,
        "a size or a share of the file system",
        "how much is kept on disk however little of the file system is free, at most half of it",
        |s, given| given.text.parse().map(|reserved| s.disk.reserved = reserved),
        |s| s.disk.reserved.to_string()
    ),
    plain!(
        "disk.compression",
        Number,
        "0 to 19",
        "the zstd level of stored values; 0 stores them as they are",
        |s, given| compression(given.text).map(|level| s.disk.compression = level),
        |s| s.disk.compression.to_string()
    ),
    plain!(
        "disk.policy",
        Text,
        "lru or cost",
        "who leaves the disk first",
        |s, given| policy(&DISK_POLICIES, given.text).map(|policy| s.disk.policy = policy),
        |s| s.disk.policy.to_string()
    ),
    plain!(
        "shared",
        Text,
        "a URL or \"none\"",
        "the tier that a team shares",
        |s, given| shared_url("shared", given.text).map(|url| s.shared.url = url),
        |s| s.shared.shown_url().unwrap_or_else(|| "none".to_owned())
    ),
    plain!(
        "shared_token",
        Text,
        "text or \"none\"",
        "what says to the shared tier who asks; shown nowhere",
        |s, given| shared_token(given.text).map(|token| s.shared.token = token),
        |s| if s.shared.token.is_some() { "***" } else { "none" }.to_owned()
    ),
    plain!(
        "shared_blobs",
        Text,
        "a URL or \"none\"",
        "where the shared tier's large values are, if that is another server",
        |s, given| shared_url("shared_blobs", given.text).map(|url| s.shared.blobs = url),
        |s| s.shared.shown_blobs().unwrap_or_else(|| "none".to_owned())
    ),
    plain!(
        "shared_read",
        Switch,
        "true or false",
        "whether kept answers are taken from the shared tier",
        |s, given| parse_switch(given.text).map(|on| s.shared.reads = on),
        |s| s.shared.reads.to_string()
    ),
    plain!(
        "shared_write",
        Switch,
        "true or false",
        "whether new answers are sent to the shared tier",
        |s, given| parse_switch(given.text).map(|on| s.shared.writes = on),
        |s| s.shared.writes.to_string()
    ),
    plain!(
        "shared_patience",
        Text,
        "a duration",
        "how long a run waits for the shared tier in vain, all waits added up, before it leaves it alone",
        |s, given| parse_duration(given.text).map(|patience| s.shared.patience = patience),
        |s| duration_text(s.shared.patience)
    ),
    plain!(
        "shared_wait",
        Text,
        "a duration",
        "how long a computation waits at most for another machine that is at the same",
        |s, given| parse_duration(given.text).map(|waits| s.shared.waits = waits),
        |s| duration_text(s.shared.waits)
    ),
    plain!(
        "shared_max_age",
        Text,
        "a duration",
        "how long after it was sent an entry stays in the shared tier",
        |s, given| parse_duration(given.text).map(|age| s.shared.max_age = age),
        |s| duration_text(s.shared.max_age)
    ),
    plain!(
        "shared_bandwidth",
        Text,
        "a size or \"unlimited\"",
        "how many bytes go to the shared tier and come from it in a second, both together",
        |s, given| bandwidth(given.text).map(|bandwidth| s.shared.bandwidth = bandwidth),
        |s| s.shared.bandwidth.map_or("unlimited".to_owned(), |bandwidth| bandwidth.to_string())
    ),
    plain!(
        "shared_ca",
        Text,
        "a path or \"none\"",
        "a file with the issuers' certificates that the shared tier's has to come from; none is those that this machine trusts",
        |s, given| optional_path("shared_ca", given).map(|path| s.shared.ca = path),
        |s| optional_path_text(s.shared.ca.as_ref())
    ),
    plain!(
        "shared_cert",
        Text,
        "a path or \"none\"",
        "a file with the certificate that this machine shows to the shared tier",
        |s, given| optional_path("shared_cert", given).map(|path| s.shared.cert = path),
        |s| optional_path_text(s.shared.cert.as_ref())
    ),
    plain!(
        "shared_key",
        Text,
        "a path or \"none\"",
        "a file with the key of that certificate",
        |s, given| optional_path("shared_key", given).map(|path| s.shared.key = path),
        |s| optional_path_text(s.shared.key.as_ref())
    ),
    plain!(
        "stats.level",
        Text,
        "off, counters, sampled or full",
        "how much is counted: nothing, how often, also how long for a few, also how long for all",
        |s, given| stats_level(given.text).map(|level| s.stats.level = level),
        |s| s.stats.level.to_string()
    ),
    plain!(
        "stats.history",
        Text,
        "a duration",
        "how long the history of the numbers is kept",
        |s, given| parse_duration(given.text).map(|history| s.stats.history = history),
        |s| duration_text(s.stats.history)
    ),
    Setting {
        name: "kind.NAME.budget",
        values: "a size",
        about: "how much memory the entries of one kind may take",
        form: Form::Text,
        slot: Slot::Kind {
            set: |kind, text| quota(text).map(|budget| kind.budget = Some(budget)),
            show: |kind| kind.budget.map(|budget| budget.to_string()),
        },
    },
    Setting {
        name: "kind.NAME.max_age",
        values: "a duration",
        about: "how long after it was made an entry of one kind is used",
        form: Form::Text,
        slot: Slot::Kind {
            set: |kind, text| parse_duration(text).map(|age| kind.max_age = Some(age)),
            show: |kind| kind.max_age.map(duration_text),
        },
    },
    Setting {
        name: "scope.NAME.budget",
        values: "a size",
        about: "how much memory the entries of one scope may take",
        form: Form::Text,
        slot: Slot::Scope {
            set: |scope, text| quota(text).map(|budget| scope.budget = Some(budget)),
            show: |scope| scope.budget.map(|budget| budget.to_string()),
        },
    },
];

fn path(setting: &str, given: &Given<'_>) -> Result<PathBuf, Fault> {
    if given.text.is_empty() {
        return Err(Fault::Empty { setting: setting.to_owned() });
    }
    let below_home = given.text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (below_home, given.home) {
        (None, _) => Ok(given.base.join(given.text)),
        (Some(rest), Some(home)) => Ok(home.join(rest.trim_start_matches('/'))),
        (Some(_), None) => Err(Fault::NoHome { text: given.text.to_owned() }),
    }
}

fn optional_path(setting: &str, given: &Given<'_>) -> Result<Option<PathBuf>, Fault> {
    if given.text == "none" { Ok(None) } else { path(setting, given).map(Some) }
}

fn optional_path_text(path: Option<&PathBuf>) -> String {
    path.map_or("none".to_owned(), |path| path.display().to_string())
}

fn producer(text: &str) -> Result<Option<String>, Fault> {
    match text {
        "" => Err(Fault::Empty { setting: "producer".to_owned() }),
        "auto" => Ok(None),
        text => Ok(Some(text.to_owned())),
    }
}

fn shared_url(setting: &str, text: &str) -> Result<Option<String>, Fault> {
    match text {
        "" => Err(Fault::Empty { setting: setting.to_owned() }),
        "none" => Ok(None),
        text => Ok(Some(text.to_owned())),
    }
}

fn shared_token(text: &str) -> Result<Option<Secret>, Fault> {
    match text {
        "" => Err(Fault::Empty { setting: "shared_token".to_owned() }),
        "none" => Ok(None),
        text => Ok(Some(Secret::new(text))),
    }
}

fn bandwidth(text: &str) -> Result<Option<ByteSize>, Fault> {
    match text {
        "unlimited" => Ok(None),
        text => match text.parse()? {
            ByteSize(0) => {
                Err(Fault::Number { text: text.to_owned(), expected: "a size above 0 B or \"unlimited\"" })
            }
            bandwidth => Ok(Some(bandwidth)),
        },
    }
}

fn jobs(text: &str) -> Result<Option<NonZeroUsize>, Fault> {
    if text == "auto" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Fault::Number { text: text.to_owned(), expected: "a number from 1 on or \"auto\"" })
}

fn memory_budget(text: &str) -> Result<Option<Amount>, Fault> {
    if text == "auto" { Ok(None) } else { not_zero("memory.budget", "memory.enabled", text).map(Some) }
}

fn not_zero(setting: &str, instead: &'static str, text: &str) -> Result<Amount, Fault> {
    match text.parse()? {
        Amount::Bytes(ByteSize(0)) => Err(Fault::Zero { setting: setting.to_owned(), instead }),
        amount => Ok(amount),
    }
}

fn quota(text: &str) -> Result<ByteSize, Fault> {
    text.parse()
}

fn compression(text: &str) -> Result<u8, Fault> {
    let level = text.parse().ok().filter(|level| *level <= 19);
    level.ok_or_else(|| Fault::Number { text: text.to_owned(), expected: "a number from 0 to 19" })
}

/// The words for all values of an enum, as a constant.
macro_rules! words {
    ($type:ty) => {{
        let mut words = [""; <$type>::ALL.len()];
        let mut n = 0;
        while n < words.len() {
            words[n] = <$type>::ALL[n].as_str();
            n += 1;
        }
        words
    }};
}

/// Policies that the memory tier may have.
const MEMORY_POLICIES: [&str; PolicyName::ALL.len()] = words!(PolicyName);
const STATS_LEVELS: [&str; Level::ALL.len()] = words!(Level);

/// Policies that the disk tier may have: the others go by what a tier that several processes share cannot know.
const DISK_POLICIES: [&str; 2] = [PolicyName::Lru.as_str(), PolicyName::Cost.as_str()];

fn policy(choices: &'static [&'static str], text: &str) -> Result<PolicyName, Fault> {
    let allowed = text.parse().ok().filter(|policy: &PolicyName| choices.contains(&policy.as_str()));
    allowed.ok_or_else(|| none_of(choices, text))
}

fn stats_level(text: &str) -> Result<Level, Fault> {
    text.parse().map_err(|_| none_of(&STATS_LEVELS, text))
}

fn none_of(choices: &'static [&'static str], text: &str) -> Fault {
    let suggestion = nearest(text, choices.iter().copied());
    Fault::Choice { text: text.to_owned(), choices, suggestion }
}

/// A setting, and of which kind or scope if it is one of those.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) setting: &'static Setting,
    pub(super) of: Option<String>,
}

impl Target {
    /// Finds a setting by its name, `kind.task.budget` included.
    pub(super) fn find(name: &str) -> Result<Self, Fault> {
        let group = ["kind", "scope"].into_iter().find_map(|group| Some((group, name.strip_prefix(group)?)));
        if let Some((group, rest)) = group
            && let Some((of, last)) = rest.strip_prefix('.').and_then(|rest| rest.rsplit_once('.'))
        {
            return Self::find_in_group(group, of.trim_matches('"'), last);
        }
        let plain = |setting: &&Setting| matches!(setting.slot, Slot::Plain { .. }) && setting.name == name;
        match SETTINGS.iter().find(plain) {
            Some(setting) => Ok(Self { setting, of: None }),
            None => Err(Fault::UnknownSetting { name: name.to_owned(), suggestion: similar_setting(name) }),
        }
    }

    /// Finds a setting of one kind or scope.
    pub(super) fn find_in_group(group: &str, of: &str, last: &str) -> Result<Self, Fault> {
        valid_name(group, of)?;
        let pattern = format!("{group}.NAME.{last}");
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == pattern) {
            return Ok(Self { setting, of: Some(of.to_owned()) });
        }
        let siblings = SETTINGS.iter().filter_map(|setting| {
            let (before, last) = setting.name.rsplit_once('.')?;
            (before.strip_suffix(".NAME") == Some(group)).then_some(last)
        });
        let suggestion = nearest(last, siblings).map(|last| format!("{group}.{of}.{last}"));
        Err(Fault::UnknownSetting { name: format!("{group}.{of}.{last}"), suggestion })
    }

    /// The whole name.
    pub(super) fn name(&self) -> String {
        match &self.of {
            None => self.setting.name.to_owned(),
            Some(of) if of.contains('.') => self.setting.name.replace("NAME", &format!("{of:?}")),
            Some(of) => self.setting.name.replace("NAME", of),
        }
    }

    /// Puts the value where it belongs.
    pub(super) fn set(&self, settings: &mut Settings, given: &Given<'_>) -> Result<(), Fault> {
        let of = || self.of.clone().unwrap_or_default();
        match self.setting.slot {
            Slot::Plain { set, .. } => set(settings, given),
            Slot::Kind { set, .. } => set(settings.kinds.entry(of()).or_default(), given.text),
            Slot::Scope { set, .. } => set(settings.scopes.entry(of()).or_default(), given.text),
        }
    }
}

/// Whether `of` may be the name of a kind or a scope, whichever `group` is.
pub(super) fn valid_name(group: &str, of: &str) -> Result<(), Fault> {
    let (what, valid) = match group {
        "kind" => ("kind", KindName::new(of, 1).is_ok()),
        _ => ("scope", Scope::new(of).is_ok()),
    };
    if valid { Ok(()) } else { Err(Fault::Name { what, name: of.to_owned() }) }
}

/// The setting whose name, or whose last part alone, is like this one.
fn similar_setting(name: &str) -> Option<String> {
    let names = || SETTINGS.iter().map(|setting| setting.name).filter(|name| !name.contains("NAME"));
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    nearest(name, names()).or_else(|| names().find(|other| last(other) == last(name)).map(str::to_owned))
}

/// The most similar of `all`, if it is similar at all.
pub(super) fn nearest<'a>(text: &str, all: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let text = text.to_lowercase();
    let scored =
        all.into_iter().map(|other| (strsim::damerau_levenshtein(&text, &other.to_lowercase()), other));
    let (distance, other) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + text.chars().count() / 4).then(|| other.to_owned())
}
