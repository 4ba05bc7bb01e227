//! etcd, one server or a cluster, over its JSON gateway.
//!
//! | key | holds | ends |
//! |---|---|---|
//! | `NS/m/SCOPE/KIND@V/ID` | what is known of an entry: where its envelope is, how long that is, its tags | with its term |
//! | `NS/e/SCOPE/KIND@V/ID` | its envelope, unless that is in pieces | with its term |
//! | `NS/b/DIGEST` | a blob's form and length, and which upload its pieces are of | with its term |
//! | `NS/p/UPLOAD/N` | a piece of a blob, or of an envelope that is long | with its term |
//! | `NS/q/…` | what stood under a name before it was set aside | after a week |
//! | `NS/l/DIGEST` | who computes the key with this digest | with its holder |
//! | `NS/t/SECONDS` | the lease of a term | with the term |
//! | `NS/epoch` | the epoch | |
//! | `NS/log/EPOCH` | an invalidation; the first one is empty | when the log is long |
//! | `NS/pending/EPOCH` | an invalidation whose entries are not all removed yet | when they are |
//!
//! `NS` is `larder1`, with the number of this layout.
//!
//! **Storing** an entry is one transaction: it is put if the epoch is the one at which its computation began. If the
//! epoch moved on the log is read, and unless something there covers the entry it is tried again with the newer epoch.
//! **Invalidating** moves the epoch on, writes the log and lists the invalidation as pending, in one transaction; then
//! what it covers is deleted where it is older; then it is no longer pending. Whatever is older than a pending
//! invalidation that covers it is not served, so it holds from its first step on, also if whoever began it dies:
//! others take it up. **Older** is by revision, of which etcd gives each transaction one.
//!
//! What is older than the log itself is not served either. So a server that has no room left for an entry in the log is
//! told of an invalidation by taking the log away, which needs no room.
//!
//! **Epochs** are microseconds of the clock of whoever invalidates, each above the one before, and each stands in the
//! log. Who asks from an epoch that does not, because the log was cut or is another one, hears that anything may have
//! been invalidated. What is computed begins under any epoch that the log had by then: what is invalidated later stands
//! behind that. So an older epoch than the one that was told last is taken over where the log does not have what is
//! asked for, as that of a server which was set back, or of another one. History is nowhere needed, so that it may be
//! compacted at any time.
//!
//! **Terms**: leases cost the server memory, so what lives about as long shares one, in the whole team.

mod address;
mod blob;
mod face;
mod gateway;
mod lease;
mod log;
mod names;
mod put;
mod select;
mod terms;
mod wire;

use std::sync::Arc;

use parking_lot::Mutex;

use self::address::Address;
use self::gateway::Gateway;
use self::names::Names;
#[cfg(feature = "fuzzing")]
pub(crate) use self::put::check_note;
use self::terms::Terms;
use crate::pending::Pending;
use crate::releasing::Releasing;
use crate::tls::Tls;
use crate::url::{Options, UrlError};

/// An etcd server or cluster as a shared tier. A clone is another handle to the same connections.
#[derive(Debug, Clone)]
pub struct Etcd {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gateway: Gateway,
    names: Names,
    log: String,
    options: Options,
    /// What the server told last of its log. It may be out of date: an older epoch is as right.
    told: Mutex<Option<log::Told>>,
    terms: Terms,
    holder: lease::Holder,
    /// How many leases are being given back.
    releasing: Releasing,
    pending: Pending,
}

impl Etcd {
    /// Takes a URL such as `etcd://user:password@host:2379,other:2379?namespace=team`. Connects to nothing yet.
    pub fn open(url: &str, options: Options) -> Result<Self, UrlError> {
        let address = Address::parse(url)?;
        let tls = if address.encrypted { Some(Tls::read(&options.tls)?) } else { None };
        Ok(Self {
            inner: Arc::new(Inner {
                gateway: Gateway::new(&address, tls),
                names: Names::new(&address.namespace),
                log: address.log(),
                options,
                told: Mutex::default(),
                terms: Terms::default(),
                holder: lease::Holder::default(),
                releasing: Releasing::new(),
                pending: Pending::default(),
            }),
        })
    }
}
