//! Storing and reading entries.

use larder::key::{Digest, Key};
use larder::tier::{Epoch, Invalidation, PutOutcome, Refusal, Sealed, TierError};

use super::Etcd;
use super::gateway::Failure;
use super::log::{Pended, back_off, busy, two};
use super::wire::{Bytes, Compare, Delete, Done, Op, Put, Range, Ranged, Reply, Stored, Txn};
use crate::limits::{ASIDE, MAX_ENVELOPE_BYTES};
use crate::naming::unique;
use crate::tags;

/// A longer envelope goes in pieces, as a server takes requests of 1.5 MiB.
const MAX_WHOLE_BYTES: usize = 1 << 20;
/// How long a piece is at most.
pub(super) const PIECE_BYTES: usize = 512 << 10;
/// An entry that names more blobs is not taken: a transaction has that many steps at most, and others besides.
const MAX_BLOBS: usize = 96;
/// How often a transaction is tried that others come before.
const ATTEMPTS: u32 = 40;

/// What is known of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) bytes: u64,
    /// Which upload its pieces are of, if its envelope is in pieces.
    pub(super) upload: Option<String>,
    pub(super) tags: Vec<std::sync::Arc<str>>,
}

impl Note {
    fn text(&self) -> String {
        let upload = self.upload.as_deref().unwrap_or("whole");
        format!("1 {} {upload}\n{}", self.bytes, tags::join(&self.tags))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, tags) = text.split_once('\n')?;
        let parts: Vec<&str> = first.split(' ').collect();
        let ["1", bytes, upload] = parts.as_slice() else { return None };
        let upload = Some((*upload).to_owned()).filter(|upload| upload != "whole");
        Some(Self { bytes: bytes.parse().ok()?, upload, tags: tags::split(tags) })
    }

    pub(super) fn of(stored: &Stored) -> Option<Self> {
        Self::parse(stored.value.text()?)
    }
}

impl Etcd {
    /// The envelope filed under a key, unless it is not to be served.
    pub(super) async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        let names = &self.inner.names;
        let looks = [
            Range::one(names.note(key)),
            Range::one(names.entry(key)),
            Range::one(names.epoch()),
            Range::below(names.pending()),
        ];
        let mut found = self.look(looks).await?.ranges();
        let [note, envelope] = two(&mut found);
        let [epoch, pending] = two(&mut found);
        let pending = Pended::all(&pending);
        let note = note.kvs.first();
        let is_held_back = note.is_some_and(|note| {
            let holds =
                |pended: &Pended| pended.holds_back(note.mod_revision, |selector| selector.matches_key(key));
            pending.iter().any(holds)
        });
        self.take_up(pending);
        // What is older than the log may be covered by what the log has lost.
        let begun = epoch.kvs.first().map(|epoch| epoch.create_revision);
        let note = note.filter(|note| !is_held_back && begun.is_some_and(|begun| begun < note.mod_revision));
        let Some(note) = note.and_then(Note::of) else { return Ok(None) };
        let envelope = match note.upload {
            None => envelope.kvs.into_iter().next().map(|envelope| envelope.value.0).unwrap_or_default(),
            Some(upload) => {
                let found: Ranged =
                    self.inner.gateway.ask("kv/range", &Range::below(names.pieces(&upload))).await?;
                found.kvs.into_iter().flat_map(|piece| piece.value.0).collect()
            }
        };
        Ok(Some(envelope).filter(|envelope| envelope.len() as u64 == note.bytes))
    }

    /// Stores entries; an outcome for each.
    pub(super) async fn store(&self, entries: Vec<Sealed>) -> Result<Vec<PutOutcome>, TierError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            let outcome = match self.store_one(&entry).await {
                Err(Failure::NoLease) => {
                    self.forget_terms();
                    self.store_one(&entry).await
                }
                outcome => outcome,
            };
            outcomes.push(match outcome {
                Err(Failure::NoSpace) => PutOutcome::Refused(Refusal::NoRoom),
                outcome => outcome?,
            });
        }
        Ok(outcomes)
    }

    async fn store_one(&self, entry: &Sealed) -> Result<PutOutcome, Failure> {
        let Sealed { key, record, envelope, began } = entry;
        if envelope.len() > MAX_ENVELOPE_BYTES || record.blobs.len() > MAX_BLOBS {
            return Ok(PutOutcome::Refused(Refusal::TooLarge));
        }
        if let Some(missing) = self.not_whole(&record.blobs).await?.first() {
            return Ok(PutOutcome::Refused(Refusal::MissingBlob(*missing)));
        }
        let max_age = self.inner.options.max_age;
        let left = record.expires.map(|expires| expires.since(self.inner.options.clock.wall()));
        let lease = self.term(left.map_or(max_age, |left| left.min(max_age))).await?;
        let upload = (envelope.len() > MAX_WHOLE_BYTES).then(unique);
        let pieces = match &upload {
            Some(upload) => self.put_pieces(upload, envelope, lease).await?,
            None => Vec::new(),
        };
        let note = Note { bytes: envelope.len() as u64, upload, tags: record.tags.to_vec() };
        let outcome = self.show(key, &note, envelope, &record.blobs, pieces, (*began, lease)).await;
        if let (Some(upload), Ok(PutOutcome::Refused(_)) | Err(_)) = (&note.upload, &outcome) {
            // It may have been put all the same, and only the answer be lost.
            let named = Compare::value(self.inner.names.note(key), note.text());
            self.drop_pieces(upload, Some(named));
        }
        outcome
    }

    async fn put_pieces(&self, upload: &str, envelope: &[u8], lease: i64) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for (nth, piece) in envelope.chunks(PIECE_BYTES).enumerate() {
            let name = self.inner.names.piece(upload, nth as u64);
            let put = Put::new(name.as_str(), Bytes(piece.to_vec())).until(lease);
            self.put(&put).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Puts one key.
    pub(super) async fn put(&self, put: &Put) -> Result<(), Failure> {
        self.inner.gateway.ask::<_, serde::de::IgnoredAny>("kv/put", put).await.map(drop)
    }

    /// Puts an entry, unless an invalidation covers it that came after its computation began.
    async fn show(
        &self,
        key: &Key,
        note: &Note,
        envelope: &[u8],
        blobs: &[Digest],
        pieces: Vec<String>,
        (began, lease): (Epoch, i64),
    ) -> Result<PutOutcome, Failure> {
        let names = &self.inner.names;
        let in_pieces = note.upload.is_some();
        let envelope = match in_pieces {
            true => Delete::one(names.entry(key)),
            false => Op::Put(Put::new(names.entry(key), Bytes(envelope.to_vec())).until(lease)),
        };
        let put = Put { prev_kv: true, ..Put::new(names.note(key), note.text()).until(lease) };
        let named = blobs.iter().map(|blob| names.blob(*blob)).chain(pieces).map(Compare::there);
        let epoch = Compare::value(names.epoch(), began.0.to_string());
        let mut txn = Txn {
            compare: std::iter::once(epoch).chain(named).collect(),
            success: vec![Op::Put(put), envelope],
            failure: self.log_since(began).map(Op::Range).into(),
        };
        let mut compared = began;
        for attempt in 0..ATTEMPTS {
            let done = self.transact(&txn).await?;
            if done.succeeded {
                return Ok(self.shown(note, done));
            }
            let revision = done.header.revision;
            let log = self.read_log(began, revision, two(done.ranges()));
            let covers = |since: &Vec<Invalidation>| {
                since.iter().any(|one| one.selector.matches(key, &note.tags, None))
            };
            let (Some(now), Some(_)) = (log.epoch, log.since.filter(|since| !covers(since))) else {
                return Ok(PutOutcome::Refused(Refusal::Revoked));
            };
            if now == compared {
                // Not the epoch, but what the entry names is not there any more, or was not there long enough.
                let missing = self.not_whole(blobs).await?;
                return missing.first().map_or_else(
                    || Err(busy()),
                    |missing| Ok(PutOutcome::Refused(Refusal::MissingBlob(*missing))),
                );
            }
            compared = now;
            txn.compare[0] = Compare::value(names.epoch(), now.0.to_string());
            back_off(attempt).await;
        }
        Err(busy())
    }

    /// What became of an entry that was put. What it replaced is of no more use, unless that is the entry itself: the
    /// answer was lost, and it was put again.
    fn shown(&self, note: &Note, done: Done) -> PutOutcome {
        let put = done.responses.into_iter().find_map(|reply| match reply {
            Reply::Put(put) => put.prev_kv,
            _ => None,
        });
        match put.as_ref().and_then(Note::of) {
            None => PutOutcome::Kept,
            Some(before) if before.upload.is_some() && before.upload == note.upload => PutOutcome::Kept,
            Some(Note { bytes, upload, .. }) => {
                upload.iter().for_each(|upload| self.drop_pieces(upload, None));
                PutOutcome::Replaced { bytes }
            }
        }
    }

    /// Deletes pieces that nothing names, behind the caller; unless that holds by which it is seen that something does.
    /// Else they end with their term.
    pub(super) fn drop_pieces(&self, upload: &str, named: Option<Compare>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let gone = vec![Delete::below(self.inner.names.pieces(upload))];
        let txn = match named {
            Some(named) => Txn { compare: vec![named], success: Vec::new(), failure: gone },
            None => Txn { success: gone, ..Txn::default() },
        };
        let etcd = self.clone();
        runtime.spawn(async move { etcd.transact(&txn).await.map(drop) });
    }

    /// Keeps an entry from being served, and keeps its bytes for whoever looks into them.
    pub(super) async fn hide(&self, key: &Key) -> Result<(), TierError> {
        let names = &self.inner.names;
        let looks = [Range::one(names.note(key)), Range::one(names.entry(key))];
        let [note, envelope] = two(self.look(looks).await?.ranges());
        let Some(note) = note.kvs.into_iter().next() else { return Ok(()) };
        // Of one in pieces it is said where they are.
        let bytes = envelope.kvs.into_iter().next().map_or(note.value, |envelope| envelope.value);
        let compare = vec![Compare::changed_in(names.note(key), note.mod_revision)];
        let gone = vec![Delete::one(names.note(key)), Delete::one(names.entry(key))];
        self.replace_aside(compare, gone, &format!("e/{key}"), bytes).await
    }

    /// Deletes what proved bad and puts it aside; where there is no room for that it is deleted only.
    pub(super) async fn replace_aside(
        &self,
        compare: Vec<Compare>,
        gone: Vec<Op>,
        what: &str,
        bytes: Bytes,
    ) -> Result<(), TierError> {
        let txn = Txn { compare, success: gone, failure: Vec::new() };
        let aside = async {
            let put = Put::new(self.inner.names.aside(what), bytes).until(self.term(ASIDE).await?);
            let success = txn.success.iter().cloned().chain([Op::Put(put)]).collect();
            self.transact(&Txn { success, ..txn.clone() }).await
        };
        match aside.await {
            Err(Failure::NoSpace) => self.transact(&txn).await?,
            done => done?,
        };
        Ok(())
    }
}

/// For `fuzz/`: a note that is read is written and read again as the same.
#[cfg(feature = "fuzzing")]
pub(crate) fn check_note(text: &str) {
    if let Some(note) = Note::parse(text) {
        assert_eq!(Note::parse(&note.text()), Some(note));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_and_another_is_none() {
        for (upload, tags) in [(None, vec![]), (Some(unique()), vec!["a".into(), "b c".into()])] {
            let note = Note { bytes: 7, upload, tags };
            assert_eq!(Note::parse(&note.text()), Some(note));
        }
        for bad in ["", "1 7 whole", "2 7 whole\n", "1 x whole\n", "1 7\n", "1 7 whole more\n"] {
            assert_eq!(Note::parse(bad), None, "{bad}");
        }
    }
}
