//! Taking over what changes while the server runs: the access file, the secrets that it names, and the certificates.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder::tier::disk::ScopeLimits;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::tls::Tls;
use crate::guard::access::{self, AccessError, Outside};
use crate::guard::{Guard, Rules};
use crate::store::Store;

/// How often is looked whether a file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// An access file, and what it may look at.
#[derive(Clone)]
pub struct AccessFile {
    /// Where it is.
    pub path: PathBuf,
    /// A variable of the environment, for secrets that stand there.
    pub variable: fn(&str) -> Option<String>,
}

impl fmt::Debug for AccessFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessFile({})", self.path.display())
    }
}

/// An access file can't be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It can't be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has mistakes.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Anybody on the network could write.
    #[error("{} lets anybody write on an address that others reach", .0.display())]
    Open(PathBuf),
}

impl AccessFile {
    /// Reads it. Blocks.
    pub fn read(&self) -> Result<Rules, ReloadError> {
        self.read_from().0
    }

    /// Reads it, and tells which files that took. Blocks.
    fn read_from(&self) -> (Result<Rules, ReloadError>, Files) {
        let files = RefCell::new(Files::new());
        let read_file = |path: &Path| {
            files.borrow_mut().push((path.to_owned(), stamp(path)));
            fs::read(path)
        };
        let read = || {
            let failed = |source| ReloadError::Read { path: self.path.clone(), source };
            let text = read_file(&self.path).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            });
            let outside = Outside { variable: &self.variable, file: &read_file };
            Ok(access::read(&self.path, &text.map_err(failed)?, outside)?)
        };
        (read(), files.into_inner())
    }
}

/// Takes over files that change.
#[derive(Debug)]
pub struct Reloader {
    pub(super) guard: Guard,
    pub(super) store: Store,
    pub(super) access: Option<AccessFile>,
    pub(super) tls: Option<Arc<Tls>>,
    /// Whether others than this machine reach the server.
    pub(super) is_reachable: bool,
}

/// By what a change of a file is seen.
type Stamp = Option<(SystemTime, u64, u64)>;
/// Files, and how each was before it was read.
type Files = Vec<(PathBuf, Stamp)>;

impl Reloader {
    /// Takes over each file when it changes, and all of them when `asked` says so, for as long as it is polled. What
    /// can't be used is told of, and what held before holds on. Never ends.
    pub async fn attend(&self, asked: &Notify) -> std::convert::Infallible {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Anew, as they may have changed since they were read for the beginning.
        let mut access = self.reload_access();
        let mut certificates = self.certificates();
        self.reload_tls();
        loop {
            let asked = tokio::select! {
                () = asked.notified() => true,
                _ = looks.tick() => false,
            };
            if asked || have_changed(&access) {
                access = self.reload_access();
            }
            if asked || have_changed(&certificates) {
                certificates = self.certificates();
                self.reload_tls();
            }
        }
    }

    fn certificates(&self) -> Files {
        let files = self.tls.iter().flat_map(|tls| tls.files());
        files.map(|path| (path.to_owned(), stamp(path))).collect()
    }

    /// Takes over the access file, and tells which files that took.
    fn reload_access(&self) -> Files {
        let Some(file) = &self.access else { return Files::new() };
        let (read, files) = file.read_from();
        let read = read.and_then(|rules| {
            let guard = Guard::new(rules.clone());
            if self.is_reachable && guard.is_open() {
                return Err(ReloadError::Open(file.path.clone()));
            }
            Ok(rules)
        });
        match read {
            Ok(rules) => {
                tracing::info!(file = %file.path.display(), "access file taken over");
                let knows_clients = self.tls.as_ref().is_some_and(|tls| tls.options().knows_clients());
                for doubt in access::doubts(&rules, knows_clients, self.guard.clock().wall()) {
                    tracing::warn!("{doubt}");
                }
                self.take(rules);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the access file is not taken over, and the old rules hold on");
            }
        }
        files
    }

    /// Has rules hold from now on.
    pub(super) fn take(&self, rules: Rules) {
        let limits = rules.scopes.iter().map(|(scope, rules)| {
            (scope.clone(), ScopeLimits { max_bytes: rules.quota_bytes, max_age: rules.max_age })
        });
        self.store.opened().limit_scopes(limits.collect());
        self.guard.replace(rules);
    }

    fn reload_tls(&self) {
        let Some(tls) = &self.tls else { return };
        match tls.reload() {
            Ok(()) => tracing::info!("certificates taken over"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the certificates are not taken over, and the old ones stay");
            }
        }
    }
}

fn have_changed(files: &[(PathBuf, Stamp)]) -> bool {
    files.iter().any(|(path, seen)| stamp(path) != *seen)
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
