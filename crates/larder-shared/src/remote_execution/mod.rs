//! Any cache that speaks the Remote Execution API, version 2: a client.
//!
//! All that larder says there are action results, each under the digest of a name in the place of an action's:
//!
//! | name | says | names as output files |
//! |---|---|---|
//! | `epoch` | the epoch | |
//! | `entry`, a key | under which epoch it was stored, until when it holds; the envelope, if it is short | pieces of a long envelope, and of all blobs that the entry names |
//! | `blob`, a digest | its form and length; its bytes, if they are few | its pieces |
//!
//! Names hold the number of this layout and the whole key; a server that checks that results are complete keeps an
//! entry and its blobs together, or drops them. Pieces are of 1 MiB, addressed by BLAKE3 where the server offers that,
//! else by SHA-256, and travel in batches or as streams, by their length. What they hold is checked by whoever takes
//! the blob, against larder's own digest.
//!
//! **Blobs go as they are stored**, in pieces. Addressing a blob by its own digest would spare a server that speaks
//! BLAKE3 the second name. But the protocol wants the length of the content with each digest, which whoever asks for a
//! blob does not know; a frame that the server packed anew has another length than was announced; and for SHA-256 a
//! blob would have to be read twice. With pieces, memory holds a few of them, and one that fails is sent again alone.
//!
//! **Invalidating.** The protocol has no delete, no list, no log and no way to write only where nobody else wrote, and a
//! server may drop anything at any time. What is safe there is that something is *present*: an entry is served only
//! while the very epoch under which it was stored stands there, so both are read for each answer. An invalidation, of
//! whatever, puts a new epoch in its place, which no writer ever takes again:
//!
//! - *Entries from before* are misses from then on, to everybody: theirs is another epoch.
//! - *A computation that began before* knows the old epoch, and its entry says so: it is refused, and if it arrives
//!   late it is not served.
//! - *Two invalidations at once*: each is written until its own epoch is read back, so that each took its place at some
//!   moment after it began. Nothing is served that was stored before either.
//! - *A write that arrives late*, after later ones, puts an epoch there under which nothing is stored, as each attempt
//!   has another: a loss of entries, no more.
//! - *The server dropped the epoch*: nothing is served until somebody begins another. Of several who do at once each
//!   takes up the one that stays, as far as a way to the server and back shows which that is.
//! - *Others* see an epoch that is not the one that they saw last, and drop what they have.
//!
//! So each invalidation is one of everything. Rejected, as each would say less and be wrong at times:
//!
//! - *A log under numbers, read until one is missing*: the newest one may have been dropped, and nothing tells it from
//!   one that was never written. Of two who write one number at once the first may read its own back and be
//!   overwritten afterwards.
//! - *A tombstone in the place of the entry*: one that was computed before and arrives later takes its place.
//! - *An epoch with the list of those before it*: two who read the same one and write one after the other leave a list
//!   without the first one's. Marks that each reads and writes in turn find that out, unless the server drops the
//!   epoch in between, which it may.
//!
//! This holds if a server answers a read with what was last written there. One that steps back to an older copy of
//! itself may serve what was invalidated since; so may several that copy from each other at leisure.
//!
//! **Epochs** are microseconds of the writer's clock, or the epoch before where that is ahead of it, and 32 bits that
//! nobody guesses on top. All that counts is whether two are the same, so that no clock has to be right.
//!
//! Not here: leases, which take a server that gives something to one of two. Everybody gets them.

mod address;
mod blob;
mod connection;
mod content;
mod epoch;
mod face;
mod put;
mod statement;
mod terms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::OnceCell;

use self::address::Address;
use self::connection::{Connections, Token};
#[cfg(feature = "fuzzing")]
pub(crate) use self::statement::check_statement;
use self::terms::Terms;
use crate::tls::Tls;
use crate::url::{Options, UrlError};

/// A cache that speaks the Remote Execution API as a shared tier. A clone is another handle to the same connections.
#[derive(Debug, Clone)]
pub struct RemoteExecution {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connections: Connections,
    instance: String,
    log: String,
    options: Options,
    terms: OnceCell<Terms>,
    /// The epoch that was read last, 0 for none. It may be out of date: an older one is as right.
    epoch: AtomicU64,
    read_only: AtomicBool,
}

impl RemoteExecution {
    /// Takes a URL such as `grpc://host:port/instance`. Connects to nothing yet.
    pub fn open(url: &str, options: Options) -> Result<Self, UrlError> {
        let Address { endpoint, encrypted, host, instance } = Address::parse(url)?;
        let token = Token::new(options.token.as_ref().map(|token| token.reveal())).ok_or(UrlError::Token)?;
        let tls = if encrypted { Some(Tls::read(&options.tls)?) } else { None };
        let log = format!("remote-execution {host} {instance}");
        Ok(Self {
            inner: Arc::new(Inner {
                connections: Connections::new(endpoint, tls, token),
                instance,
                log,
                options,
                terms: OnceCell::new(),
                epoch: AtomicU64::new(0),
                read_only: AtomicBool::new(false),
            }),
        })
    }

    /// Whether the server takes nothing, as far as is known.
    fn reads_only(&self) -> bool {
        self.inner.read_only.load(Ordering::Acquire)
    }

    /// Notes, and says once, that the server takes nothing.
    fn only_reads(&self) {
        if !self.inner.read_only.swap(true, Ordering::AcqRel) {
            tracing::warn!("the shared cache may only be read: what is computed here is not sent there");
        }
    }
}
