//! Finding entries by a selector: a walk over the notes that it could be about.

use larder::key::{Key, Selector};
use larder::tier::TierError;

use super::Etcd;
use super::gateway::Failure;
use super::log::two;
use super::put::Note;
use super::wire::{Bytes, Compare, Delete, Op, Range, Ranged, Reply, Txn};

/// How many notes are looked at in one step.
const PAGE: usize = 1000;
/// How many entries are deleted in one step: a transaction has 128 parts at most, those inside counted.
const BATCH: usize = 40;

/// An entry that was found.
struct Found {
    key: Key,
    note: Note,
    revision: i64,
    /// Whether it is served, so that somebody can miss it; `None` where there is no log to tell by.
    served: Option<bool>,
}

impl Etcd {
    /// The keys of the entries that any of some selectors selects.
    pub(super) async fn keys(&self, selectors: &[Selector]) -> Result<Vec<Key>, TierError> {
        let mut keys = Vec::new();
        for selector in selectors {
            let found = self.find(selector).await?;
            keys.extend(found.into_iter().filter(|found| found.served == Some(true)).map(|found| found.key));
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Deletes what a selector selects and is no newer than a revision. Returns the keys, and how many bytes they took.
    pub(super) async fn remove(&self, selector: &Selector, newest: i64) -> Result<(Vec<Key>, u64), Failure> {
        let names = &self.inner.names;
        let (mut keys, mut bytes) = (Vec::new(), 0);
        let mut found = self.find(selector).await?;
        found.retain(|found| found.revision <= newest);
        for batch in found.chunks(BATCH) {
            let delete = |found: &Found| {
                let pieces = found.note.upload.iter().map(|upload| Delete::below(names.pieces(upload)));
                let all = [Delete::one(names.note(&found.key)), Delete::one(names.entry(&found.key))];
                Op::Txn(Txn {
                    // What came in its place is newer.
                    compare: vec![Compare::changed_in(names.note(&found.key), found.revision)],
                    success: all.into_iter().chain(pieces).collect(),
                    failure: Vec::new(),
                })
            };
            let success = batch.iter().map(delete).collect();
            let done = self.transact(&Txn { success, ..Txn::default() }).await?;
            for (found, reply) in batch.iter().zip(done.responses) {
                let is_gone = matches!(reply, Reply::Txn(done) if done.succeeded);
                if is_gone && found.served != Some(false) {
                    keys.push(found.key.clone());
                    bytes += found.note.bytes;
                }
            }
        }
        Ok((keys, bytes))
    }

    async fn find(&self, selector: &Selector) -> Result<Vec<Found>, Failure> {
        let names = &self.inner.names;
        let mut range = Range { limit: Some(PAGE), ..Range::below(names.notes(selector)) };
        let mut all = Vec::new();
        loop {
            let [epoch, notes] = two(self.look([Range::one(names.epoch()), range.clone()]).await?.ranges());
            let begun = epoch.kvs.first().map(|epoch| epoch.create_revision);
            let Ranged { kvs, more, .. } = notes;
            let last = kvs.last().map(|last| last.key.clone());
            for stored in kvs {
                let Some(key) = stored.key.text().and_then(|name| names.key_of(name)) else { continue };
                let Some(note) = Note::of(&stored) else { continue };
                // When an entry was used last the server does not know.
                if selector.matches(&key, &note.tags, None) {
                    let revision = stored.mod_revision;
                    all.push(Found { key, note, revision, served: begun.map(|begun| begun < revision) });
                }
            }
            let Some(Bytes(mut next)) = last.filter(|_| more) else { return Ok(all) };
            next.push(0);
            range.key = Bytes(next);
        }
    }
}
