//! Disk tier: small values in one index, large ones as files named by their digest.
//!
//! A directory holds, under `v1/`, an SQLite index in write-ahead mode and the folder `blobs/`. The index is the
//! truth about entries, the folder is the truth about blobs: whether a blob is there is asked of the file system,
//! and the index only adds which entries name it. `docs/format.md` describes both.
//!
//! Invariants:
//! - A file under `blobs/` was complete and matched its name when it was published, and is checked against it
//!   again before any of its bytes leave this module. What does not match is moved to `quarantine/`.
//! - An entry is written in one transaction together with the check that nothing revoked it and that its blobs
//!   are there. Blobs are removed within a write transaction too, so neither can slip between the other's steps.
//! - A damaged index is set aside whole and a fresh one is begun: the tier is then empty, never wrong.
//!
//! Several processes may have one directory open at once. All operations block; the [`Tier`](super::Tier) face
//! runs them on the runtime's blocking threads, or brief ones in place where [`DiskOptions`] say so.
//!
//! Not here: what an envelope means (`entry`), when to try again (`tier`), when gc is due (`engine`).
//!
//! Rejected: memory-mapped stores (a bad disk becomes a signal), stores that one process locks, one file an entry
//! (slower than SQLite below 100 KB and a block each), hard links to blobs (whoever writes to the linked file
//! writes into the cache), blobs counted by an index (it disagrees with the folder sooner or later).

mod amount;
mod ballast;
mod blobs;
mod content;
mod convey;
mod face;
mod fault;
mod follow;
mod gather;
mod gc;
mod get;
mod invalidate;
mod lease;
mod list;
mod lock;
mod meta;
mod notes;
mod open;
mod pin;
mod put;
mod quota;
mod ready;
mod repair;
mod restore;
mod schema;
mod select;
mod store;
mod sweep;
mod touch;
mod transfer;
mod verify;

pub use blobs::{BlobError, StoredBlob, TEMPORARY, temporary_name};
pub use content::{Content, NewBlob};
pub use gc::{Collected, Departed, Eviction, Limits, Reclaimed};
pub use lease::Lease;
pub use list::{Listed, Order, Usage};
pub use notes::Noted;
pub use open::{Disk, DiskOptions};
pub use pin::Pin;
pub use quota::ScopeLimits;
pub use ready::LongLog;
pub use repair::Repaired;
pub use restore::{Made, Restored};
pub use transfer::{TransferError, Transferred};
pub use verify::{Problem, Verified};
