//! The invalidation log.

use std::time::Duration;

use larder::key::Selector;
use larder::tier::{Epoch, Invalidated, Invalidation, Invalidations, TierError};

use super::Etcd;
use super::gateway::Failure;
use super::names::epoch_of;
use super::wire::{Compare, Delete, Done, Op, Put, Range, Ranged, Seen, Stored, Txn, Watch, Watched};
use crate::naming::random;

/// How many invalidations the log keeps at least. Whoever missed more drops everything.
const MAX_LOG: usize = 10_000;
/// How many it may have on top before it is cut.
const LOG_SLACK: usize = 1_000;
/// How often a transaction is tried that others come before.
const ATTEMPTS: u32 = 40;
/// How long is waited at most before it is tried again, for each attempt so far.
const BACKOFF_MICROS: u64 = 2_000;

/// The epoch of a server that has no log, as it has no room for one.
const NO_LOG: Epoch = Epoch(0);

/// What a server told of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) epoch: Epoch,
    /// In which revision that was so.
    pub(super) revision: i64,
}

/// The log as it was at one moment, from some epoch on.
pub(super) struct Log {
    /// The epoch; `None` where there is no log.
    pub(super) epoch: Option<Epoch>,
    /// What came after the epoch that was asked for; `None` if anything may have.
    pub(super) since: Option<Vec<Invalidation>>,
}

/// An invalidation that is pending.
pub(super) struct Pended {
    pub(super) epoch: Epoch,
    revision: i64,
    selector: Option<Selector>,
}

impl Pended {
    pub(super) fn all(found: &Ranged) -> Vec<Self> {
        let pended = |stored: &Stored| {
            let selector = stored.value.text().and_then(|text| text.parse().ok());
            Some(Self { epoch: logged_epoch(stored)?, revision: stored.mod_revision, selector })
        };
        found.kvs.iter().filter_map(pended).collect()
    }

    /// Whether it keeps what was put in this revision from being served, if it covers that. One that cannot be read, as
    /// a newer version wrote it, covers anything.
    pub(super) fn holds_back(&self, revision: i64, covers: impl Fn(&Selector) -> bool) -> bool {
        revision <= self.revision && self.selector.as_ref().is_none_or(covers)
    }
}

impl Etcd {
    /// The epoch: what is known of it without asking, as an older one is as right as the newest.
    pub(super) async fn epoch_now(&self) -> Result<Epoch, TierError> {
        let told = *self.inner.told.lock();
        match told {
            Some(told) => Ok(told.epoch),
            None => Ok(self.begin_log().await?),
        }
    }

    /// Begins a log where there is none, or where a part of it was lost.
    pub(super) async fn begin_log(&self) -> Result<Epoch, Failure> {
        let names = &self.inner.names;
        let mut highest = NO_LOG;
        for attempt in 0..ATTEMPTS {
            let found = self.look([Range::one(names.epoch()), Range::last_below(names.log())]).await?;
            let revision = found.header.revision;
            let [stored, last] = two(found.ranges());
            let (stored, last) = (stored.kvs.first(), last.kvs.first());
            let epochs = (stored.and_then(epoch_in), last.and_then(logged_epoch));
            if let (Some(epoch), Some(last)) = epochs
                && epoch == last
            {
                // It may be another log than the one that was known, of a server that began anew.
                *self.inner.told.lock() = None;
                return Ok(self.tell(epoch, revision));
            }
            highest = highest.max(epochs.0.unwrap_or(NO_LOG)).max(epochs.1.unwrap_or(NO_LOG));
            let mod_revision = stored.map_or(0, |stored| stored.mod_revision);
            let compare = vec![Compare::changed_in(names.epoch(), mod_revision)];
            let success = if stored.is_some() || last.is_some() {
                vec![Delete::one(names.epoch()), Delete::below(names.log())]
            } else {
                let next = self.next_epoch(highest).0;
                vec![
                    Op::Put(Put::new(names.epoch(), next.to_string())),
                    Op::Put(Put::new(names.logged(next), "")),
                ]
            };
            self.transact(&Txn { compare, success, failure: Vec::new() }).await?;
            back_off(attempt).await;
        }
        Err(busy())
    }

    /// Takes note of an epoch that the server told. What it told before may be heard later, and is then not the newest.
    pub(super) fn tell(&self, epoch: Epoch, revision: i64) -> Epoch {
        let mut told = self.inner.told.lock();
        if told.is_none_or(|told| told.revision <= revision) {
            *told = Some(Told { epoch, revision });
        }
        epoch
    }

    fn next_epoch(&self, last: Epoch) -> Epoch {
        let micros = self.inner.options.clock.wall().as_millis().saturating_mul(1000) + random() % 1000;
        Epoch(micros.max(last.0 + 1))
    }

    /// What is to be looked at to know the log from an epoch on.
    pub(super) fn log_since(&self, epoch: Epoch) -> [Range; 2] {
        let names = &self.inner.names;
        let end = Range::below(names.log()).range_end;
        let log = Range { range_end: end, ..Range::one(names.logged(epoch.0)) };
        [Range::one(names.epoch()), log]
    }

    /// Reads what [`log_since`](Self::log_since) looked at.
    pub(super) fn read_log(&self, since: Epoch, revision: i64, found: [Ranged; 2]) -> Log {
        let [epoch, log] = found;
        let epoch = epoch.kvs.first().and_then(epoch_in);
        // The log has the epoch that is asked for, and goes on to where it stands.
        let begins = log.kvs.first().and_then(logged_epoch) == Some(since);
        if !begins || epoch.is_none() {
            // What was told before may be of another log, whose revisions were higher.
            *self.inner.told.lock() = None;
        }
        if let Some(epoch) = epoch {
            self.tell(epoch, revision);
        }
        let ends = log.kvs.last().and_then(logged_epoch) == epoch;
        // What cannot be read, as a newer version wrote it, may cover anything.
        let invalidation = |stored: &Stored| {
            Some(Invalidation { epoch: logged_epoch(stored)?, selector: stored.value.text()?.parse().ok()? })
        };
        let all = || log.kvs.iter().skip(1).map(invalidation).collect();
        Log { epoch, since: if begins && ends { all() } else { None } }
    }

    /// What was invalidated after an epoch.
    pub(super) async fn told_since(&self, epoch: Epoch) -> Result<Invalidations, TierError> {
        let found = self.look(self.log_since(epoch)).await?;
        let revision = found.header.revision;
        let log = self.read_log(epoch, revision, two(found.ranges()));
        let now = match log.epoch {
            Some(now) if log.since.is_some() => now,
            // The server lost the log, or a part of it, or never had one.
            _ => match self.begin_log().await {
                Err(Failure::NoSpace) => NO_LOG,
                began => began?,
            },
        };
        Ok(Invalidations { epoch: now, all: log.since })
    }

    /// Removes what a selector selects, and tells everybody.
    pub(super) async fn invalidate_all(&self, selector: &Selector) -> Result<Invalidated, TierError> {
        let told = match self.log_invalidation(selector).await {
            Err(Failure::NoSpace) => return self.invalidate_without_log(selector).await,
            told => told?,
        };
        let (keys, bytes) = self.remove(selector, told.revision).await?;
        self.no_longer_pending(told.epoch).await?;
        Ok(Invalidated { epoch: told.epoch, keys, bytes })
    }

    async fn log_invalidation(&self, selector: &Selector) -> Result<Told, Failure> {
        let names = &self.inner.names;
        let mut known = self.inner.told.lock().map(|told| told.epoch);
        for attempt in 0..ATTEMPTS {
            let before = match known {
                Some(known) => known,
                None => self.begin_log().await?,
            };
            let next = self.next_epoch(before);
            let text = selector.to_string();
            let txn = Txn {
                compare: vec![Compare::value(names.epoch(), before.0.to_string())],
                success: vec![
                    Op::Put(Put::new(names.epoch(), next.0.to_string())),
                    Op::Put(Put::new(names.logged(next.0), text.as_str())),
                    Op::Put(Put::new(names.one_pending(next.0), text.as_str())),
                    Op::Range(Range::count(names.log())),
                ],
                failure: vec![Op::Range(Range::one(names.epoch()))],
            };
            let done = self.transact(&txn).await?;
            let (succeeded, revision) = (done.succeeded, done.header.revision);
            let looked = done.ranges().next().unwrap_or_default();
            if succeeded {
                self.tell(next, revision);
                if looked.count > (MAX_LOG + LOG_SLACK) as i64 {
                    self.cut_log(looked.count as usize - MAX_LOG).await?;
                }
                return Ok(Told { epoch: next, revision });
            }
            known = looked.kvs.first().and_then(epoch_in);
            back_off(attempt).await;
        }
        Err(busy())
    }

    /// Forgets the oldest invalidations.
    async fn cut_log(&self, count: usize) -> Result<(), Failure> {
        let names = &self.inner.names;
        let oldest = Range { limit: Some(count), keys_only: true, ..Range::below(names.log()) };
        let found: Ranged = self.inner.gateway.ask("kv/range", &oldest).await?;
        let Some(last) = found.kvs.into_iter().next_back() else { return Ok(()) };
        let delete = Delete { key: names.log().into(), range_end: Some(last.key) };
        self.transact(&Txn { success: vec![Op::Delete(delete)], ..Txn::default() }).await.map(drop)
    }

    /// Tells everybody that anything may have been invalidated, where there is no room to tell more.
    async fn invalidate_without_log(&self, selector: &Selector) -> Result<Invalidated, TierError> {
        let names = &self.inner.names;
        let success =
            vec![Delete::one(names.epoch()), Delete::below(names.log()), Delete::below(names.pending())];
        let done = self.transact(&Txn { success, ..Txn::default() }).await?;
        *self.inner.told.lock() = None;
        let (keys, bytes) = self.remove(selector, done.header.revision).await?;
        Ok(Invalidated { epoch: NO_LOG, keys, bytes })
    }

    async fn no_longer_pending(&self, epoch: Epoch) -> Result<(), Failure> {
        self.inner.pending.ended(epoch);
        let success = vec![Delete::one(self.inner.names.one_pending(epoch.0))];
        self.transact(&Txn { success, ..Txn::default() }).await.map(drop)
    }

    /// Ends what others began who are gone.
    pub(super) fn take_up(&self, pending: Vec<Pended>) {
        let left = self.inner.pending.left_behind(pending.iter().map(|pended| pended.epoch));
        let is_left = |pended: &Pended| left.contains(&pended.epoch);
        for Pended { epoch, revision, selector } in pending.into_iter().filter(is_left) {
            let Some(selector) = selector else { continue };
            let etcd = self.clone();
            tokio::spawn(async move {
                let removed = match etcd.remove(&selector, revision).await {
                    Ok(_) => etcd.no_longer_pending(epoch).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = removed {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an invalidation is still pending"
                    );
                }
            });
        }
    }

    /// Ends when the epoch is no longer this one, or when listening fails.
    pub(super) async fn hear(&self, epoch: Epoch) -> Result<(), TierError> {
        let told = *self.inner.told.lock();
        let Some(told) = told.filter(|told| told.epoch == epoch) else { return Ok(()) };
        let create_request =
            Watched { key: self.inner.names.epoch().into(), start_revision: told.revision + 1 };
        let mut lines = self.inner.gateway.listen("watch", &Watch { create_request }).await?;
        // One that is over because history was compacted has heard nothing, and says so.
        while let Some(Seen { canceled, events }) = lines.next().await? {
            if canceled || !events.is_empty() {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn transact(&self, txn: &Txn) -> Result<Done, Failure> {
        self.inner.gateway.ask("kv/txn", txn).await
    }

    /// Looks at several keys, as they are at one moment.
    pub(super) async fn look(&self, ranges: impl IntoIterator<Item = Range>) -> Result<Done, Failure> {
        self.transact(&Txn::looks(ranges)).await
    }
}

/// The next two looks; what is missing saw nothing.
pub(super) fn two(mut ranges: impl Iterator<Item = Ranged>) -> [Ranged; 2] {
    std::array::from_fn(|_| ranges.next().unwrap_or_default())
}

/// The epoch that an invalidation in the log, or one that is pending, has.
fn logged_epoch(stored: &Stored) -> Option<Epoch> {
    stored.key.text().and_then(epoch_of).map(Epoch)
}

fn epoch_in(stored: &Stored) -> Option<Epoch> {
    stored.value.text()?.parse().ok().map(Epoch)
}

pub(super) async fn back_off(attempt: u32) {
    let most = BACKOFF_MICROS * u64::from(attempt + 1);
    tokio::time::sleep(Duration::from_micros(random() % most)).await;
}

pub(super) fn busy() -> Failure {
    Failure::Unavailable("others came before each time".to_owned())
}

#[cfg(test)]
mod tests {
    use larder::clock::Clock;

    use super::*;
    use crate::url::Options;

    #[tokio::test]
    async fn what_the_server_told_before_and_is_heard_later_is_not_the_newest() {
        let options = Options::new(Duration::from_secs(60), Clock::system());
        // Nothing is asked of it.
        let etcd = Etcd::open("etcd://127.0.0.1:1", options).unwrap();
        etcd.tell(Epoch(7), 4);
        etcd.tell(Epoch(5), 3);
        assert_eq!(etcd.epoch_now().await.unwrap(), Epoch(7));
    }
}
