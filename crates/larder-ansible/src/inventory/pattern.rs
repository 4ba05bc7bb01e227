//! Host patterns: `web*:&prod:!db[0]`, and which hosts they choose, in Ansible's order.
//!
//! Rules and their quirks are those of `ansible/inventory/manager.py`: a pattern that matches a group stands for
//! its hosts, `&` and `!` are applied last wherever they stand, and a subscript counts what its pattern found.
//! Regular expressions after `~` are matched from the start of a name, within a bound of steps.
//! Not here: files named by `--limit @file` (whoever reads them gives their lines).

use std::collections::HashSet;

use fancy_regex::{Regex, RegexBuilder};

use super::address;
use super::glob::Glob;
use super::model::{ALL, Inventory, LOCALHOST};
use crate::problem::Problem;

/// How many steps back a regular expression takes for one name.
const STEPS_LIMIT: usize = 100_000;
/// How large a regular expression becomes.
const SIZE_LIMIT_BYTES: usize = 1 << 20;

/// Hosts that patterns chose.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Chosen {
    /// Names of hosts, each once, in the order in which a play has them.
    pub hosts: Vec<Box<str>>,
    /// The one of them that is this machine and is not in the inventory.
    pub implicit: Option<Box<str>>,
    /// Patterns that matched nothing.
    pub unmatched: Vec<Box<str>>,
}

/// Single patterns of a text that has several, separated by commas or, where it has none, by colons.
pub fn split(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = if text.contains(',') {
        text.split(',').collect()
    } else if address::parse(text).is_some() {
        vec![text]
    } else {
        split_at_colons(text)
    };
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Runs of what is neither space nor a colon, where brackets with anything between them count as one.
fn split_at_colons(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = None;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let len = match c {
            '[' => text[at..].find(']').map(|end| end + 1),
            ':' | ']' => None,
            c if c.is_whitespace() => None,
            c => Some(c.len_utf8()),
        };
        match len {
            Some(len) => {
                start.get_or_insert(at);
                at += len;
            }
            None => {
                parts.extend(start.take().map(|start| &text[start..at]));
                at += c.len_utf8();
            }
        }
    }
    parts.extend(start.map(|start| &text[start..]));
    parts
}

/// The hosts that `patterns` choose and, if there is a `limit`, that its patterns choose too.
///
/// Each pattern is a single one, as [`split`] makes them. Problems name a pattern that does not read.
pub fn choose(inventory: &Inventory, patterns: &[&str], limit: Option<&[&str]>) -> Result<Chosen, Problem> {
    let mut choosing = Choosing { inventory, unmatched: Vec::new(), implicit: None };
    let mut hosts = choosing.evaluate(patterns)?;
    if let Some(limit) = limit {
        let limit: HashSet<Match> = choosing.evaluate(limit)?.into_iter().collect();
        hosts.retain(|host| limit.contains(host));
    }
    let mut seen = HashSet::new();
    hosts.retain(|host| seen.insert(*host));
    let mut chosen = Chosen { unmatched: choosing.unmatched, ..Chosen::default() };
    for host in hosts {
        let name = match host {
            Match::Host(host) => inventory.hosts[host as usize].name.clone(),
            Match::Implicit => {
                chosen.implicit = choosing.implicit.clone();
                chosen.implicit.clone().unwrap_or_default()
            }
        };
        chosen.hosts.push(name);
    }
    Ok(chosen)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Match {
    Host(u32),
    /// This machine, which is not in the inventory.
    Implicit,
}

struct Choosing<'a> {
    inventory: &'a Inventory,
    unmatched: Vec<Box<str>>,
    /// The name that this machine was first asked for by.
    implicit: Option<Box<str>>,
}

impl Choosing<'_> {
    fn evaluate(&mut self, patterns: &[&str]) -> Result<Vec<Match>, Problem> {
        let patterns = || patterns.iter().copied().filter(|pattern| !pattern.is_empty());
        let is_plain = |pattern: &&str| !pattern.starts_with(['!', '&']);
        let mut hosts: Vec<Match> = Vec::new();
        let mut present = HashSet::new();
        let plain: Vec<&str> = patterns().filter(is_plain).collect();
        for pattern in if plain.is_empty() { vec!["all"] } else { plain } {
            let found = match self.inventory.host_index(pattern) {
                Some(host) => vec![Match::Host(host)],
                None => self.matching(pattern)?,
            };
            let new = found.into_iter().filter(|host| !present.contains(host)).collect::<Vec<_>>();
            present.extend(new.iter().copied());
            hosts.extend(new);
        }
        for (sign, keep) in [('&', true), ('!', false)] {
            for pattern in patterns().filter(|pattern| pattern.starts_with(sign)) {
                if let Some(host) = self.inventory.host_index(pattern) {
                    // A host that is named so is no modifier.
                    hosts.push(Match::Host(host));
                    continue;
                }
                let those: HashSet<Match> = self.matching(&pattern[1..])?.into_iter().collect();
                hosts.retain(|host| those.contains(host) == keep);
            }
        }
        Ok(hosts)
    }

    /// What one pattern without a modifier matches.
    fn matching(&mut self, pattern: &str) -> Result<Vec<Match>, Problem> {
        if pattern.is_empty() {
            return Err(Problem::nowhere("a host pattern is nothing but `!` or `&`")
                .remedy("write what is meant after it, as in `!db`"));
        }
        let (name, subscript) = split_subscript(pattern);
        let found = self.enumerate(name)?;
        let Some(subscript) = subscript.filter(|_| !found.is_empty()) else { return Ok(found) };
        let len = i64::try_from(found.len()).unwrap_or(i64::MAX);
        // Python's slice takes what there is; a single number must be there.
        let range = match subscript {
            Subscript::At(at) => {
                let from_start = if at < 0 { len.saturating_add(at) } else { at };
                if !(0..len).contains(&from_start) {
                    return Err(no_such(pattern));
                }
                from_start..from_start + 1
            }
            Subscript::Range(start, 0) if start >= len => return Err(no_such(pattern)),
            Subscript::Range(start, 0) => start..start + 1,
            Subscript::Range(start, end) => start.min(len)..end.saturating_add(1).min(len),
            Subscript::From(start) => start.min(len)..len,
        };
        let range = range.start as usize..range.end.max(range.start) as usize;
        Ok(found[range].to_vec())
    }

    fn enumerate(&mut self, pattern: &str) -> Result<Vec<Match>, Problem> {
        let inventory = self.inventory;
        let mut found: Vec<Match> = Vec::new();
        let mut is_group = false;
        let mut hosts = Vec::new();
        // A name without signs matches itself alone, and need not be held against all.
        let is_name = !pattern.starts_with('~') && !pattern.contains(['*', '?', '[']);
        if is_name {
            let groups: Vec<u32> = inventory.group_index(pattern).into_iter().collect();
            is_group = !groups.is_empty();
            found.extend(groups.iter().flat_map(|&group| inventory.hosts_below(group)).map(Match::Host));
            if !is_group || pattern.contains('.') {
                hosts.extend(inventory.host_index(pattern));
            }
        } else {
            let names = Names::new(pattern)?;
            for (at, group) in inventory.groups.iter().enumerate() {
                if names.matches(&group.name, pattern)? {
                    is_group = true;
                    found.extend(inventory.hosts_below(at as u32).into_iter().map(Match::Host));
                }
            }
            for (at, host) in inventory.hosts.iter().enumerate() {
                if names.matches(&host.name, pattern)? {
                    hosts.push(at as u32);
                }
            }
        }
        found.extend(hosts.into_iter().map(Match::Host));
        if found.is_empty() && LOCALHOST.contains(&pattern) {
            found.push(match inventory.localhost {
                Some(host) => Match::Host(host),
                None => {
                    self.implicit.get_or_insert_with(|| pattern.into());
                    Match::Implicit
                }
            });
        }
        if found.is_empty()
            && !is_group
            && pattern != "all"
            && !self.unmatched.iter().any(|it| **it == *pattern)
        {
            self.unmatched.push(pattern.into());
        }
        Ok(found)
    }
}

fn no_such(pattern: &str) -> Problem {
    Problem::nowhere(format!("no host is at the subscript of pattern `{pattern}`"))
        .remedy("subscripts count from 0, and from -1 at the end")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscript {
    At(i64),
    Range(i64, i64),
    From(i64),
}

/// A pattern and the subscript at its end.
fn split_subscript(pattern: &str) -> (&str, Option<Subscript>) {
    let parse = || {
        let inside = pattern.strip_suffix(']')?;
        let (name, subscript) = inside.rsplit_once('[')?;
        let number = |digits: &str| {
            let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            // A number that does not fit is beyond every list.
            all.then(|| digits.parse::<i64>().unwrap_or(i64::MAX / 2))
        };
        if name.is_empty() {
            return None;
        }
        if let Some(at) = number(subscript) {
            return Some((name, Subscript::At(at)));
        }
        if let Some(at) = subscript.strip_prefix('-').and_then(number) {
            return Some((name, Subscript::At(-at)));
        }
        let (start, end) = subscript.split_once([':', '-'])?;
        let start = number(start)?;
        let subscript =
            if end.is_empty() { Subscript::From(start) } else { Subscript::Range(start, number(end)?) };
        Some((name, subscript))
    };
    if pattern.starts_with('~') {
        return (pattern, None);
    }
    parse().map_or((pattern, None), |(name, subscript)| (name, Some(subscript)))
}

enum Names {
    Glob(Glob),
    Regex(Box<Regex>),
}

impl Names {
    fn new(pattern: &str) -> Result<Self, Problem> {
        let Some(expression) = pattern.strip_prefix('~') else { return Ok(Self::Glob(Glob::new(pattern))) };
        let refused = |reason: &str| {
            Problem::nowhere(format!("host pattern `{pattern}` is no regular expression: {reason}"))
                .remedy("what follows `~` is a regular expression of Python's")
        };
        if calls_itself(expression) {
            return Err(refused("bad escape \\g"));
        }
        // Python matches from the start, and not to the end.
        let anchored = format!(r"\A(?:{expression})");
        let regex = RegexBuilder::new(&anchored)
            .backtrack_limit(STEPS_LIMIT)
            .delegate_size_limit(SIZE_LIMIT_BYTES)
            .delegate_dfa_size_limit(SIZE_LIMIT_BYTES)
            .build();
        let regex = regex.map_err(|error| {
            // Its position counts what stands around the pattern.
            let reason = error.to_string();
            refused(&reason.rsplit(": ").next().unwrap_or_default().to_lowercase())
        })?;
        for group in conditions(expression) {
            let is_number = group.bytes().all(|byte| byte.is_ascii_digit());
            let is_there = group.parse().is_ok_and(|number| (1..regex.captures_len()).contains(&number));
            if !is_number {
                return Err(refused(&format!("bad character in group name '{group}'")));
            } else if !is_there {
                return Err(refused(&format!("invalid group reference {group}")));
            }
        }
        Ok(Self::Regex(Box::new(regex)))
    }

    fn matches(&self, name: &str, pattern: &str) -> Result<bool, Problem> {
        match self {
            Self::Glob(glob) => Ok(glob.matches(name)),
            Self::Regex(regex) => regex.is_match(name).map_err(|_| {
                Problem::nowhere(format!("host pattern `{pattern}` takes too long to match `{name}`"))
                    .remedy("write it without nested repetitions")
            }),
        }
    }
}

/// Whether `\g` stands in an expression. Python has no such thing; here it would stand for a part of the expression, or
/// for all of it, which may be built without end.
fn calls_itself(expression: &str) -> bool {
    let mut chars = expression.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next() == Some('g') {
            return true;
        }
    }
    false
}

/// The groups that conditions like `(?(1)yes|no)` ask for, but those by name. The engine trusts that they are there, and
/// has other ways to write them, which Python has not.
fn conditions(expression: &str) -> impl Iterator<Item = &str> {
    expression.match_indices("(?(").filter_map(|(at, start)| {
        let escapes = expression[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        let (group, _) = expression[at + start.len()..].split_once(')')?;
        let is_group = group.starts_with(|c: char| c.is_ascii_digit() || "+-<'".contains(c));
        (escapes % 2 == 0 && is_group).then_some(group)
    })
}

impl Inventory {
    /// The names of all hosts, in the order in which a play on `all` has them.
    pub fn all_hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts_below(ALL).into_iter().map(|host| &*self.hosts[host as usize].name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_split_at_commas_or_else_at_colons_that_are_no_part_of_an_address() {
        for (text, parts) in [
            ("all:&web:!db", &["all", "&web", "!db"][..]),
            ("a,b[1], c[2:3] , d,", &["a", "b[1]", "c[2:3]", "d"]),
            ("web[0:2]:db", &["web[0:2]", "db"]),
            ("fe80::1", &["fe80::1"]),
            ("fe80::1,web", &["fe80::1", "web"]),
            ("web:22", &["web:22"]),
            ("web[0:2]", &["web[0:2]"]),
            ("~(a|b)", &["~(a|b)"]),
            ("a b:c", &["a", "b", "c"]),
            ("a[b:c", &["a", "b", "c"]),
            ("", &[]),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }

    #[test]
    fn subscripts_are_told_from_classes() {
        assert_eq!(split_subscript("web[0]"), ("web", Some(Subscript::At(0))));
        assert_eq!(split_subscript("web[-1]"), ("web", Some(Subscript::At(-1))));
        assert_eq!(split_subscript("web[0:2]"), ("web", Some(Subscript::Range(0, 2))));
        assert_eq!(split_subscript("web[1:]"), ("web", Some(Subscript::From(1))));
        assert_eq!(split_subscript("web[a-c]"), ("web[a-c]", None));
        assert_eq!(split_subscript("~web[0]"), ("~web[0]", None));
        assert_eq!(split_subscript("[0]"), ("[0]", None));
    }
}
