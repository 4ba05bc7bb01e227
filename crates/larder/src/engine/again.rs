//! Looking again: whether what a computation observed is still so when it has ended.

use std::sync::Arc;

use super::carry::Carry;
use super::look::Wanted;
use super::observe::{Name, View, as_look, root_of};
use super::outside::LookError;
use crate::query::{Fingerprint, Source};

impl View {
    /// What is seen of sources now, whatever the session has seen.
    pub(super) async fn look_again(&self, sources: &[&Source]) -> Vec<Result<Fingerprint, LookError>> {
        let caught_up = self.caught_up(sources).await;
        let unchanged = |source: &Source| {
            let root = root_of(source).ok()??;
            let (_, carry) = caught_up.iter().find(|(name, _)| name.as_deref() == root)?;
            match carry {
                Ok(carry) => carry.get(source).map(|seen| Ok(seen.fingerprint)),
                Err(error) => Some(Err(error.clone())),
            }
        };
        let mut known: Vec<_> = sources.iter().map(|source| unchanged(source)).collect();
        let wanted = sources.iter().zip(&known).filter(|(_, known)| known.is_none());
        let wanted = wanted.filter_map(|(source, _)| as_look(source));
        let wanted: Vec<Wanted> = wanted.map(Wanted::unwatched).collect();
        let mut quick =
            if wanted.is_empty() { Vec::new() } else { self.fingerprints(wanted).await }.into_iter();
        for (source, known) in sources.iter().zip(&mut known).filter(|(_, known)| known.is_none()) {
            *known = Some(match as_look(source) {
                Some(_) => quick.next().expect("each was looked at").map(|sight| sight.fingerprint),
                None => self.look(source).await.map(|(seen, _)| seen.fingerprint),
            });
        }
        known.into_iter().map(|known| known.expect("all were looked at")).collect()
    }

    /// What is handed on below the roots of sources, where there is a watch: by now, not as when the session began.
    async fn caught_up(&self, sources: &[&Source]) -> Vec<(Name, Result<Arc<Carry>, LookError>)> {
        let mut roots: Vec<(Name, Result<Arc<Carry>, LookError>)> = Vec::new();
        for root in sources.iter().filter_map(|source| root_of(source).ok()?) {
            if roots.iter().any(|(name, _)| name.as_deref() == root) {
                continue;
            }
            let Ok(place) = self.place(root).await else { continue };
            let Some(carry) = &place.carry else { continue };
            let name = root.map(Box::from);
            let still_there = carry.catch_up().await.is_some_and(|(path, _)| path == place.root);
            let carry = still_there.then(|| Arc::clone(carry));
            roots.push((name.clone(), carry.ok_or(LookError::RootMoved(name.unwrap_or_default()))));
        }
        roots
    }
}
