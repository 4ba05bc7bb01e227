//! What can go wrong when a file set is looked at.
//!
//! Not here: files that vanish. Those are a change like any other.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::PatternError;

/// A file set cannot be made or looked at. Each variant but the last names the pattern or path.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A pattern is not well formed.
    #[error("pattern {pattern:?} cannot be used")]
    Pattern {
        /// The pattern as it was given.
        pattern: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// A file, directory or link is there but cannot be looked at or read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A selected path is something without content that could be compared. It was not opened.
    #[error("{} is a {what}, which has no content to compare", path.display())]
    Special {
        /// Which one.
        path: PathBuf,
        /// What it is.
        what: SpecialFile,
    },
    /// A link leads to a directory above the root of the set, and patterns select what is in it at any depth. To follow it
    /// would be to go through all of that, and in circles.
    #[error("link {} leads to a directory above {}, all of which globs would choose: leave the link out", path.display(), root.display())]
    LeadsOut {
        /// The link.
        path: PathBuf,
        /// Root of the set.
        root: PathBuf,
    },
    /// A file changed during each of several attempts to read it.
    #[error("{} kept changing while it was read", path.display())]
    Unstable {
        /// Which one.
        path: PathBuf,
    },
    /// The set has more entries than a scan takes in.
    #[error("{} has more than {limit} files", root.display())]
    TooMany {
        /// Root of the set.
        root: PathBuf,
        /// How many a scan takes in.
        limit: usize,
    },
    /// The caller asked the scan to stop.
    #[error("stopped")]
    Stopped,
}

impl SourceError {
    /// The path that the error is about.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Unreadable { path, .. }
            | Self::Special { path, .. }
            | Self::LeadsOut { path, .. }
            | Self::Unstable { path } => Some(path),
            Self::Pattern { .. } | Self::TooMany { .. } | Self::Stopped => None,
        }
    }
}

/// Something in a directory that is neither file, directory nor link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialFile {
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

impl fmt::Display for SpecialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipe => "named pipe",
            Self::Socket => "socket",
            Self::Device => "device",
        })
    }
}
