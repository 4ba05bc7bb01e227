//! S3, and whatever speaks its protocol with conditions on writes.
//!
//! | object | holds |
//! |---|---|
//! | `BASE/e/SCOPE/KIND=V/ID` | an entry: a header, then its envelope; or a claim, which is none |
//! | `BASE/b/DIGEST` | a blob: eight bytes, then its stored form |
//! | `BASE/l/DIGEST` | who computes the key with this digest |
//! | `BASE/log` | the invalidation log: the last invalidations, and those that are pending |
//! | `BASE/q/…` | what proved bad, under the name that it had |
//! | `BASE/probe` | nothing: it shows whether the server heeds conditions |
//!
//! `BASE` is the URL's prefix and `larder1`, with the number of this layout.
//!
//! # What the server gives
//! Reads and lists see what was written before they began. A write may be on condition that nothing stands there
//! (`If-None-Match: *`), or what stands there is in the state that a tag stands for (`If-Match`). There are no
//! transactions. A server that ignores conditions is found out before the first such write and not used.
//!
//! # The log
//! It is one object, of which each state is written in the place of the one before on condition that this is still
//! there: so of two writers one comes second, reads, and writes a later state. No two invalidations have one number,
//! and what is told and what is pending changes in one step. Epochs are microseconds of the writer's clock, and each
//! is above the one before. Whoever follows asks for the log unless it is in the state that they know.
//!
//! An epoch that is not among those that the log tells is one of a log that was lost, or of what was cut off, so
//! anything may have been invalidated. One from after the log's first, or from after its end, is one that the log lost,
//! as the bucket was put back to an older copy: whoever knows of it invalidates everything, once, above it. Entries
//! name the log that they go by (`born`): after a loss none of the old ones is served, as an invalidation that covered
//! them may have been pending.
//!
//! # Storing
//! 1. The **claim**: an object that no other is like takes the entry's place.
//! 2. The log is read. If something since the epoch at which the computation began covers the key, that is all.
//! 3. The **entry** takes the claim's place, on condition that the claim is still there. It says up to which epoch it
//!    was checked.
//!
//! # Invalidating
//! 1. The log is written: what is invalidated is told, and pending.
//! 2. Entries are listed; what is covered is removed, and so is every claim of which nobody knows whether it is.
//! 3. It is no longer pending.
//!
//! # Reading
//! The entry and the log are read, both after somebody asked. The entry is served if nothing that the log tells or
//! has pending after the epoch up to which it was checked covers it.
//!
//! # Why nothing that an invalidation covers is served once that is in the log
//! Let the computation have begun before the invalidation was written (else its result is as new as can be).
//! - The log is written before a store's step 2: the store sees it and does not go on.
//! - It is written after, so the entry, should it get there, was checked up to an earlier epoch, and every reader who
//!   asks while the log tells of the invalidation sees that.
//! - The log is cut some time, and tells of it no more. It is pending until its step 2 is done, also if whoever began
//!   it died: others take it up after some seconds. Step 2 began after the claim was there, as that came before the
//!   store read the log; so it found the claim or the entry and removed it. A store whose claim was removed writes
//!   nothing, however late its last request arrives. Nor does another request bring the claim back: each attempt makes
//!   one of its own, and none is sent twice.
//!
//! For example, A computes `k` from old inputs; B invalidates `k` (epoch 7) and dies before it removes anything. A's
//! claim is there by then and A read the log at epoch 6, so A's entry says `checked 6`: no reader takes it. Five
//! seconds later C removes it, and 7 is pending no more.
//!
//! # What else could be done
//! - Objects that are numbered in order, each written on condition that there is none, are a log too. But whoever
//!   follows has to ask for the next one and whether the last one is still there, a reader has to list what is
//!   pending, and an author who dies between a number and what is pending leaves a gap that all have to close.
//! - Storing in one step, with the check by readers alone, is no promise after the log was cut: a write may arrive at
//!   any later time.
//! - A claim beside the entry, which is then copied: a copy that has begun comes to its end though the claim goes.

mod blob;
mod code;
mod face;
mod form;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod head;
mod keys;
mod lease;
mod log;
mod names;
mod place;
mod put;
mod select;
mod store;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

#[cfg(feature = "fuzzing")]
pub(crate) use self::fuzzing::{check_entry, check_log};
use self::keys::Keys;
pub use self::keys::{Container, ContainerToken, Profile, WebIdentity};
use self::lease::Watched;
use self::log::Seen;
use self::names::Names;
use self::place::Place;
pub use self::place::{AccessKey, S3Options};
use self::store::Store;
use crate::pending::Pending;
use crate::releasing::Releasing;
use crate::url::{Options, UrlError};

/// A part of a bucket as a shared tier. A clone is another handle to the same connections.
#[derive(Debug, Clone)]
pub struct S3 {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    names: Names,
    log: String,
    options: Options,
    /// The log as it was seen last. An older state is as right.
    seen: Mutex<Option<Arc<Seen>>>,
    /// The newest epoch that was told to anybody here, 0 for none.
    told: AtomicU64,
    /// How many leases are being given back.
    releasing: Releasing,
    pending: Pending,
    watched: Mutex<Watched>,
}

impl S3 {
    /// Takes a URL such as `s3://BUCKET/PREFIX?endpoint=https://host:9000&region=eu-1&path_style=true`. Connects to
    /// nothing yet.
    pub fn open(url: &str, options: Options) -> Result<Self, UrlError> {
        let place = Place::parse(url, &options.s3)?;
        let keys = Keys::new(&options.s3, &place, &options.tls, &options.clock)?;
        let names = Names::new(&place.prefix);
        Ok(Self {
            inner: Arc::new(Inner {
                store: Store::new(&place, keys, &options.tls, names.probe())?,
                names,
                log: place.name(),
                options,
                seen: Mutex::default(),
                told: AtomicU64::new(0),
                releasing: Releasing::new(),
                pending: Pending::default(),
                watched: Mutex::default(),
            }),
        })
    }
}
