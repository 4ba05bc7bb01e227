//! Counts the words in a directory tree, and keeps what it counted.
//!
//! `cargo run -p larder --example words -- DIRECTORY CACHE` prints why each count was given or computed, and the words
//! that come most often. Run it twice: nothing is counted again. Change a word in one file: that file is counted, and
//! the sum. Change only the spaces in one: that file is counted, finds the same words, and the sum is not computed:
//! the change goes no further. `docs/queries.md` goes through it.
//!
//! With `--again` behind it, the program stays, and counts once more for each line that it is given (press Enter). Then
//! it looks at nothing but what something has happened to in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{Context, Larder, LookError, Opened, Outside, Queries, Query, QueryError, Watch};
use larder::key::Scope;
use larder::source::Counts;
use serde::{Deserialize, Serialize};

/// How often each word is in one file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InFile {
    /// Below the root.
    pub(crate) file: PathBuf,
}

impl Query for InFile {
    // A map in order: two equal answers have to be the same bytes.
    type Output = BTreeMap<String, u64>;
    type Error = LookError;
    const KIND: &'static str = "words.file";
    // Raised whenever the code below would count something else.
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Self::Output, LookError> {
        let content = cx.read(&self.file).await?.unwrap_or_default();
        let mut counts = BTreeMap::new();
        let text = String::from_utf8_lossy(&content);
        for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
        Ok(counts)
    }
}

/// How often each word is in all files that a pattern matches.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InAll {
    /// Below the root.
    pub(crate) pattern: String,
}

impl Query for InAll {
    type Output = BTreeMap<String, u64>;
    type Error = LookError;
    const KIND: &'static str = "words.all";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Self::Output, LookError> {
        let files = cx.glob([&*self.pattern]).await?;
        let files = files.iter().map(|file| InFile { file: file.as_path().to_owned() });
        let mut counts = BTreeMap::new();
        for words in cx.get_all(files).await {
            let words = words.map_err(|error| match error {
                QueryError::Computation(error) => (*error).clone(),
                // The kinds are registered, have good parameters and ask for each other in no circle.
                other => unreachable!("{other}"),
            })?;
            words.iter().for_each(|(word, count)| *counts.entry(word.clone()).or_default() += count);
        }
        Ok(counts)
    }
}

/// An engine that keeps what it has in `cache`, and the queries that it knows.
pub(crate) fn open(cache: &Path) -> Result<(Opened, Queries), Box<dyn std::error::Error>> {
    let machine = Machine::probe(Path::new("/"));
    let opened = Larder::open(&Settings::new(cache.to_owned()), &machine, Clock::system(), "words");
    let queries = Queries::new(&opened.larder, &Scope::new("words")?);
    Ok((opened, queries.with::<InFile>()?.with::<InAll>()?))
}

/// Counts, and tells how: the explanation, and the words that come most often. Beside that, what had to be looked at.
pub(crate) async fn count(
    queries: &Queries,
    outside: &Outside,
) -> Result<(String, Counts), Box<dyn std::error::Error>> {
    let session = queries.session(outside.clone());
    let all = || InAll { pattern: "**/*.md".to_owned() };
    let explanation = session.explain(all()).await?;
    let counts = session.get(all()).await?;
    let mut most: Vec<(&String, &u64)> = counts.iter().collect();
    most.sort_by_key(|(word, count)| (std::cmp::Reverse(**count), (*word).clone()));
    let most: Vec<String> = most.iter().take(5).map(|(word, count)| format!("{word} {count}")).collect();
    Ok((format!("{explanation}{}\n", most.join(", ")), session.counts()))
}

#[allow(
    dead_code,
    clippy::print_stdout,
    reason = "it shows something; a test takes the rest of this file in"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (root, cache, again) = match &arguments[..] {
        [root, cache] => (root, cache, false),
        [root, cache, again] if again.as_os_str() == "--again" => (root, cache, true),
        _ => return Err("usage: words DIRECTORY CACHE [--again]".into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    runtime.block_on(async {
        let (opened, queries) = open(cache)?;
        let outside = Outside::new(root).watched(&Watch::new());
        let mut lines = std::io::stdin().lines();
        loop {
            let (told, Counts { looked_at, read, carried, .. }) = count(&queries, &outside).await?;
            print!("{told}");
            if !again {
                break;
            }
            println!("looked at {looked_at}, read {read}, as an earlier session saw it {carried}");
            if lines.next().is_none() {
                break;
            }
        }
        // What was computed is on its way to the disk: this waits for it.
        opened.close().await;
        Ok(())
    })
}
