//! The invalidation log.

use std::sync::atomic::Ordering;

use larder::key::Selector;
use larder::tier::{Epoch, Invalidated, Invalidation, Invalidations, TierError};

use super::Redis;
use super::connection::Lane;
use super::steps::Steps;

/// About how many invalidations the log keeps. Whoever missed more drops everything.
const MAX_LOG: usize = 10_000;

/// Begins a log where there is none, or where a part of it was lost. Returns the epoch.
const BEGIN: &str = "\
local e = redis.call('GET', KEYS[1])
if e and redis.call('EXISTS', KEYS[2]) == 1 then return e end
local t = redis.call('TIME')
local n = math.max(tonumber(t[1]) * 1000000 + tonumber(t[2]), (tonumber(e or '0') or 0) + 1)
local id = string.format('%.0f', n)
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], id)
redis.call('XADD', KEYS[2], id .. '-0', 's', '')
return id";

/// Writes an invalidation. The epoch moves on, above one that is given, the log has it and it is pending, in one step.
const INVALIDATE: &str = "\
local e = redis.call('GET', KEYS[1])
local t = redis.call('TIME')
local n = math.max(tonumber(t[1]) * 1000000 + tonumber(t[2]), math.max(tonumber(e or '0') or 0, tonumber(ARGV[3])) + 1)
local id = string.format('%.0f', n)
redis.call('SET', KEYS[1], id)
redis.call('HSET', KEYS[3], id, ARGV[1])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], id .. '-0', 's', ARGV[1])
return id";

/// The epoch, the first and the last invalidation, and all from an epoch on, as they are at one moment.
const TOLD: &str = "\
return {
  redis.call('GET', KEYS[1]),
  redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1),
  redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1),
  redis.call('XRANGE', KEYS[2], ARGV[1], '+'),
}";

/// What the server says of an entry of the stream: its id, and its fields with their values.
type Logged = (String, Vec<String>);

impl Redis {
    /// The epoch: what is known of it without asking, as an older one is as right as the newest.
    pub(super) async fn epoch_now(&self) -> Result<Epoch, TierError> {
        match self.inner.epoch.load(Ordering::Acquire) {
            0 => self.begin_log().await,
            known => Ok(Epoch(known)),
        }
    }

    async fn begin_log(&self) -> Result<Epoch, TierError> {
        let names = &self.inner.names;
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(BEGIN).arg(2).arg(names.epoch()).arg(names.log());
        let (id,): (String,) = self.inner.connections.run(Lane::Small, &steps).await?;
        let epoch = parsed(&id)?;
        self.inner.epoch.store(epoch.0, Ordering::Release);
        Ok(epoch)
    }

    /// Notes an epoch that the server told. What it told before may be heard later, and is then not the newest.
    fn told(&self, id: &str) -> Result<Epoch, TierError> {
        let epoch = parsed(id)?;
        self.inner.epoch.fetch_max(epoch.0, Ordering::AcqRel);
        Ok(epoch)
    }

    /// What was invalidated after an epoch.
    pub(super) async fn told_since(&self, epoch: Epoch) -> Result<Invalidations, TierError> {
        let names = &self.inner.names;
        let told_before = self.inner.epoch.load(Ordering::Acquire);
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(TOLD).arg(2).arg(names.epoch()).arg(names.log()).arg(format!("{}-0", epoch.0));
        type Told = (Option<String>, Vec<Logged>, Vec<Logged>, Vec<Logged>);
        let ((now, first, last, since),): (Told,) = self.inner.connections.run(Lane::Small, &steps).await?;
        let (Some(now), Some(_)) = (now, last.first()) else {
            // The server lost the log, or never had one.
            return Ok(Invalidations { epoch: self.begin_log().await?, all: None });
        };
        let now = parsed(&now)?;
        // The log has the epoch that is asked for. One that is above the first may be of another log, where a server
        // took the place of one whose clock was ahead.
        let mut since = since.iter();
        let reaches_back = since.as_slice().first().and_then(|(id, _)| number(id)) == Some(epoch.0);
        let begins = first.first().and_then(|(id, _)| number(id));
        // Nobody took it for lost since, and said so.
        let is_lost = !reaches_back
            && begins.is_some_and(|begins| begins < epoch.0)
            && !since.clone().filter_map(invalidation_of).flatten().any(|told| told.selector.is_all());
        if now.0 < told_before || is_lost {
            // It stepped back. What it lost may cover anything, and what that removed may be there again: nobody else
            // may know.
            let least = Epoch(told_before.max(epoch.0));
            let told = self.invalidate_above(least, &Selector::all()).await?;
            return Ok(Invalidations { epoch: told.epoch, all: None });
        }
        self.inner.epoch.fetch_max(now.0, Ordering::AcqRel);
        if reaches_back {
            since.next();
        }
        // What cannot be read, as a newer version wrote it, may cover anything.
        let all = reaches_back.then(|| since.map(invalidation_of).collect::<Option<Vec<_>>>());
        let all = all.flatten().map(|all| all.into_iter().flatten().collect());
        Ok(Invalidations { epoch: now, all })
    }

    /// Removes what a selector selects, and tells everybody.
    pub(super) async fn invalidate_all(&self, selector: &Selector) -> Result<Invalidated, TierError> {
        self.invalidate_above(Epoch(0), selector).await
    }

    /// The same, with an epoch above one that the server may have lost.
    async fn invalidate_above(&self, least: Epoch, selector: &Selector) -> Result<Invalidated, TierError> {
        let names = &self.inner.names;
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(INVALIDATE).arg(3);
        steps.arg(names.epoch()).arg(names.log()).arg(names.pending());
        steps.arg(selector.to_string()).arg(MAX_LOG).arg(least.0);
        let (id,): (String,) = self.inner.connections.run(Lane::Small, &steps).await?;
        let epoch = self.told(&id)?;
        self.inner.connections.settle().await?;
        let (keys, bytes) = self.remove(selector).await?;
        self.no_longer_pending(epoch).await?;
        Ok(Invalidated { epoch, keys, bytes })
    }

    async fn no_longer_pending(&self, epoch: Epoch) -> Result<(), TierError> {
        // What was deleted comes back to nobody.
        self.inner.connections.settle().await?;
        self.inner.pending.ended(epoch);
        let mut steps = Steps::new();
        steps.cmd("HDEL").arg(self.inner.names.pending()).arg(epoch.0).ignore();
        self.inner.connections.run(Lane::Small, &steps).await
    }

    /// Whether a pending invalidation, as the server tells them by epoch, covers a key. Takes up those that were left
    /// behind.
    pub(super) fn is_pending(&self, pending: &[(u64, String)], covers: impl Fn(&Selector) -> bool) -> bool {
        let left = self.inner.pending.left_behind(pending.iter().map(|(epoch, _)| Epoch(*epoch)));
        let mut covered = false;
        for (epoch, text) in pending {
            let selector = text.parse::<Selector>();
            covered |= selector.as_ref().map_or(true, &covers);
            if let Ok(selector) = selector
                && left.contains(&Epoch(*epoch))
            {
                self.take_up(Epoch(*epoch), selector);
            }
        }
        covered
    }

    /// Ends what somebody began who is gone.
    fn take_up(&self, epoch: Epoch, selector: Selector) {
        let redis = self.clone();
        tokio::spawn(async move {
            let removed = match redis.remove(&selector).await {
                Ok(_) => redis.no_longer_pending(epoch).await,
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                tracing::warn!(error = &error as &dyn std::error::Error, "an invalidation is still pending");
            }
        });
    }
}

fn parsed(id: &str) -> Result<Epoch, TierError> {
    number(id).map(Epoch).ok_or_else(|| TierError::Index("the epoch is no number".into()))
}

/// The number before the dash.
fn number(id: &str) -> Option<u64> {
    id.split('-').next()?.parse().ok()
}

/// What was logged; `Some(None)` for the log's beginning, `None` if it cannot be read.
fn invalidation_of((id, fields): &Logged) -> Option<Option<Invalidation>> {
    match fields.as_slice() {
        [name, text] if name == "s" && text.is_empty() => Some(None),
        [name, text] if name == "s" => {
            Some(Some(Invalidation { epoch: Epoch(number(id)?), selector: text.parse().ok()? }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder::clock::Clock;

    use super::*;
    use crate::url::Options;

    #[tokio::test]
    async fn what_the_server_told_before_and_is_heard_later_is_not_the_newest() {
        let options = Options::new(Duration::from_secs(60), Clock::system());
        // Nothing is asked of it.
        let redis = Redis::open("redis://127.0.0.1:1", options).unwrap();
        assert_eq!(redis.told("7-0").unwrap(), Epoch(7));
        assert_eq!(redis.told("5-0").unwrap(), Epoch(5));
        assert_eq!(redis.epoch_now().await.unwrap(), Epoch(7));
    }
}
