//! Files: which belong together, what is in them, and whether that has changed.
//!
//! A [`FileSet`] says which files below a root belong together. A scan ([`FileSet::scan`]) makes a [`Snapshot`]
//! of them, whose fingerprint stands for all of their content; given the previous snapshot, it reads only the
//! files that stat data does not vouch for. The previous snapshot is a hint, never a truth: the outcome is the
//! same with any or none.
//!
//! Everything in here is synchronous and blocks on the file system: call it on a blocking pool. A scan starts
//! threads of its own only for large sets, and ends them before it returns.
//!
//! A [`StatTable`] does for single files and listings what a snapshot does for a set.
//!
//! Not here: where snapshots are stored, and what is done about a change.

mod error;
mod format;
mod gitpattern;
mod ignore;
mod index;
mod look;
mod pattern;
mod previous;
mod read;
mod scan;
mod set;
mod snapshot;
mod stat;
mod table;
mod walk;
mod watch;
mod written;

pub use error::{SourceError, SpecialFile};
pub use format::SnapshotFormatError;
pub use ignore::GitIgnores;
pub use pattern::PatternError;
pub use read::{FileDigest, digest_file, digest_open_file};
pub use scan::{Counts, Scan, ScanOptions};
pub use set::{FileSet, FileSetBuilder, Ignore};
pub use snapshot::{Changes, Entry, EntryKind, Leads, Snapshot};
pub(crate) use stat::keeps_stamps;
pub use stat::{Stat, process_umask};
pub use table::{Looked, StatTable};
pub(crate) use watch::{Listener, Mark, Vigil, WatchedRoot};
pub use watch::{Notice, Notices, WatchCounts, WatchedFiles};
pub use written::Written;
