//! Finding entries by a selector: a walk over all keys, as no index is kept that could disagree with them.

use std::time::Duration;

use larder::clock::Timestamp;
use larder::key::{Key, Selector};
use larder::tier::TierError;
use redis::Value;

use super::Redis;
use super::connection::Lane;
use super::steps::Steps;
use crate::tags;

/// Deletes an entry, and tells how long its envelope was.
const REMOVE: &str = "\
local bytes = redis.call('HSTRLEN', KEYS[1], 'e')
redis.call('DEL', KEYS[1])
return bytes";

/// How many entries are looked into in one step.
const BATCH: usize = 200;

/// An entry that was found.
struct Found {
    key: Key,
    name: String,
    /// Whether it is served, so that somebody can miss it.
    shown: bool,
}

impl Redis {
    /// The keys of the entries that any of some selectors selects.
    pub(super) async fn keys(&self, selectors: &[Selector]) -> Result<Vec<Key>, TierError> {
        let mut keys = Vec::new();
        for selector in selectors {
            let found = self.find(selector).await?;
            keys.extend(found.into_iter().filter(|found| found.shown).map(|found| found.key));
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Deletes what a selector selects. Returns the keys of what was served, and how many bytes that took.
    pub(super) async fn remove(&self, selector: &Selector) -> Result<(Vec<Key>, u64), TierError> {
        let (mut keys, mut bytes) = (Vec::new(), 0);
        for batch in self.find(selector).await?.chunks(BATCH) {
            let mut steps = Steps::new();
            for found in batch {
                steps.cmd("EVAL").arg(REMOVE).arg(1).arg(&found.name);
            }
            let lengths: Vec<u64> = self.inner.connections.run(Lane::Small, &steps).await?;
            for (found, length) in batch.iter().zip(lengths) {
                if found.shown && length > 0 {
                    keys.push(found.key.clone());
                    bytes += length;
                }
            }
        }
        Ok((keys, bytes))
    }

    async fn find(&self, selector: &Selector) -> Result<Vec<Found>, TierError> {
        let names = &self.inner.names;
        let candidates = match selector.as_key() {
            Some(key) => vec![names.entry(&key)],
            None => self.inner.connections.scan(&names.pattern(selector)).await?,
        };
        let mut all = Vec::new();
        for batch in candidates.chunks(BATCH) {
            let known: Vec<(Key, &String)> =
                batch.iter().filter_map(|name| Some((names.key_of(name)?, name))).collect();
            let known: Vec<_> = known.into_iter().filter(|(key, _)| selector.matches_key(key)).collect();
            let used = self.last_used(selector, &known).await?;
            let mut steps = Steps::new();
            for (_, name) in &known {
                steps.cmd("HMGET").arg(*name).arg("t").arg("s");
            }
            if known.is_empty() {
                continue;
            }
            let marks: Vec<(Option<String>, Option<String>)> =
                self.inner.connections.run(Lane::Small, &steps).await?;
            for (((key, name), (tags, mark)), used) in known.into_iter().zip(marks).zip(used) {
                let Some(tags) = tags else { continue };
                if selector.matches(&key, &tags::split(&tags), used) {
                    all.push(Found { key, name: name.clone(), shown: mark.is_none() });
                }
            }
        }
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // A walk may meet a key twice.
        all.dedup_by(|a, b| a.name == b.name);
        Ok(all)
    }

    /// When entries were used last, where a selector asks for that and the server knows.
    async fn last_used(
        &self,
        selector: &Selector,
        known: &[(Key, &String)],
    ) -> Result<Vec<Option<Timestamp>>, TierError> {
        if selector.unused_before().is_none() || known.is_empty() {
            return Ok(vec![None; known.len()]);
        }
        let mut steps = Steps::new();
        // A server that evicts by how often entries are used does not know when that was last.
        steps.lenient();
        for (_, name) in known {
            steps.cmd("OBJECT").arg("IDLETIME").arg(*name);
        }
        let idle: Vec<Value> = self.inner.connections.run(Lane::Small, &steps).await?;
        let now = self.inner.options.clock.wall();
        let when = |idle| match idle {
            Value::Int(seconds) => {
                let idle = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                let millis = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
                Some(Timestamp::from_millis(now.as_millis().saturating_sub(millis)))
            }
            _ => None,
        };
        Ok(idle.into_iter().map(when).collect())
    }
}
