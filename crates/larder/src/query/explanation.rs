//! Explanations: what was verified, reused and computed for an answer, and why, as a tree of queries.
//!
//! The serialized form is stable: fields and variants may be added to it, and [`Explanation::VERSION`] counts what
//! would break a reader. Each query stands in it once, whoever observed it, so that its size is that of the graph.
//! Not here: collecting (`engine`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a query was answered as it was, and each that it was built on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// [`Explanation::VERSION`] of whoever made it.
    pub version: u32,
    /// The queries, that which was asked first. An observation names a query by its place here.
    pub queries: Vec<ExplainedQuery>,
    /// How many more there would be; those near to what was asked come first.
    pub left_out: usize,
}

/// One query of an explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainedQuery {
    /// What is computed, with its version, such as `words@3`.
    pub kind: String,
    /// Digest of the parameters.
    pub id: String,
    /// The parameters, if they have a form in JSON.
    pub parameters: Option<serde_json::Value>,
    /// How it was answered.
    pub outcome: ExplainedOutcome,
    /// Why nothing was kept, if nothing was.
    pub not_kept: Option<String>,
    /// What the answer is built on, in the order in which it was looked at.
    pub observed: Vec<Observed>,
    /// How many more observations there would be.
    pub observations_left_out: usize,
}

/// How a query was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExplainedOutcome {
    /// By what is kept: all that it was built on is unchanged.
    Verified {
        /// Which of the kept traces held: 0 is the newest.
        trace: usize,
    },
    /// By what is kept: all that lies outside and that it rests on, through other queries too, is unchanged. Those
    /// queries were not asked; what is listed as observed is what lies outside.
    Unchanged,
    /// By computing it.
    Computed(Because),
    /// Computing it failed.
    Failed {
        /// In its words.
        error: String,
        /// Why it was computed, if that is known.
        because: Option<Because>,
    },
    /// It was invalidated since, or its kind is not registered.
    Unknown,
}

/// Why a query was computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Nothing was kept.
    NothingKept,
    /// A trace held, but the value that it names was not kept any more.
    ValueGone,
    /// What was kept was older than the query allows.
    Expired,
    /// For each kept trace, newest first, the first observation that differs.
    Differs(Vec<Difference>),
}

/// An observation that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Of what.
    pub of: Observed,
    /// What was seen then.
    pub was: State,
    /// What is seen now.
    pub is: State,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// A file's content.
    File(String),
    /// The names in a directory.
    Listing(String),
    /// Which files match patterns.
    Glob(Vec<String>),
    /// An environment variable.
    Variable(String),
    /// A program.
    Tool(String),
    /// The query at this place of [`Explanation::queries`].
    Query(usize),
    /// A query that was left out.
    LeftOut(String),
}

/// What was seen of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is not there.
    Absent,
    /// It is there. The digest of what was seen; none for a variable, whose value could be guessed by it.
    Is(Option<String>),
    /// It can't be looked at, or can't be built upon, in words.
    Not(String),
}

impl Explanation {
    /// Counts changes of the form that would break a reader.
    pub const VERSION: u32 = 1;

    /// How the query that was asked is explained.
    pub fn asked(&self) -> Option<&ExplainedQuery> {
        self.queries.first()
    }

    /// How many queries were computed, failed ones included.
    pub fn computed(&self) -> usize {
        let computed = |query: &&ExplainedQuery| {
            matches!(query.outcome, ExplainedOutcome::Computed(_) | ExplainedOutcome::Failed { .. })
        };
        self.queries.iter().filter(computed).count()
    }

    fn name(&self, at: usize) -> String {
        self.queries.get(at).map_or_else(|| "a query".to_owned(), ToString::to_string)
    }

    fn in_words(&self, difference: &Difference) -> String {
        let Difference { of, was, is } = difference;
        if let State::Not(why) = is {
            return format!("{}: {why}", self.of_words(of));
        }
        let short = |state: &State| match state {
            State::Is(Some(digest)) => digest.get(..12).unwrap_or(digest).to_owned(),
            _ => String::new(),
        };
        let gone = *is == State::Absent;
        let came = *was == State::Absent;
        match of {
            Observed::File(path) if came => format!("file {path} is there now"),
            Observed::File(path) if gone => format!("file {path} is gone"),
            Observed::File(path) => {
                format!("file {path} has other content ({}, was {})", short(is), short(was))
            }
            Observed::Listing(path) if came => format!("directory {path} is there now"),
            Observed::Listing(path) if gone => format!("directory {path} is gone"),
            Observed::Listing(path) => format!("other names are in {path}"),
            Observed::Glob(patterns) => format!("other files match {}", patterns.join(" ")),
            Observed::Variable(name) if came => format!("variable {name} is set now"),
            Observed::Variable(name) if gone => format!("variable {name} is not set any more"),
            Observed::Variable(name) => format!("variable {name} has another value"),
            Observed::Tool(name) if came => format!("tool {name} is there now"),
            Observed::Tool(name) if gone => format!("tool {name} is gone"),
            Observed::Tool(name) => format!("tool {name} is another program"),
            Observed::Query(_) | Observed::LeftOut(_) => format!("{} has another answer", self.of_words(of)),
        }
    }

    fn of_words(&self, of: &Observed) -> String {
        match of {
            Observed::File(path) => format!("file {path}"),
            Observed::Listing(path) => format!("directory {path}"),
            Observed::Glob(patterns) => format!("files matching {}", patterns.join(" ")),
            Observed::Variable(name) => format!("variable {name}"),
            Observed::Tool(name) => format!("tool {name}"),
            Observed::Query(at) => self.name(*at),
            Observed::LeftOut(name) => name.clone(),
        }
    }

    fn because(&self, because: &Because) -> String {
        match because {
            Because::NothingKept => "nothing was kept".to_owned(),
            Because::ValueGone => "its value was not kept any more".to_owned(),
            Because::Expired => "what was kept is too old".to_owned(),
            Because::Differs(differences) => {
                let words: Vec<String> = differences.iter().map(|one| self.in_words(one)).collect();
                let mut distinct: Vec<&str> = words.iter().map(String::as_str).collect();
                // Several traces may differ by the same source, each from another state of it.
                distinct.dedup();
                distinct.join("; for an older answer, ")
            }
        }
    }

    fn line(&self, query: &ExplainedQuery) -> String {
        let mut line = match &query.outcome {
            ExplainedOutcome::Unchanged | ExplainedOutcome::Verified { trace: 0 } => {
                format!("{query}: as before")
            }
            ExplainedOutcome::Verified { .. } => format!("{query}: as in an older answer"),
            ExplainedOutcome::Computed(because) => format!("{query}: computed: {}", self.because(because)),
            ExplainedOutcome::Failed { error, because } => {
                let because =
                    because.as_ref().map(|because| format!("; computed: {}", self.because(because)));
                format!("{query}: failed: {error}{}", because.unwrap_or_default())
            }
            ExplainedOutcome::Unknown => format!("{query}: not known any more"),
        };
        if let Some(why) = &query.not_kept {
            line += &format!("; not kept: {why}");
        }
        line
    }
}

/// What a query observed, by sorts, without the queries that have lines of their own.
fn rest(explanation: &Explanation, query: &ExplainedQuery) -> String {
    let mut sorts: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for observed in &query.observed {
        let (one, many) = match observed {
            Observed::File(_) => ("file", "files"),
            Observed::Listing(_) => ("listing", "listings"),
            Observed::Glob(_) => ("glob", "globs"),
            Observed::Variable(_) => ("variable", "variables"),
            Observed::Tool(_) => ("tool", "tools"),
            Observed::Query(at) if explanation.queries.get(*at).is_some_and(ExplainedQuery::is_news) => {
                continue;
            }
            Observed::Query(_) | Observed::LeftOut(_) => ("query", "queries"),
        };
        let sort = sorts.entry(many).or_insert((0, one));
        sort.0 += 1;
    }
    let words =
        sorts.iter().map(|(many, (count, one))| format!("{count} {}", if *count == 1 { one } else { many }));
    words.collect::<Vec<_>>().join(", ")
}

impl ExplainedQuery {
    /// Whether it says more than that all is as before.
    fn is_news(&self) -> bool {
        let as_before =
            matches!(self.outcome, ExplainedOutcome::Unchanged | ExplainedOutcome::Verified { trace: 0 });
        self.not_kept.is_some() || !as_before
    }
}

impl fmt::Display for ExplainedQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.rsplit_once('@').map_or(&*self.kind, |(name, _)| name);
        match &self.parameters {
            // A type of one field needs no name for it.
            Some(serde_json::Value::Object(fields)) if fields.len() == 1 => {
                let only = fields.values().next().unwrap_or(&serde_json::Value::Null);
                write!(f, "{kind} {only}")
            }
            Some(serde_json::Value::Null) => f.write_str(kind),
            Some(parameters) => write!(f, "{kind} {parameters}"),
            None => write!(f, "{kind} {}", self.id.get(..12).unwrap_or(&self.id)),
        }
    }
}

/// How far lines are set in at most; what lies deeper says how deep.
const MAX_INDENT: usize = 24;
/// How many lines are written.
const MAX_LINES: usize = 2_000;

/// As text: a line for each query that was computed or has other news, set in below the one that is built on it,
/// and in numbers what else it is built on. A query that several are built on is told once.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = vec![false; self.queries.len()];
        let mut open = vec![(0, 0)];
        let mut lines = 0;
        while let Some((at, depth)) = open.pop() {
            let Some(query) = self.queries.get(at) else { continue };
            if std::mem::replace(&mut told[at], true) {
                continue;
            }
            if lines == MAX_LINES {
                return writeln!(f, "… and more");
            }
            lines += 1;
            let indent = "  ".repeat(depth.min(MAX_INDENT));
            let deep = if depth > MAX_INDENT { format!("[{depth}] ") } else { String::new() };
            write!(f, "{indent}{deep}{}", self.line(query))?;
            let rest = rest(self, query);
            if !rest.is_empty() {
                write!(f, " (on {rest})")?;
            }
            writeln!(f)?;
            let below = query.observed.iter().chain(query.differing());
            let below = below.filter_map(|observed| match observed {
                Observed::Query(at) if self.queries.get(*at).is_some_and(ExplainedQuery::is_news) => {
                    Some(*at)
                }
                _ => None,
            });
            // The stack hands out last what was put on it first.
            open.extend(below.collect::<Vec<_>>().into_iter().rev().map(|at| (at, depth + 1)));
        }
        if self.left_out > 0 {
            writeln!(f, "{} more queries", self.left_out)?;
        }
        Ok(())
    }
}

impl ExplainedQuery {
    fn differing(&self) -> impl Iterator<Item = &Observed> {
        let because = match &self.outcome {
            ExplainedOutcome::Computed(because) => Some(because),
            ExplainedOutcome::Failed { because, .. } => because.as_ref(),
            _ => None,
        };
        let differences = match because {
            Some(Because::Differs(differences)) => &differences[..],
            _ => &[],
        };
        differences.iter().map(|difference| &difference.of)
    }
}
