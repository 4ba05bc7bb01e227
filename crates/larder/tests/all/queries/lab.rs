//! A spreadsheet in a directory: each file is a cell whose tokens are added up.
//!
//! `7` is a number, `b` the cell `b`, `$X` the number in a variable, `?a:b:c` is `b` if `a` is not zero and else `c`,
//! `#` counts the files, and `%5` takes the sum so far modulo 5. A cell that is not there is zero.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use expect_test::Expect;
use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{
    Context, Derived, Larder, LookError, Opened, Outside, Queries, Query, QueryError, Session,
};
use larder::key::Scope;
use larder::tier::disk::Limits;
use serde::{Deserialize, Serialize};

thread_local! {
    /// What ran in this thread: each test has one, and its runtime no other.
    static RAN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn ran(what: String) {
    RAN.with_borrow_mut(|ran| ran.push(what));
}

/// What ran since this was asked last, sorted.
pub(super) fn take_ran() -> Vec<String> {
    let mut ran = RAN.take();
    ran.sort_unstable();
    ran
}

#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CellError {
    #[error("cell {0} has a token {1:?}")]
    Token(String, String),
    #[error("source failed")]
    Look(#[from] LookError),
    #[error("cell {0} failed")]
    Cell(String, #[source] Box<QueryError<CellError>>),
    #[error("tokens failed")]
    Tokens(#[from] QueryError<LookError>),
}

/// The tokens of a cell.
#[derive(Serialize, Deserialize)]
pub(super) struct Parse {
    pub(super) cell: String,
}

impl Query for Parse {
    type Output = Vec<String>;
    type Error = LookError;
    const KIND: &'static str = "parse";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Vec<String>, LookError> {
        ran(format!("parse({})", self.cell));
        let content = cx.read(&self.cell).await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).split_whitespace().map(str::to_owned).collect())
    }
}

/// The value of a cell.
#[derive(Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) cell: String,
}

impl Value {
    async fn of(cx: &Context, cell: &str) -> Result<i64, CellError> {
        let value = cx.get(Self { cell: cell.to_owned() }).await;
        value.map(|value| value.value).map_err(|error| CellError::Cell(cell.to_owned(), Box::new(error)))
    }
}

impl Query for Value {
    type Output = i64;
    type Error = CellError;
    const KIND: &'static str = "value";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<i64, CellError> {
        ran(format!("value({})", self.cell));
        let tokens = cx.get(Parse { cell: self.cell.clone() }).await?;
        let mut sum = 0i64;
        for token in tokens.iter() {
            let bad = || CellError::Token(self.cell.clone(), token.clone());
            let more = if let Some(variable) = token.strip_prefix('$') {
                let value = cx.env(variable).unwrap_or_default();
                value.to_string_lossy().parse().unwrap_or_default()
            } else if let Some(modulus) = token.strip_prefix('%') {
                let modulus: i64 = modulus.parse().map_err(|_| bad())?;
                sum.rem_euclid(modulus) - sum
            } else if let Some(choice) = token.strip_prefix('?') {
                let mut cells = choice.split(':');
                let mut next = || cells.next().ok_or_else(bad);
                let (condition, then, otherwise) = (next()?, next()?, next()?);
                let chosen = if Self::of(cx, condition).await? != 0 { then } else { otherwise };
                Self::of(cx, chosen).await?
            } else if token == "#" {
                cx.list("").await?.map_or(0, |names| names.len() as i64)
            } else if let Ok(number) = token.parse() {
                number
            } else if token.chars().all(char::is_alphanumeric) {
                Self::of(cx, token).await?
            } else {
                return Err(bad());
            };
            sum = sum.wrapping_add(more);
        }
        Ok(sum)
    }
}

/// The sum of all cells whose names match a pattern.
#[derive(Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) pattern: String,
}

impl Query for Sum {
    type Output = i64;
    type Error = CellError;
    const KIND: &'static str = "sum";
    const VERSION: u32 = 1;
    const GROUNDED: bool = true;

    async fn compute(&self, cx: &Context) -> Result<i64, CellError> {
        ran("sum".to_owned());
        let mut sum = 0;
        let cells = cx.glob([&*self.pattern]).await?;
        let cells = cells.iter().map(|cell| Value { cell: cell.to_string() });
        for value in cx.get_all(cells).await {
            sum += value.map_err(|error| CellError::Cell("of the sum".to_owned(), Box::new(error)))?.value;
        }
        Ok(sum)
    }
}

/// A directory of cells, a cache, and an engine over it as one process has it.
pub(super) struct Lab {
    cells: tempfile::TempDir,
    pub(super) cache: tempfile::TempDir,
    pub(super) outside: Outside,
    opened: Opened,
    pub(super) queries: Queries,
    configure: fn(&mut Settings),
    pub(super) clock: Clock,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The clock is an hour ahead of the files', so that all stamps have settled, and moves when it is told to.
    pub(super) fn settled() -> Self {
        let clock = Clock::manual(SystemTime::now().into());
        clock.advance(Duration::from_secs(3600));
        Self::made(|_| {}, clock)
    }

    pub(super) fn with(configure: fn(&mut Settings)) -> Self {
        Self::made(configure, Clock::system())
    }

    fn made(configure: fn(&mut Settings), clock: Clock) -> Self {
        take_ran();
        let (cells, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = Outside::new(cells.path());
        let (opened, queries) = open(cache.path(), configure, &clock);
        Self { cells, cache, outside, opened, queries, configure, clock }
    }

    pub(super) fn larder(&self) -> &Larder {
        &self.opened.larder
    }

    pub(super) fn path(&self, cell: &str) -> PathBuf {
        self.cells.path().join(cell)
    }

    pub(super) fn set(&self, cell: &str, content: &str) -> &Self {
        let path = self.path(cell);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(super) fn remove(&self, cell: &str) -> &Self {
        std::fs::remove_file(self.path(cell)).unwrap();
        self
    }

    pub(super) fn export(&mut self, name: &str, value: &str) -> &mut Self {
        self.outside.environment.insert(name.into(), value.into());
        self
    }

    pub(super) fn session(&self) -> Session {
        self.queries.session(self.outside.clone())
    }

    pub(super) async fn ask<Q: Query>(&self, query: Q) -> Result<Derived<Q::Output>, QueryError<Q::Error>> {
        self.session().get(query).await
    }

    /// Ends the process and begins another.
    pub(super) async fn restart(&mut self) {
        self.opened.close().await;
        (self.opened, self.queries) = open(self.cache.path(), self.configure, &self.clock);
    }

    /// Keeps no more than so many entries on the disk, as gc would, and none in memory.
    pub(super) fn collect(&self, entries: u64) {
        let limits = Limits { max_entries: Some(entries), ..Limits::default() };
        self.opened.collect_to(&limits).unwrap();
        self.larder().resize_memory(0);
        self.larder().resize_memory(64 << 20);
    }

    /// An engine on the same cache, as another process has it.
    pub(super) fn other_process(&self) -> Opened {
        open(self.cache.path(), self.configure, &self.clock).0
    }

    pub(super) async fn close(&self) {
        self.opened.close().await;
    }

    /// Asks for a cell in a new session and compares its value and what ran for it.
    pub(super) async fn check(&self, cell: &str, expected: Expect) {
        let answer = self.ask(Value { cell: cell.to_owned() }).await;
        expected.assert_eq(&outcome(answer));
    }

    pub(super) async fn check_sum(&self, pattern: &str, expected: Expect) {
        let answer = self.ask(Sum { pattern: pattern.to_owned() }).await;
        expected.assert_eq(&outcome(answer));
    }
}

pub(super) fn outcome(answer: Result<Derived<i64>, QueryError<CellError>>) -> String {
    let ran = take_ran();
    let ran = if ran.is_empty() { "nothing".to_owned() } else { ran.join(" ") };
    match answer {
        Ok(value) => format!("{}; ran {ran}", *value),
        Err(error) => format!("{}; ran {ran}", words(&error)),
    }
}

/// An error and its sources.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn open(cache: &Path, configure: fn(&mut Settings), clock: &Clock) -> (Opened, Queries) {
    let mut settings = Settings::new(cache.to_owned());
    configure(&mut settings);
    let opened = Larder::open(&settings, &Machine::probe(Path::new("/")), clock.clone(), "lab");
    let queries = Queries::new(&opened.larder, &Scope::new("lab").unwrap());
    let queries = queries.with::<Parse>().unwrap().with::<Value>().unwrap().with::<Sum>().unwrap();
    (opened, queries)
}
