//! Redis and Valkey: one server, one that sentinels watch, or a cluster.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `NS:e:SCOPE/KIND@V/ID` | hash | `e` an envelope, `t` its tags; `s` while it is not to be served |
//! | `NS:b:DIGEST` | string | a blob's form, length and number of pieces, and which upload they are of |
//! | `NS:p:DIGEST:UPLOAD:N` | string | a piece of a blob |
//! | `NS:l:DIGEST` | string | who computes the key with this digest |
//! | `{NS}:epoch` | string | the epoch |
//! | `{NS}:log` | stream | invalidations; the number of each is its epoch |
//! | `{NS}:pending` | hash | invalidations whose entries are not all removed yet |
//!
//! All but the last three have a time to live. `NS` is `larder1`, with the number of this layout.
//!
//! **Storing** an entry: it is put with a mark that keeps it from being served; then the log is read since the epoch at
//! which its computation began; if nothing there covers it the mark goes. **Invalidating**: the log and the list of
//! pending invalidations are written in one step; then all keys are walked and what is covered is deleted, marked or
//! not; then it is no longer pending. So an invalidation that comes before the log is read is seen by who stores, and
//! one that comes later finds the entry there. Whatever a pending invalidation covers is not served, so it holds from
//! its first step on, also if whoever began it dies: others take it up. **Reading**: what is pending is asked for before the
//! entry, as an invalidation that ended by then has removed what it covers.
//!
//! **Epochs** are microseconds of the server's clock, and each is above the one before: a server that lost its data, or
//! stepped back to an older copy, gives none to two invalidations, so that whoever followed the lost log notices. What is
//! computed begins under any epoch that the log had by then: what is invalidated later stands behind that in the same
//! log, and a log that does not have it covers everything. So an older epoch is as right as the newest, and a newer one
//! never is. A server that tells an older one than it told before it was asked stepped back: so did one whose
//! log has an epoch from before one that somebody followed, and not that one. Whoever hears that first invalidates
//! everything, above all epochs that were told, as what was lost may be about anything: so the entries that it had removed
//! go again, and whoever followed the lost part sees that somebody took care of it.
//!
//! Nothing here needs two keys in one step but the log, so that it works on a cluster's many servers too. Where another
//! server may take the place of one that dies, an invalidation goes on when a second server knows of its last step.

mod blob;
mod connection;
mod face;
mod lease;
mod log;
mod names;
mod put;
mod select;
mod servers;
mod steps;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use self::connection::Connections;
use self::names::Names;
use self::servers::Named;
pub(crate) use self::servers::speaks;
use crate::pending::Pending;
use crate::releasing::Releasing;
use crate::url::{Options, UrlError};

/// A Redis or Valkey server, or a cluster of them, as a shared tier. A clone is another handle to the same connections.
#[derive(Debug, Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connections: Connections,
    names: Names,
    log: String,
    options: Options,
    /// The newest epoch that the server told, 0 for none. It may be out of date: what begins under an older one is
    /// refused sooner than it has to be.
    epoch: AtomicU64,
    /// How many leases are being given back.
    releasing: Releasing,
    pending: Pending,
}

impl Redis {
    /// Takes a URL such as `redis://user:password@host:6379/0?namespace=team`, `redis+cluster://host,other` or
    /// `redis+sentinel://host,other/name`. Connects to nothing yet.
    pub fn open(url: &str, options: Options) -> Result<Self, UrlError> {
        let Named { servers, namespace, log } = Named::parse(url, &options)?;
        Ok(Self {
            inner: Arc::new(Inner {
                connections: Connections::new(servers),
                names: Names::new(&namespace),
                log,
                options,
                epoch: AtomicU64::new(0),
                releasing: Releasing::new(),
                pending: Pending::default(),
            }),
        })
    }
}
