//! Finding entries by a selector: a walk over their names, as no index is kept that could disagree with them.

use larder::key::{Key, Selector};
use larder::tier::TierError;
use tokio::task::JoinSet;

use super::S3;
use super::form::{self, Form, Header, USUAL_HEADER};
use super::names::Named;
use super::store::Read;

/// How many entries are looked into at once.
const AT_ONCE: usize = 32;
/// A longer object is no entry.
const MAX_BYTES: u64 = 16 << 20;

/// An object that may be an entry's.
struct Candidate {
    named: Named,
    name: String,
    bytes: u64,
}

/// What an object proved to be.
enum Looked {
    Gone,
    /// A claim, or nothing that can be read.
    NoEntry,
    Entry(Header),
}

impl S3 {
    /// The keys of the entries that any of some selectors selects.
    pub(super) async fn keys(&self, selectors: &[Selector]) -> Result<Vec<Key>, TierError> {
        let mut keys = Vec::new();
        let Some(seen) = self.look_at_log().await? else { return Ok(keys) };
        let (head, now) = (&seen.head, self.inner.options.clock.wall());
        for selector in selectors {
            for (_, looked) in self.look_into(self.candidates(selector).await?).await? {
                let Looked::Entry(header) = looked else { continue };
                let is_served = header.born == head.born()
                    && now < header.ends
                    && !head.covers(header.checked, &header.key, &header.tags);
                if is_served && selector.matches(&header.key, &header.tags, None) {
                    keys.push(header.key);
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Removes what a selector selects, and claims of which nobody knows whether it selects what they are for. Returns
    /// the keys, and how many bytes that took.
    pub(super) async fn sweep(&self, selector: &Selector) -> Result<(Vec<Key>, u64), TierError> {
        let (mut keys, mut bytes, mut names) = (Vec::new(), 0, Vec::new());
        if selector.unused_before().is_some() {
            // The server does not know when an entry was used, and one of unknown use counts as just used.
            return Ok((keys, bytes));
        }
        let by_name = |candidate: &Candidate| selector.tag().is_none() && candidate.named != Named::Long;
        let (named, others): (Vec<_>, Vec<_>) =
            self.candidates(selector).await?.into_iter().partition(by_name);
        for Candidate { named, name, bytes: size } in named {
            if let Named::Key(key) = named {
                keys.push(key);
                bytes += size;
                names.push(name);
            }
        }
        for (candidate, looked) in self.look_into(others).await? {
            match looked {
                Looked::Gone => continue,
                Looked::NoEntry => {}
                Looked::Entry(header) if selector.matches(&header.key, &header.tags, None) => {
                    keys.push(header.key);
                    bytes += candidate.bytes;
                }
                Looked::Entry(_) => continue,
            }
            names.push(candidate.name);
        }
        self.inner.store.remove(&names).await?;
        Ok((keys, bytes))
    }

    async fn look_into(&self, candidates: Vec<Candidate>) -> Result<Vec<(Candidate, Looked)>, TierError> {
        let mut waiting = candidates.into_iter();
        let mut under_way = JoinSet::new();
        let mut all = Vec::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(candidate) = waiting.next()
            {
                let s3 = self.clone();
                under_way.spawn(async move {
                    let looked = s3.look_at(&candidate.name).await?;
                    Ok::<_, TierError>((candidate, looked))
                });
            }
            match under_way.join_next().await {
                None => return Ok(all),
                Some(looked) => all.push(looked.map_err(|error| TierError::Index(Box::new(error)))??),
            }
        }
    }

    async fn look_at(&self, name: &str) -> Result<Looked, TierError> {
        let looked = |form: Form<'_>| match form {
            Form::Entry(header, _) => Looked::Entry(header),
            Form::Claim | Form::Unknown | Form::Cut => Looked::NoEntry,
        };
        let Some(bytes) = self.inner.store.read_beginning(name, USUAL_HEADER).await? else {
            return Ok(Looked::Gone);
        };
        match form::read(&bytes) {
            Form::Cut => match self.inner.store.read(name, None, MAX_BYTES).await? {
                Read::Found { bytes, .. } => Ok(looked(form::read(&bytes))),
                Read::Nothing | Read::Same => Ok(Looked::Gone),
            },
            form => Ok(looked(form)),
        }
    }

    /// The objects of entries that a selector could select, by their names.
    async fn candidates(&self, selector: &Selector) -> Result<Vec<Candidate>, TierError> {
        let names = &self.inner.names;
        let listed = self.inner.store.list(&names.beginning(selector)).await?;
        let candidate =
            |(name, bytes): (String, u64)| Some(Candidate { named: names.key_of(&name)?, name, bytes });
        let could = |candidate: &Candidate| match &candidate.named {
            Named::Key(key) => selector.matches_key(key),
            Named::Long => true,
        };
        Ok(listed.into_iter().filter_map(candidate).filter(could).collect())
    }
}
