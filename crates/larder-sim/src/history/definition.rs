//! The definition of a workspace that is laid over each commit: the root's file, or a directory of files that lie in it
//! as they do in the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The name of each file.
pub(super) const DEFINITION: &str = "larder.toml";

/// The files, by their directories.
pub(super) struct Definition(Vec<(PathBuf, String)>);

impl Definition {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let read = |file: &Path| std::fs::read_to_string(file).with_context(|| file.display().to_string());
        if !path.is_dir() {
            return Ok(Self(vec![(PathBuf::new(), read(path)?)]));
        }
        let (mut files, mut open) = (Vec::new(), vec![path.to_owned()]);
        while let Some(directory) = open.pop() {
            let file = directory.join(DEFINITION);
            if file.is_file() {
                files.push((directory.strip_prefix(path)?.to_owned(), read(&file)?));
            }
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                }
            }
        }
        Ok(Self(files))
    }

    pub(super) fn write_to(&self, root: &Path) -> Result<()> {
        for (directory, text) in &self.0 {
            let directory = root.join(directory);
            if directory.is_dir() {
                std::fs::write(directory.join(DEFINITION), text)?;
            }
        }
        Ok(())
    }
}
