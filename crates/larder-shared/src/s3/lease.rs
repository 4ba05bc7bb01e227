//! Leases: the right to compute a key among all machines, for as long as its holder says so again and again.
//!
//! A lease is an object that says whose it is, and how often that was said. Whoever finds one in the same state for
//! some seconds of their own clock takes it over, on condition that it is still in that state; so clocks of several
//! machines are not compared, and nobody waits for the dead. One that is given back stays and says so, as not every
//! server removes on a condition.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use larder::clock::Timestamp;
use larder::key::Key;
use larder::tier::TierError;
use tokio::sync::oneshot;
use tokio::time::{interval_at, timeout};

use super::S3;
use super::store::{Read, Written};
use crate::limits::{LASTS, RENEWED};
use crate::naming::unique;
use crate::releasing::Release;

/// After how long by the server's clock a lease is taken to be over by whoever sees it for the first time: clocks do
/// not differ by so much.
const LONG_OVER: Duration = Duration::from_secs(600);
/// How many leases of others are watched.
const MAX_WATCHED: usize = 10_000;

const FREE: &[u8] = b"larder lease 1 free\n";

/// Leases of others: in which state, and since when they are seen in it.
pub(super) type Watched = HashMap<String, (String, Instant)>;

/// A lease that is held. It is given back with this.
struct Held {
    s3: S3,
    ended: Option<oneshot::Sender<Release>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // Nobody renews one that was lost, and nobody takes this then.
            let _ = ended.send(self.s3.inner.releasing.begin());
        }
    }
}

impl S3 {
    pub(super) async fn lease(&self, key: &Key) -> Result<Option<larder::tier::Lease>, TierError> {
        let (name, mark) = (self.inner.names.lease(key), unique());
        let store = &self.inner.store;
        let mut written = store.create(&name, said(&mark, 0)).await?;
        if written == Written::Taken {
            let tag = match store.read(&name, None, 1024).await? {
                Read::Found { bytes, tag, changed } => {
                    (*bytes == *FREE || self.is_over(&name, &tag, changed)).then_some(tag)
                }
                Read::Nothing | Read::Same => None,
            };
            let Some(tag) = tag else { return Ok(None) };
            written = store.replace(&name, said(&mark, 0), &tag).await?;
        }
        let Written::Yes(tag) = written else { return Ok(None) };
        self.inner.watched.lock().remove(&name);
        let (ended, end) = oneshot::channel();
        let s3 = self.clone();
        tokio::spawn(async move { s3.renew(&name, &mark, tag, end).await });
        Ok(Some(larder::tier::Lease::holding(Held { s3: self.clone(), ended: Some(ended) })))
    }

    /// Whether a lease of somebody else was seen in this state for so long that its holder is gone.
    fn is_over(&self, name: &str, tag: &str, changed: Timestamp) -> bool {
        if self.inner.options.clock.wall().since(changed) >= LONG_OVER {
            return true;
        }
        let mut watched = self.inner.watched.lock();
        if watched.len() >= MAX_WATCHED {
            watched.clear();
        }
        let seen = watched.entry(name.to_owned()).or_insert_with(|| (tag.to_owned(), Instant::now()));
        if seen.0 != tag {
            *seen = (tag.to_owned(), Instant::now());
        }
        seen.1.elapsed() >= LASTS
    }

    /// Says that its holder lives until that ends, and then that it is free.
    async fn renew(&self, name: &str, mark: &str, mut tag: String, mut end: oneshot::Receiver<Release>) {
        let mut signs = interval_at(tokio::time::Instant::now() + RENEWED, RENEWED);
        let mut release = None;
        for nth in 1_u64.. {
            tokio::select! {
                ended = &mut end => release = Some(ended),
                _ = signs.tick() => {}
            }
            let says = if release.is_some() { FREE.to_vec() } else { said(mark, nth) };
            match timeout(RENEWED, self.say(name, mark, &says, &mut tag)).await {
                Ok(Ok(true)) => {}
                // Another took it over.
                Ok(Ok(false)) => break,
                // One sign that does not get through is not the last, and one that hangs is given up for the next.
                Ok(Err(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a lease is not renewed");
                }
                Err(_) => tracing::debug!("a lease is not renewed, as nothing answers"),
            }
            if release.is_some() {
                break;
            }
        }
    }

    /// Has a lease say something in the place of what it says, if that is its holder's. Says whether it is.
    async fn say(&self, name: &str, mark: &str, says: &[u8], tag: &mut String) -> Result<bool, TierError> {
        let store = &self.inner.store;
        for _ in 0..2 {
            if let Written::Yes(next) = store.replace(name, says.to_vec(), tag).await? {
                *tag = next;
                return Ok(true);
            }
            match store.read(name, None, 1024).await? {
                // What its holder said before, and only the answer was lost.
                Read::Found { bytes, tag: there, .. } if is_by(&bytes, mark) => *tag = there,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn said(mark: &str, nth: u64) -> Vec<u8> {
    format!("larder lease 1 {mark} {nth}\n").into_bytes()
}

fn is_by(said: &[u8], mark: &str) -> bool {
    said.starts_with(format!("larder lease 1 {mark} ").as_bytes())
}
