//! Redis and Valkey, one server.
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
//! its first step on, also if whoever began it dies: others take it up.
//!
//! **Epochs** are microseconds of the server's clock, and each is above the one before: a server that lost its data, or
//! stepped back to an older copy, tells no epoch twice, so that whoever followed the lost log notices.
//!
//! Nothing here needs two keys in one step but the log, so that it works on a cluster's many servers too.

mod blob;
mod connection;
mod face;
mod lease;
mod log;
mod names;
mod put;
mod select;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use self::connection::Connections;
use self::names::Names;
use crate::url::{Options, UrlError};

/// A Redis or Valkey server as a shared tier. A clone is another handle to the same connections.
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
    releasing: watch::Sender<usize>,
    /// Since when pending invalidations are seen.
    pending: Mutex<HashMap<u64, Instant>>,
}

impl Redis {
    /// Takes a URL such as `redis://user:password@host:6379/0?namespace=team`. Connects to nothing yet.
    pub fn open(url: &str, options: Options) -> Result<Self, UrlError> {
        let (url, namespace) = names::namespace(url)?;
        let client = redis::Client::open(url).map_err(|error| UrlError::Malformed(Box::new(error)))?;
        let info = client.get_connection_info();
        let log = format!("redis {}/{} {namespace}", info.addr(), info.redis_settings().db());
        Ok(Self {
            inner: Arc::new(Inner {
                connections: Connections::new(client),
                names: Names::new(&namespace),
                log,
                options,
                epoch: AtomicU64::new(0),
                releasing: watch::Sender::new(0),
                pending: Mutex::default(),
            }),
        })
    }
}
