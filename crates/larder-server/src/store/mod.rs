//! What the server keeps, whatever protocol it came by: contents under their digests, action results that name
//! contents, and objects that only their clients understand.
//!
//! All of it are entries of the engine, so memory, the disk tier, the shared tier, invalidation and statistics are the
//! engine's. Small bodies stand in the entry, larger ones are blobs that the entry names: one file, however many
//! scopes, protocols and digest functions know it.
//!
//! Invariants: a content becomes visible only when all of it came and matches its digest; an action result is given only
//! while each content that it names is there; what was acknowledged is on disk and, where there is a shared tier that
//! answers, in that too.
//! Not here: protocols (`rpc`, `http`), who may do what (`guard`).

mod content;
mod download;
mod health;
mod id;
mod object;
mod once;
mod replace;
mod result;
mod scan;
mod shelf;
mod unpack;
mod upload;
mod uses;

use std::sync::{Arc, OnceLock};

use larder::engine::{Kept, NotKept, Opened};
use larder::key::{KeyError, Scope};
use larder::tier::TierError;
use larder::tier::disk::Disk;
use parking_lot::Mutex;

pub use self::download::{Coding, Download};
use self::health::Health;
pub use self::id::{ContentId, Function};
pub use self::object::{Family, Object};
pub use self::once::Made;
use self::once::Once;
pub use self::result::Outcome;
pub(crate) use self::result::named;
use self::shelf::{Configured, MAX_SCOPES, Shelves};
#[cfg(feature = "fuzzing")]
pub(crate) use self::unpack::Unpack;
pub use self::upload::Upload;
use self::uses::Uses;
use crate::guard::Guard;

/// What is asked of the store can't be done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The content does not have the digest under which it was to be stored.
    #[error("content has digest {actual} and not {expected}")]
    Mismatch {
        /// Under which name it came.
        expected: ContentId,
        /// What it should have been called.
        actual: ContentId,
    },
    /// The content is not as long as was announced.
    #[error("content of {came} bytes came where {announced} were announced")]
    Length {
        /// How many bytes were to come.
        announced: u64,
        /// How many came, or more.
        came: u64,
    },
    /// The content is larger than the server takes.
    #[error("content is larger than the limit of {limit} bytes")]
    TooLarge {
        /// How many bytes it may have.
        limit: u64,
    },
    /// What came packed can't be unpacked.
    #[error("content is no whole zstd frame")]
    Packed,
    /// An action result is not well formed.
    #[error("action result is not well formed: {0}")]
    Result(&'static str),
    /// It is not kept.
    #[error("not kept: {0}")]
    NotKept(NotKept),
    /// The disk tier failed.
    #[error("the disk tier failed")]
    Tier(#[from] TierError),
    /// Something is removed here, and a shared tier has it still.
    #[error("the shared tier {tier} can't be told of a removal")]
    Untold {
        /// Which tier.
        tier: &'static str,
        /// Why not.
        source: TierError,
    },
    /// What names it is not well formed.
    #[error(transparent)]
    Name(#[from] KeyError),
    /// Something else is there, and is not replaced.
    #[error("something else is there already, and is not replaced")]
    WriteOnce,
    /// The server has as many scopes as it takes.
    #[error("the server has its {MAX_SCOPES} scopes already")]
    TooManyScopes,
}

/// What the server keeps. A clone is another handle.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    opened: Arc<Opened>,
    disk: Disk,
    largest_bytes: u64,
    shelves: Mutex<Shelves>,
    configured: OnceLock<Configured>,
    uses: Uses,
    health: Health,
    once: Once,
}

impl Store {
    /// A store in an engine and its disk tier. A content may have `largest_bytes`.
    pub fn new(opened: Arc<Opened>, disk: Disk, largest_bytes: u64) -> Self {
        let (shelves, configured) = (Mutex::default(), OnceLock::new());
        let (uses, health, once) = (Uses::default(), Health::default(), Once::default());
        Self {
            inner: Arc::new(Inner { opened, disk, largest_bytes, shelves, configured, uses, health, once }),
        }
    }

    /// Has room for the scopes that a server is configured with, however many others there are.
    pub(crate) fn configure(&self, default_scope: Scope, guard: Guard) {
        // Of several servers over one store the first one counts.
        let _ = self.inner.configured.set(Configured { default_scope, guard });
    }

    /// The engine below.
    pub fn opened(&self) -> &Arc<Opened> {
        &self.inner.opened
    }

    /// How many bytes a content may have.
    pub(crate) fn largest_bytes(&self) -> u64 {
        self.inner.largest_bytes
    }

    /// Whether the disk tier answers, and takes what is put.
    pub(crate) async fn is_well(&self) -> bool {
        self.inner.health.is_well(&self.inner.disk).await
    }

    /// Says whether something is kept. What memory alone has is lost with the process, so nobody is told that it is kept.
    async fn acknowledge(&self, kept: Kept) -> Result<(), StoreError> {
        let outcome = match kept {
            Kept::Yes => Ok(()),
            Kept::No(why) | Kept::InMemoryOnly(why) => Err(match why {
                // The engine does not tell with what.
                NotKept::TierFailed(_) => match health::trouble(&self.inner.disk).await {
                    Some(error) => StoreError::Tier(error),
                    None => StoreError::NotKept(why),
                },
                why => StoreError::NotKept(why),
            }),
        };
        self.inner.health.note(outcome)
    }
}
