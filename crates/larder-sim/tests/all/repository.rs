//! A repository that is made here, commit by commit.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

pub(crate) struct Repository(TempDir);

impl Repository {
    /// One without commits.
    pub(crate) fn new() -> Self {
        let repository = Self(tempfile::tempdir().expect("a directory"));
        repository.git(&["init", "--quiet"]);
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn git(&self, arguments: &[&str]) {
        let as_somebody = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"];
        let done = Command::new("git")
            .arg("-C")
            .arg(self.path())
            .args(as_somebody)
            .args(arguments)
            .output()
            .expect("git starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    pub(crate) fn commit(&self, files: &[(&str, &str)]) {
        write(self.path(), files);
        self.commit_all();
    }

    pub(crate) fn remove(&self, directory: &str) {
        std::fs::remove_dir_all(self.path().join(directory)).expect("it is there");
        self.commit_all();
    }

    fn commit_all(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "next"]);
    }
}

/// Writes files with the directories that they lie in.
pub(crate) fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("it is in the directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
}
