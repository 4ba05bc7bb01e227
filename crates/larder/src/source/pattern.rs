//! Glob patterns, matched one path component at a time while a walk descends.
//!
//! A pattern is a list of components. A directory has a [`State`]: how far each pattern has come on the way to
//! it. From that follow, without ever looking at a whole path again: whether a name in the directory is
//! selected, whether anything below a subdirectory can be, and whether the directory has to be listed at all
//! (where only literal names can match, those are looked up one by one). A pattern that already covers all
//! that is below, as `src/**` does inside `src`, costs nothing per name.
//!
//! Rules of the language: patterns are anchored; `*`, `?` and `[…]` do not cross `/` and do match a leading
//! dot; `**` as a whole component stands for any number of directories; `{a,b}` is either; `\` takes the next
//! character literally; of several patterns that match a name, the last decides.
//! Not here: where patterns come from (`set`, `ignore`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::GlobMatcher;

use super::gitpattern::{GitRule, Wild};
use crate::glob::{self, GlobError};

/// A pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It starts with a slash.
    #[error("it must be relative to the directory that it is anchored at")]
    Absolute,
    /// It has a `..` component.
    #[error("it leads out of the directory that it is anchored at")]
    Outside,
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// Braces do not pair up.
    #[error("its braces do not pair up")]
    Braces,
    /// Its braces stand for too many patterns.
    #[error("its braces stand for more than {MAX_ALTERNATIVES} patterns")]
    Alternatives,
    /// It is too long or too deep, or a character class or an escape is not well formed.
    #[error(transparent)]
    Glob(#[from] GlobError),
}

/// How many patterns the braces of one pattern may stand for.
const MAX_ALTERNATIVES: usize = 256;

/// One component of a pattern.
#[derive(Debug)]
pub(super) enum Component {
    /// Exactly this name.
    Name(Box<[u8]>),
    /// Pieces with `*` between them: `["", ".rs"]` is `*.rs`. At least two.
    Stars(Box<[Box<[u8]>]>),
    /// Anything else.
    Glob(Box<GlobMatcher>),
    /// Anything else in a rule of git's.
    Wild(Wild),
    /// `**`: any number of directories. Never twice in a row.
    AnyDepth,
}

impl Component {
    /// A name of these parts, with any bytes between each and the next.
    pub(super) fn of_parts(parts: Vec<Vec<u8>>) -> Self {
        let mut parts: Vec<Box<[u8]>> = parts.into_iter().map(Into::into).collect();
        match parts.len() {
            1 => Self::Name(parts.remove(0)),
            _ => Self::Stars(parts.into()),
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Name(own) => **own == *name,
            Self::Stars(pieces) => stars_match(pieces, name),
            Self::Glob(glob) => glob.is_match(Path::new(OsStr::from_bytes(name))),
            Self::Wild(wild) => wild.matches(name),
            Self::AnyDepth => true,
        }
    }
}

fn stars_match(pieces: &[Box<[u8]>], name: &[u8]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    // Byte by byte: mostly the first byte compared differs, and a call to compare slices costs more than that.
    let begins = name.len() >= first.len() + last.len() && name.iter().zip(first).all(|(a, b)| a == b);
    if !begins || !name.iter().rev().zip(last.iter().rev()).all(|(a, b)| a == b) {
        return false;
    }
    let mut rest = &name[first.len()..name.len() - last.len()];
    for piece in middle.iter().filter(|piece| !piece.is_empty()) {
        match rest.windows(piece.len()).position(|window| *window == **piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

/// What a pattern's match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The name is selected.
    Selects,
    /// What earlier patterns selected is taken back.
    TakesBack,
    /// The patterns from the one of this index on, as they were added, do not count for it: those before them decide.
    Spares(usize),
}

/// How a pattern's text is to be read and what its match means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) means: Meaning,
    /// Whether a directory whose name completes the pattern counts with everything below it.
    pub(super) covers: Covers,
}

/// Whether a directory whose name completes a pattern counts with everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Covers {
    /// If the last component has no wildcard, or a slash follows: `src`, `packages/*/dist`, `gen-*/`.
    IfNamed,
    /// Always.
    Always,
}

#[derive(Debug)]
struct Pattern {
    components: Vec<Component>,
    /// Index of the text that it came from; several patterns come from one text with braces.
    origin: usize,
    means: Meaning,
    directory_only: bool,
    covers: bool,
}

/// How far one pattern has come: the component that the next name has to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    pattern: u32,
    next: u32,
}

/// [`Position::next`] of a pattern that matches everything from here on.
const COVERED: u32 = u32::MAX;

/// How far each pattern that may still match has come in one directory; the last pattern first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State(Vec<Position>);

/// What the last pattern that matches a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Index of the pattern's text.
    pub(super) origin: usize,
    /// Whether the name is selected.
    pub(super) selects: bool,
}

/// Patterns in order.
#[derive(Debug, Default)]
pub(super) struct Rules {
    patterns: Vec<Pattern>,
    /// This name is matched only by a component that spells it, and covered by nothing above it.
    guarded: Option<&'static [u8]>,
    guarded_is_spelled: bool,
}

impl Rules {
    /// Rules without patterns, in which only a literal component can match the name `guarded`.
    pub(super) fn new(guarded: Option<&'static [u8]>) -> Self {
        Self { patterns: Vec::new(), guarded, guarded_is_spelled: false }
    }

    /// How many patterns there are; the next one that is added has this index.
    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether there is no pattern.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Adds the patterns that `text` stands for, behind all others.
    pub(super) fn add(&mut self, text: &str, origin: usize, reading: Reading) -> Result<(), PatternError> {
        glob::check_bounds(text)?;
        let mut texts = Vec::new();
        expand(text, &mut texts)?;
        for text in texts {
            let pattern = parse(&text, origin, reading)?;
            self.guarded_is_spelled |= self.guarded.is_some_and(|guarded| {
                pattern
                    .components
                    .iter()
                    .any(|part| matches!(part, Component::Name(name) if **name == *guarded))
            });
            self.patterns.push(pattern);
        }
        Ok(())
    }

    /// Adds a rule of git's, behind all others.
    pub(super) fn add_git(&mut self, GitRule { alternatives, directory_only }: GitRule, means: Meaning) {
        for components in alternatives {
            self.patterns.push(Pattern { components, origin: 0, means, directory_only, covers: false });
        }
    }

    /// The state in the directory that the patterns are anchored at.
    pub(super) fn start(&self) -> State {
        self.start_with(0..self.patterns.len())
    }

    fn start_with(&self, patterns: impl DoubleEndedIterator<Item = usize>) -> State {
        let mut state = State::default();
        for pattern in patterns.rev() {
            if self.land(&mut state, pattern as u32, 0) {
                break;
            }
        }
        state
    }

    /// The state in the subdirectory `name` of a directory with `state`.
    pub(super) fn enter(&self, state: &State, name: &[u8]) -> State {
        let mut below = State::default();
        let guarded = self.guarded == Some(name);
        for &Position { pattern, next } in &state.0 {
            let components = &self.patterns[pattern as usize].components;
            let done = if next == COVERED {
                !guarded && self.land(&mut below, pattern, COVERED)
            } else if matches!(components[next as usize], Component::AnyDepth) {
                if !guarded {
                    self.land(&mut below, pattern, next);
                }
                self.matches(&components[next as usize + 1], name) && self.land(&mut below, pattern, next + 2)
            } else {
                self.matches(&components[next as usize], name) && self.land(&mut below, pattern, next + 1)
            };
            if done {
                break;
            }
        }
        below
    }

    /// Notes that `pattern` has come to component `next`. Returns whether earlier patterns no longer matter.
    fn land(&self, state: &mut State, pattern: u32, next: u32) -> bool {
        let Pattern { components, covers, directory_only, means, .. } = &self.patterns[pattern as usize];
        let next = match components.get(next as usize) {
            _ if next == COVERED => COVERED,
            Some(Component::AnyDepth) if next as usize + 1 == components.len() => COVERED,
            Some(_) => next,
            None if *covers => COVERED,
            None => return false,
        };
        let position = Position { pattern, next };
        if !state.0.contains(&position) {
            state.0.push(position);
        }
        next == COVERED
            && !self.guarded_is_spelled
            && (*covers || !directory_only)
            && !matches!(means, Meaning::Spares(_))
            && !state.0.iter().any(|later| self.may_spare(later.pattern, pattern))
    }

    /// Whether where `later` matches, `pattern` may not count.
    fn may_spare(&self, later: u32, pattern: u32) -> bool {
        matches!(self.patterns[later as usize].means, Meaning::Spares(from) if from <= pattern as usize)
    }

    fn matches(&self, component: &Component, name: &[u8]) -> bool {
        component.matches(name) && (self.guarded != Some(name) || matches!(component, Component::Name(_)))
    }

    /// What the last pattern that matches `name` in a directory with `state` says; `None` if none matches.
    pub(super) fn verdict(&self, state: &State, name: &[u8], is_directory: bool) -> Option<Verdict> {
        let guarded = self.guarded == Some(name);
        let mut spared_from = usize::MAX;
        for &Position { pattern, next } in &state.0 {
            if pattern as usize >= spared_from {
                continue;
            }
            let Pattern { components, origin, means, directory_only, covers } =
                &self.patterns[pattern as usize];
            let complete = if next == COVERED {
                !guarded && (is_directory || !directory_only || *covers)
            } else {
                let next = match components[next as usize] {
                    Component::AnyDepth => next as usize + 1,
                    _ => next as usize,
                };
                (is_directory || !directory_only)
                    && next + 1 == components.len()
                    && self.matches(&components[next], name)
            };
            match means {
                _ if !complete => {}
                Meaning::Spares(from) => spared_from = *from,
                means => return Some(Verdict { origin: *origin, selects: *means == Meaning::Selects }),
            }
        }
        None
    }

    /// Whether anything in a directory with `state`, or below it, can be selected.
    pub(super) fn can_select(&self, state: &State) -> bool {
        state.0.iter().any(|position| self.patterns[position.pattern as usize].means == Meaning::Selects)
    }

    /// Whether what can be selected below a directory with `state` lies in a known number of levels.
    pub(super) fn is_bounded(&self, state: &State) -> bool {
        let goes_on = |position: &Position| {
            let Pattern { components, means, .. } = &self.patterns[position.pattern as usize];
            let left = components.get(position.next as usize..);
            let is_deep = left.is_none_or(|left| left.iter().any(|part| matches!(part, Component::AnyDepth)));
            *means == Meaning::Selects && is_deep
        };
        !state.0.iter().any(goes_on)
    }

    /// Whether each name that could be selected in a directory with state `other`, or below it, is selected with `state`,
    /// unless it is taken away there.
    pub(super) fn selects_all_of(&self, state: &State, other: &State) -> bool {
        let pattern = |position: &Position| &self.patterns[position.pattern as usize];
        let selects = |position: &&Position| pattern(position).means == Meaning::Selects;
        let ends =
            |position: &&Position| position.next == COVERED && pattern(position).means == Meaning::TakesBack;
        // Where everything is taken back, what stands before that does not count.
        let counts = || state.0.iter().take_while(|position| !ends(position)).filter(selects);
        let is_whole = |position: &Position| {
            let Pattern { directory_only, covers, .. } = pattern(position);
            position.next == COVERED && (*covers || !directory_only) && !self.guarded_is_spelled
        };
        counts().any(is_whole) || other.0.iter().filter(selects).all(|own| counts().any(|one| one == own))
    }

    /// The only names in a directory with `state` that can be selected or lead to what can be; `None` if that
    /// takes a listing.
    pub(super) fn only_names(&self, state: &State) -> Option<Vec<&[u8]>> {
        let mut names = Vec::new();
        for &Position { pattern, next } in &state.0 {
            let Pattern { components, means, .. } = &self.patterns[pattern as usize];
            if *means != Meaning::Selects {
                continue;
            }
            match components.get(next as usize) {
                Some(Component::Name(name)) => names.push(&**name),
                _ => return None,
            }
        }
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// Whether one of the patterns of text `origin` matches `path`, whatever the other patterns say.
    pub(super) fn matches_alone(&self, origin: usize, path: &[u8], is_directory: bool) -> bool {
        let own = (0..self.patterns.len()).filter(|&pattern| self.patterns[pattern].origin == origin);
        let mut state = self.start_with(own);
        let mut names = path.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return self.verdict(&state, name, is_directory).is_some();
            }
            state = self.enter(&state, name);
        }
        false
    }
}

/// Adds the patterns that the braces of `text` stand for.
fn expand(text: &str, into: &mut Vec<String>) -> Result<(), PatternError> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut open) = (0, 0, None);
    let mut commas = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'[' => at += class_len(&bytes[at..]).map_or(0, |len| len - 1),
            b'{' => {
                depth += 1;
                open.get_or_insert(at);
            }
            b',' if depth == 1 => commas.push(at),
            b'}' => {
                depth -= 1;
                if depth < 0 {
                    return Err(PatternError::Braces);
                }
                if let (0, Some(start)) = (depth, open) {
                    commas.push(at);
                    let mut from = start + 1;
                    for &end in &commas {
                        let (before, after) = (&text[..start], &text[at + 1..]);
                        expand(&format!("{before}{}{after}", &text[from..end]), into)?;
                        from = end + 1;
                    }
                    return Ok(());
                }
            }
            _ => {}
        }
        at += 1;
    }
    if depth != 0 {
        return Err(PatternError::Braces);
    }
    if into.len() == MAX_ALTERNATIVES {
        return Err(PatternError::Alternatives);
    }
    into.push(text.to_owned());
    Ok(())
}

/// Length of the character class that `bytes` start with; `None` if it does not end.
fn class_len(bytes: &[u8]) -> Option<usize> {
    let negated = matches!(bytes.get(1), Some(b'!' | b'^'));
    // A bracket that comes first in a class is a member of it.
    let first = if negated { 2 } else { 1 };
    bytes.iter().skip(first + 1).position(|&byte| byte == b']').map(|at| first + 1 + at + 1)
}

fn parse(text: &str, origin: usize, reading: Reading) -> Result<Pattern, PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    if text.starts_with('/') {
        return Err(PatternError::Absolute);
    }
    let mut components: Vec<Component> = Vec::new();
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => return Err(PatternError::Outside),
            "**" if matches!(components.last(), Some(Component::AnyDepth)) => {}
            "**" => components.push(Component::AnyDepth),
            _ => components.push(parse_component(part)?),
        }
    }
    if components.is_empty() {
        components.push(Component::AnyDepth);
    }
    let directory_only = text.ends_with('/');
    let covers = match reading.covers {
        Covers::IfNamed => directory_only || matches!(components.last(), Some(Component::Name(_))),
        Covers::Always => true,
    };
    Ok(Pattern { components, origin, means: reading.means, directory_only, covers })
}

fn parse_component(part: &str) -> Result<Component, PatternError> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = part.bytes();
    let mut plain = true;
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' => pieces.push(Vec::new()),
            b'?' | b'[' => plain = false,
            b'\\' => match bytes.next() {
                Some(escaped) => pieces.last_mut().expect("starts with one piece").push(escaped),
                None => plain = false,
            },
            _ => pieces.last_mut().expect("starts with one piece").push(byte),
        }
    }
    if !plain {
        return Ok(Component::Glob(Box::new(glob::of_paths(part)?.compile_matcher())));
    }
    Ok(Component::of_parts(pieces))
}
