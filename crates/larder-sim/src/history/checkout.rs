//! A checkout of a repository that goes through its history. The repository itself is left as it is.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub(super) struct Checkout {
    root: tempfile::TempDir,
}

impl Checkout {
    pub(super) fn of(repository: &Path) -> Result<Self> {
        let root = tempfile::tempdir()?;
        let from = repository.canonicalize().with_context(|| repository.display().to_string())?;
        let place = root.path().to_string_lossy().into_owned();
        git(
            Path::new("."),
            &["clone", "--quiet", "--shared", "--no-checkout", &from.to_string_lossy(), &place],
        )?;
        Ok(Self { root })
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn git(&self, arguments: &[&str]) -> Result<String> {
        git(self.root.path(), arguments)
    }

    /// The last commits of the line that led here, oldest first.
    pub(super) fn commits(&self, count: usize) -> Result<Vec<String>> {
        let count = count.to_string();
        let list = self.git(&["rev-list", "--first-parent", "--reverse", "-n", &count, "HEAD"])?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Files of the commit are as it has them. What git does not track stays.
    pub(super) fn turn_to(&self, commit: &str) -> Result<()> {
        self.git(&["checkout", "--quiet", "--force", "--detach", commit]).map(drop)
    }

    /// Removes what git does not track.
    pub(super) fn clean(&self) -> Result<()> {
        self.git(&["clean", "--quiet", "-ffdx"]).map(drop)
    }

    /// Files that git does not track, ignored or not, by their paths from the root.
    pub(super) fn untracked(&self) -> Result<Vec<String>> {
        let files = self.git(&["ls-files", "--others", "-z"])?;
        Ok(files.split_terminator('\0').map(str::to_owned).collect())
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .output()
        .context("git does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8(output.stdout)?)
}
