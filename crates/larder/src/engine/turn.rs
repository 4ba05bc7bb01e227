//! Taking turns with other machines: of those that share a tier, one computes a key at a time.
//!
//! The turn is taken last, when everything else that the computation needs is had: whoever has to wait for a
//! processor holds nobody up who has one. It is given back when what was computed has arrived, or is not to be sent.
//! A machine that dies loses its turn after some seconds, and nobody waits longer than is configured; so this spares
//! work and promises nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::execute::Started;
use super::flight::Lead;
use super::{Entry, Exclusion, Kind, Value};
use crate::key::Key;
use crate::stats::Place;
use crate::tier::Lease;
use crate::tier::stack::{Guarded, Looks};

/// The first wait between two looks at what another machine computes, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// What comes of waiting for a turn.
pub(super) enum Turn<T, R> {
    /// The answer is there.
    Found((Arc<Entry<T>>, Place)),
    /// It is to be computed here.
    Mine(Started<R>),
}

impl<T: Value> Kind<T> {
    /// The far tier, if machines take turns with answers of this kind.
    fn far_with_turns(&self) -> Option<&Guarded> {
        self.far_both_ways().filter(|_| self.options.exclusion == Exclusion::Team)
    }

    /// The far tier, if answers go there and come from there.
    fn far_both_ways(&self) -> Option<&Guarded> {
        let mode = self.larder.shared.mode;
        self.far().filter(|far| mode.reads() && mode.writes() && far.reads() && far.writes())
    }

    /// Takes the turn to put something under a key among all machines that share a tier. As long as it is held, whoever
    /// else asks for it puts nothing between a look whether something is there and a put.
    ///
    /// Waits until `until` while another machine has it, and then goes without, as it does without such a tier, while
    /// that fails, or where it can't lease. Like each lease it is lost by who gives no sign of life for ten seconds.
    pub async fn turn_to_put(&self, key: &Key, until: Instant) -> Lease {
        let Some(far) = self.far_both_ways() else { return Lease::default() };
        let (mut wait, longest) = WAITS;
        loop {
            match far.try_lease(key).await {
                Ok(Some(lease)) => return lease,
                Err(_) => return Lease::default(),
                Ok(None) if Instant::now() >= until => return Lease::default(),
                Ok(None) => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(longest);
        }
    }

    /// Gets ready, and waits while another machine computes the key; what was made ready is given back meanwhile.
    pub(super) async fn turn<R, P>(&self, key: &Key, lead: &Lead, ready: impl Fn() -> P) -> Turn<T, R>
    where
        P: Future<Output = Option<R>>,
    {
        let Some(far) = self.far_with_turns() else {
            return Turn::Mine(Started { ready: ready().await, lease: None });
        };
        let until = Instant::now() + far.waits();
        let (mut wait, longest) = WAITS;
        let mut looks = Looks::First;
        loop {
            let had = ready().await;
            let is_over = had.is_none() || Instant::now() >= until;
            let lease = match far.try_lease(key).await {
                // A tier that fails does not hold anybody up.
                Err(_) => return Turn::Mine(Started { ready: had, lease: None }),
                Ok(None) if is_over => return Turn::Mine(Started { ready: had, lease: None }),
                Ok(lease) => lease.map(Arc::<Lease>::new),
            };
            if lease.is_none() {
                drop(had);
                if wait == WAITS.0 {
                    tracing::info!(%key, "another machine computes this; waiting for it");
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(longest);
                // Waiting for whoever is alive is no time lost; a tier that does not answer costs what it always does.
                looks = Looks::Again;
                if let Some(found) = self.bring(key, lead.flight(), looks).await {
                    return Turn::Found(found);
                }
                continue;
            }
            // Whoever had the turn since the look into the tiers has stored its answer.
            return match self.bring(key, lead.flight(), looks).await {
                Some(found) => Turn::Found(found),
                None => Turn::Mine(Started { ready: had, lease }),
            };
        }
    }
}
