//! How many words the text files below a directory have, kept: `cargo run --example word_count [DIRECTORY]`.
//!
//! Without a directory it makes a small one, changes it and shows what runs each time. The counts of single files
//! are queries of their own. So a file that is edited is counted anew, and if it has as many words as before, the
//! total is not (early cutoff).

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{Context, Larder, LookError, Outside, Queries, Query, QueryError};
use larder::key::Scope;
use serde::{Deserialize, Serialize};

/// The words of one file.
#[derive(Serialize, Deserialize)]
struct WordsOf {
    file: PathBuf,
}

impl Query for WordsOf {
    type Output = usize;
    type Error = LookError;
    const KIND: &'static str = "words-of";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<usize, LookError> {
        println!("  counting {}", self.file.display());
        let content = cx.read(&self.file).await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).split_whitespace().count())
    }
}

/// The words of all files, by directory. A `BTreeMap`, so that equal counts are equal bytes.
#[derive(Serialize, Deserialize)]
struct Words;

#[derive(Debug, thiserror::Error)]
enum WordsError {
    #[error("files can't be found")]
    Glob(#[from] LookError),
    #[error("file can't be counted")]
    File(#[from] QueryError<LookError>),
}

impl Query for Words {
    type Output = BTreeMap<PathBuf, usize>;
    type Error = WordsError;
    const KIND: &'static str = "words";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<BTreeMap<PathBuf, usize>, WordsError> {
        println!("  adding up");
        let files = cx.glob(["**/*.txt"]).await?;
        let counts = cx.get_all(files.iter().map(|file| WordsOf { file: file.as_path().to_owned() })).await;
        let mut words = BTreeMap::new();
        for (file, count) in files.iter().zip(counts) {
            let directory = file.as_path().parent().unwrap_or(Path::new("")).to_owned();
            *words.entry(directory).or_default() += count?.value;
        }
        Ok(words)
    }
}

/// Asks in a session of its own, which sees the directory as it is now.
async fn show(queries: &Queries, root: &Path, what: &str) -> Result<(), Box<dyn Error>> {
    println!("{what}:");
    let words = queries.session(Outside::new(root)).get(Words).await?;
    println!("  {} words in {} directories", words.values().sum::<usize>(), words.len());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let made = tempfile::tempdir()?;
    let settings = Settings::new(made.path().join("cache"));
    let opened = Larder::open(&settings, &Machine::probe(Path::new("/")), Clock::system(), "example");
    let queries = Queries::new(&opened.larder, &Scope::new("example")?).with::<WordsOf>()?.with::<Words>()?;

    if let Some(root) = std::env::args_os().nth(1) {
        show(&queries, Path::new(&root), "the first time").await?;
        show(&queries, Path::new(&root), "again").await?;
    } else {
        let root = made.path().join("tree");
        std::fs::create_dir_all(root.join("poems"))?;
        std::fs::write(root.join("poems/rose.txt"), "a rose is a rose")?;
        std::fs::write(root.join("notes.txt"), "milk, bread")?;
        show(&queries, &root, "the first time").await?;
        show(&queries, &root, "nothing has changed").await?;
        std::fs::write(root.join("notes.txt"), "salt, bread")?;
        show(&queries, &root, "another word, as many words").await?;
        std::fs::write(root.join("notes.txt"), "salt, bread, wine")?;
        show(&queries, &root, "one word more").await?;
        std::fs::write(root.join("notes.txt"), "milk, bread")?;
        show(&queries, &root, "as it was at first").await?;
    }
    opened.close().await;
    Ok(())
}
