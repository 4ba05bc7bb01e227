//! Storing and reading entries.

use std::time::Duration;

use larder::key::Key;
use larder::tier::{PutOutcome, Refusal, Sealed, TierError};

use super::Redis;
use super::connection::Lane;
use super::steps::Steps;
use crate::limits::{ASIDE, MAX_ENVELOPE_BYTES};
use crate::naming::unique;
use crate::tags;

/// How long an entry stays that was stored but never shown: its writer died.
const UNSHOWN: Duration = Duration::from_secs(60);

/// Stores an entry and does not show it yet. In one step, so that nobody sees the parts of two entries together.
const STAGE: &str = "\
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 's', ARGV[1], 'e', ARGV[2], 't', ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[4])";

/// Shows an entry, unless another took its place or an invalidation took it away.
const SHOW: &str = "\
local s = redis.call('HGET', KEYS[1], 's')
if s == ARGV[1] then
  redis.call('HDEL', KEYS[1], 's')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
return redis.call('EXISTS', KEYS[1]) == 1 and 2 or 0";

/// Hides an entry, if it is there.
const HIDE: &str = "\
if redis.call('HEXISTS', KEYS[1], 'e') == 1 then
  redis.call('HSET', KEYS[1], 's', 'aside')
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1";

/// An entry that is stored and not shown yet.
struct Staged {
    name: String,
    mark: String,
    age_millis: u64,
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}

impl Redis {
    /// The envelope filed under a key, unless it is not to be served.
    pub(super) async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        let names = &self.inner.names;
        let mut steps = Steps::new();
        // An invalidation that ended before this was asked has removed what it covers.
        steps.in_order();
        steps.cmd("HGETALL").arg(names.pending());
        steps.cmd("HMGET").arg(names.entry(key)).arg("s").arg("e");
        type Found = (Vec<(u64, String)>, (Option<Vec<u8>>, Option<Vec<u8>>));
        let (pending, (mark, envelope)): Found = self.inner.connections.run(Lane::Small, &steps).await?;
        let Some(envelope) = envelope.filter(|_| mark.is_none()) else { return Ok(None) };
        let covered = !pending.is_empty() && self.is_pending(&pending, |selector| selector.matches_key(key));
        Ok((!covered).then_some(envelope))
    }

    /// Stores entries; an outcome for each.
    pub(super) async fn store(&self, entries: Vec<Sealed>) -> Result<Vec<PutOutcome>, TierError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.push(self.store_one(entry).await?);
        }
        Ok(outcomes)
    }

    async fn store_one(&self, entry: Sealed) -> Result<PutOutcome, TierError> {
        if entry.envelope.len() > MAX_ENVELOPE_BYTES {
            return Ok(PutOutcome::Refused(Refusal::TooLarge));
        }
        if let Some(missing) = self.not_whole(&entry.record.blobs).await?.first() {
            return Ok(PutOutcome::Refused(Refusal::MissingBlob(*missing)));
        }
        let Sealed { key, record, envelope, began } = entry;
        let now = self.inner.options.clock.wall();
        let left = record.expires.map(|expires| expires.since(now));
        let age = left.map_or(self.inner.options.max_age, |left| left.min(self.inner.options.max_age));
        let staged = Staged { name: self.inner.names.entry(&key), mark: unique(), age_millis: millis(age) };
        let tags = tags::join(&record.tags);
        self.stage(&staged, &envelope, &tags).await?;
        // Read after the entry is there: what comes into the log later finds it.
        if self.told_since(began).await?.covers(&key, &record.tags) {
            self.unstage(&staged).await?;
            return Ok(PutOutcome::Refused(Refusal::Revoked));
        }
        self.show(&staged).await
    }

    async fn stage(&self, staged: &Staged, envelope: &[u8], tags: &str) -> Result<(), TierError> {
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(STAGE).arg(1).arg(&staged.name);
        steps.arg(&staged.mark).arg(envelope).arg(tags).arg(millis(UNSHOWN)).ignore();
        self.inner.connections.run(Lane::Bulk, &steps).await
    }

    /// What was staged and may not be shown ends by itself, and is no use until then.
    async fn unstage(&self, staged: &Staged) -> Result<(), TierError> {
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(
            "if redis.call('HGET', KEYS[1], 's') == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1",
        );
        steps.arg(1).arg(&staged.name).arg(&staged.mark).ignore();
        self.inner.connections.run(Lane::Small, &steps).await
    }

    async fn show(&self, staged: &Staged) -> Result<PutOutcome, TierError> {
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(SHOW).arg(1).arg(&staged.name).arg(&staged.mark).arg(staged.age_millis);
        let (shown,): (u8,) = self.inner.connections.run(Lane::Small, &steps).await?;
        Ok(match shown {
            // An invalidation that came meanwhile took it away.
            0 => PutOutcome::Refused(Refusal::Revoked),
            // Shown, or shown and replaced by a later one before this could be told.
            _ => PutOutcome::Kept,
        })
    }

    /// Keeps an entry from being served, and keeps its bytes for whoever looks into them.
    pub(super) async fn hide(&self, key: &Key) -> Result<(), TierError> {
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(HIDE).arg(1).arg(self.inner.names.entry(key)).arg(millis(ASIDE)).ignore();
        self.inner.connections.run(Lane::Small, &steps).await
    }
}
