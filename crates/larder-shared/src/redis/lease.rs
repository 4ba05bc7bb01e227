//! Leases: the right to compute a key among all machines, for as long as its holder says so again and again.
//!
//! A lease ends some seconds after its holder last said that it lives, so that nobody waits for the dead.

use larder::key::Key;
use larder::tier::TierError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, timeout};

use super::Redis;
use super::connection::Lane;
use super::put::millis;
use super::steps::Steps;
use crate::limits::{LASTS, RENEWED};
use crate::naming::unique;

const RENEW: &str = "\
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0";

const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";

/// A lease that is held.
struct Held {
    redis: Redis,
    name: String,
    mark: String,
    renewing: JoinHandle<()>,
}

impl Redis {
    pub(super) async fn lease(&self, key: &Key) -> Result<Option<larder::tier::Lease>, TierError> {
        let (name, mark) = (self.inner.names.lease(key), unique());
        let mut steps = Steps::new();
        steps.cmd("SET").arg(&name).arg(&mark).arg("NX").arg("PX").arg(millis(LASTS));
        let (taken,): (Option<String>,) = self.inner.connections.run(Lane::Small, &steps).await?;
        if taken.is_none() {
            return Ok(None);
        }
        let (redis, renewed, by) = (self.clone(), name.clone(), mark.clone());
        let renewing = tokio::spawn(async move {
            let mut signs = interval_at(Instant::now() + RENEWED, RENEWED);
            loop {
                signs.tick().await;
                // One sign that does not get through is not the last, and one that hangs is given up for the next.
                let _ = timeout(RENEWED, redis.tell(RENEW, &renewed, &by)).await;
            }
        });
        Ok(Some(larder::tier::Lease::holding(Held { redis: self.clone(), name, mark, renewing })))
    }

    async fn tell(&self, script: &str, name: &str, mark: &str) -> Result<(), TierError> {
        let mut steps = Steps::new();
        steps.cmd("EVAL").arg(script).arg(1).arg(name).arg(mark).arg(millis(LASTS)).ignore();
        self.inner.connections.run(Lane::Small, &steps).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewing.abort();
        // Without a runtime it ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (redis, name, mark) =
            (self.redis.clone(), std::mem::take(&mut self.name), std::mem::take(&mut self.mark));
        let release = redis.inner.releasing.begin();
        runtime.spawn(async move {
            // Else it ends by itself.
            let _ = timeout(LASTS, redis.tell(RELEASE, &name, &mark)).await;
            drop(release);
        });
    }
}
