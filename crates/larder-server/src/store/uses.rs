//! What memory gave, for the disk tier to know: it evicts what it believes that nobody uses, and is not asked for what
//! memory has.
//!
//! Bounded: what is used beyond that in one interval is not noted, and may leave the disk sooner than it should.

use std::collections::HashSet;
use std::convert::Infallible;
use std::mem;
use std::time::Duration;

use larder::key::Key;
use larder::tier::TierError;
use larder::tier::disk::Disk;
use parking_lot::Mutex;

/// How many keys are noted in an interval.
const MAX_NOTED: usize = 1 << 16;

/// How often they are written down: more often than the disk tier is collected.
const INTERVAL: Duration = Duration::from_secs(20);

/// Keys that were used since they were written down last.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashSet<Key>>);

impl Uses {
    pub(super) fn note(&self, key: &Key) {
        let mut noted = self.0.lock();
        if noted.len() < MAX_NOTED && !noted.contains(key) {
            noted.insert(key.clone());
        }
    }

    /// Writes them down. Blocks.
    pub(super) fn write_down(&self, disk: &Disk) -> Result<(), TierError> {
        let keys: Vec<Key> = mem::take(&mut *self.0.lock()).into_iter().collect();
        disk.note_uses(&keys)
    }
}

impl super::Store {
    /// Writes down from time to time what was used, for as long as it is polled.
    pub async fn attend(&self) -> Infallible {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let store = self.clone();
            let written = tokio::task::spawn_blocking(move || store.inner.uses.write_down(&store.inner.disk));
            if let Ok(Err(error)) = written.await {
                tracing::warn!(error = &error as &dyn std::error::Error, "uses are not noted");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use larder::clock::{Clock, Timestamp};
    use larder::testing::{key, sealed};
    use larder::tier::disk::{Disk, DiskOptions, Limits};

    use super::*;

    #[test]
    fn what_memory_gave_stays_when_the_disk_is_collected() {
        let folder = tempfile::TempDir::new().unwrap();
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let disk =
            Disk::open(&folder, DiskOptions { clock: clock.clone(), ..DiskOptions::default() }).unwrap();
        let (hot, cold) = (key("uses", "content@1/hot"), key("uses", "content@1/cold"));
        let began = disk.blocking_epoch().unwrap();
        disk.blocking_put(&[sealed(&hot, b"hot", &[], began), sealed(&cold, b"cold", &[], began)]).unwrap();
        clock.advance(Duration::from_secs(3600));
        let uses = Uses::default();
        uses.note(&hot);
        uses.write_down(&disk).unwrap();
        clock.advance(Duration::from_secs(10));
        disk.gc(&Limits { max_age: Some(Duration::from_secs(1800)), ..Limits::default() }).unwrap();
        assert!(disk.blocking_get(&hot).unwrap().is_some());
        assert_eq!(disk.blocking_get(&cold).unwrap(), None);
    }
}
