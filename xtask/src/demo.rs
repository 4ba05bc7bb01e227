//! `cargo xtask demo`: larder at work on a copy of the example workspace.
//!
//! Each step is shown as a shell session and checked: a demonstration that shows something else than it says is
//! a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

/// A copy of the example and a cache of its own.
struct Session {
    directory: PathBuf,
    cache: PathBuf,
    path: String,
}

/// Builds larder, and shows a miss, a hit, an edit, a restore and a reason.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let built = workspace.succeeds("cargo", &["build", "--quiet", "--locked", "--package", "larder-cli"])?;
    ensure!(built, "larder does not build");
    let target = workspace.metadata.target_directory.as_std_path().join("debug");
    let temporary = tempfile::Builder::new().prefix("larder-demo").tempdir()?;
    let session = Session {
        directory: temporary.path().join("polyglot"),
        cache: temporary.path().join("cache"),
        path: format!("{}:{}", target.display(), std::env::var("PATH").unwrap_or_default()),
    };
    copy(&workspace.root.join("examples/polyglot"), &session.directory)?;

    session.say("A C library, a Rust program that is linked with it, and a page that the program makes.");
    session.shell("larder tasks", "site#build")?;
    session.say("The first time, everything runs.");
    session.shell("larder run build test", "5 ran")?;
    session.say("The second time, nothing does.");
    session.shell("larder run build test", "5 hits")?;
    session.say(
        "A comment in the C code is an edit, but the object file stays the same: what comes after is kept.",
    );
    session.shell("echo '/* A comment. */' >> packages/tally/src/tally.c", "")?;
    session.shell("larder run build test", "4 hits, 1 ran")?;
    session.say("Outputs that are gone, or were changed by hand, come back without running anything.");
    session.shell("rm -r packages/*/dist", "")?;
    session.shell("larder run build test", "5 hits")?;
    session.shell("tail -n 1 packages/site/dist/index.html", "38 words in 2 texts")?;
    session.say("An edit of a text: only the page is made anew, and larder tells why.");
    session.shell("echo 'Nothing is lost.' >> packages/site/text/asking.txt", "")?;
    session.shell("larder why site#build", "asking.txt")?;
    session.shell("larder run build test", "3 hits, 2 ran")?;
    session.shell("tail -n 1 packages/site/dist/index.html", "41 words in 2 texts")?;
    session.say("What all of that was good for:");
    session.shell("larder cache stats", "hits")?;
    Ok(())
}

impl Session {
    fn say(&self, text: &str) {
        println!("\n# {text}");
    }

    /// Runs a line of shell, shows it with what it prints, and checks that `expected` is in that.
    fn shell(&self, line: &str, expected: &str) -> Result<()> {
        println!("$ {line}");
        // One stream for both, as on a terminal.
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {line}\n}} 2>&1")])
            .current_dir(&self.directory)
            .env("PATH", &self.path)
            .env("LARDER_DIR", &self.cache)
            .stdin(Stdio::null())
            .output()
            .context("cannot start sh")?;
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}");
        ensure!(output.status.success(), "`{line}` ended with {}", output.status);
        ensure!(text.contains(expected), "`{line}` did not print {expected:?}");
        Ok(())
    }
}

/// Copies a directory, but what git ignores there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        if entry.file_name() == "dist" {
            continue;
        }
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
