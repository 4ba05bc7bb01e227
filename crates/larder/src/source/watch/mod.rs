//! Watching: whether something has happened to what was looked at, without looking again.
//!
//! Nothing is watched but what somebody looks at: the file itself, and each directory on the way to it from the root.
//! The watch stands before the look. So whatever changes what the look would find is told, by one of them, from the
//! beginning of the look on: a name in a directory that now belongs to something else, or what is in the file, by
//! whichever name of it that was written. There is no walk over the tree, and no new directory in which something can
//! happen before its watch stands.
//!
//! What a look found holds as long as its [`Vigil`] is unbroken, after [`WatchedRoot::catch_up`]. The kernel queues an
//! event within the system call that causes it, before that returns, and this instance's queue is read by nobody
//! else. So to read what stands in it is to know of everything that was done before. No file has to be written, to be
//! waited for, as where a thread in between delivers events at leisure.
//!
//! Where not everything would be told, nothing is: on file systems that somebody else may change (over a network, or
//! by a program), through symbolic links, below directories that don't tell upper from lower case, where a limit is
//! reached. After the queue ran over, something was mounted, or the root or a directory above it was moved,
//! everything is forgotten and watched anew. Not told is, as for stat data, what a process writes through a shared
//! memory mapping; it shows when the mapping ends. Nor is the asynchronous writing of `io_submit`; it shows when the
//! file is closed.
//!
//! Rejected: `notify`, which watches directories recursively, in a thread of its own, and says neither when the watch
//! of a new directory stands nor anything of a file that is written by a name outside of the tree.
//!
//! Whoever wants to wait until something happens gets [`Notices`].
//!
//! Not here: what was seen (`engine`).

#[cfg(target_os = "linux")]
mod kernel;
mod notices;
mod root;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use notices::Listener;
pub use notices::{Notice, Notices, WatchedFiles};
pub use root::WatchCounts;
pub(crate) use root::{Mark, Vigil, WatchedRoot};

use std::os::fd::OwnedFd;
use std::path::Path;

/// What tells of changes: the kernel, or a model of it in a test.
trait Feed: Send {
    /// Watches what is at `path` itself, and not what a link there leads to, and says what it is. The directory that
    /// it is in is watched already, so that whatever takes its place meanwhile is told.
    fn watch(&mut self, path: &Path) -> Watched;

    /// Watches a directory above the root: what happens to itself, not what happens in it.
    fn watch_above(&mut self, path: &Path) -> Watched;

    /// Tells the directory at `path` from all others that there are.
    fn identity(&mut self, path: &Path) -> Option<Identity>;

    /// Ends a watch.
    fn unwatch(&mut self, id: WatchId);

    /// What can be read from when something has happened; `None` if that can't be waited for.
    fn descriptor(&self) -> Option<OwnedFd>;

    /// All that happened before the call and was not taken yet, in order.
    fn take(&mut self) -> Result<Vec<Event>, Lost>;
}

/// What the kernel knows a watch by. Two names of one thing have one.
type WatchId = i32;

/// Device and inode.
type Identity = (u64, u64);

/// What came of watching something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Directory(WatchId),
    File(WatchId),
    /// There is nothing.
    Nothing,
    /// Not everything about it would be told.
    Unreliable,
    /// No more can be watched.
    Full,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    id: WatchId,
    /// Of what in the directory; `None` if it happened to what is watched itself.
    name: Option<Box<[u8]>>,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A name came, went, or belongs to something else.
    Name,
    /// Content was written, or may have been.
    Content,
    /// Permissions, owner, links or times.
    Attributes,
    /// The watch has ended, or what is watched is somewhere else.
    Gone,
}

/// Why not everything that happened is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// More happened than the kernel's queue holds.
    Overflow,
    /// Something was mounted or unmounted somewhere.
    Mounts,
    /// The queue can't be read.
    Failed,
}
