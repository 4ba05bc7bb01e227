//! Looking ahead: at many files and listings in one go, before anybody asks for each.
//!
//! Not here: what is seen of one source (`observe`), how it is looked at (`look`).

use std::sync::Arc;

use super::look::{Place, Sight, Wanted};
use super::observe::{Name, View, as_look, failed, find_scanned, finished, root_of, seen_as};
use super::outside::LookError;
use super::slots::Slot;
use crate::query::{Fingerprint, Observation, Source};
use crate::tier::Brief;

/// How many files and listings are worth a thread of their own.
const WORTH_A_THREAD: usize = 512;

/// How many observations have to be right for it to be worth noting that they are.
const WORTH_NOTING: usize = 16;

impl View {
    /// Whether observations are right, going by what earlier sessions hand on and without going through all of them.
    pub(super) async fn are_right(&self, observations: &Arc<[Observation]>) -> bool {
        let Some(place) = self.place_of_all(observations).await else { return false };
        let (Some(carry), Some(began)) = (&place.carry, place.began) else { return false };
        if !carry.are_right(observations, began) {
            return false;
        }
        let (mut globs, mut carried) = (Vec::new(), 0);
        for Observation { source, fingerprint, .. } in observations.iter() {
            carried += usize::from(!matches!(source, Source::Variable(_)));
            match source {
                Source::Variable(name)
                    if Fingerprint::of_variable(name, self.variable(name)) != *fingerprint =>
                {
                    return false;
                }
                Source::Glob(_) => match carry.get(source) {
                    Some(seen) => globs.push((source.clone(), Slot::Seen(seen))),
                    None => return false,
                },
                _ => {}
            }
        }
        self.counts.lock().carried += carried;
        self.sources.note_right(observations, globs);
        true
    }

    /// Whether observations from the place `from` on are right, for a session that has not looked at any file or listing:
    /// looks at all of them, and notes none by itself. `false` also stands for what can't be told like this.
    pub(super) async fn are_right_at_first(&self, observations: &Arc<[Observation]>, from: usize) -> bool {
        let rest = &observations[from..];
        if rest.len() < WORTH_NOTING || self.outside.watch.is_some() || !self.sources.has_no_looks() {
            return false;
        }
        let Some((root, wanted)) = self.to_look_at(observations, from) else { return false };
        let (mut parts, mut is_right) = (Vec::new(), true);
        // What a glob has looked at leaves nothing to be remembered.
        let place = if wanted.is_empty() { self.bare_place(root).await } else { self.place(root).await };
        let Ok(place) = place else { return false };
        if self.brief() == Brief::InPlace && wanted.len() < WORTH_A_THREAD {
            parts.push((0, place.right_until(observations, &wanted)));
            is_right = parts[0].1 == wanted.len();
        } else {
            let most = wanted.len().div_ceil(self.threads).max(WORTH_A_THREAD);
            let looking = (0..wanted.len()).step_by(most).map(|begin| {
                let range = begin..wanted.len().min(begin + most);
                let (place, wanted) = (Arc::clone(&place), Arc::clone(&wanted));
                let (len, observations) = (range.len(), Arc::clone(observations));
                let look = move || place.right_until(&observations, &wanted[range]);
                (begin, len, tokio::task::spawn_blocking(look))
            });
            for (begin, len, look) in looking.collect::<Vec<_>>() {
                let right = finished(look.await);
                is_right &= right == len;
                parts.push((begin, right));
            }
        }
        if is_right && self.sources.note_right_first(observations) {
            return true;
        }
        let right = parts.into_iter().flat_map(|(begin, right)| &wanted[begin..begin + right]);
        let right = right.map(|&at| &observations[at as usize]);
        self.sources.note(right.map(|seen| (&seen.source, seen.fingerprint)), |_, _, _| None);
        false
    }

    /// The root below which all of the observations from the place `from` on are that nothing is known of, and where
    /// they are. `None` if one is known to be wrong, or can't be looked at together with the others.
    fn to_look_at<'a>(
        &self,
        observations: &'a [Observation],
        from: usize,
    ) -> Option<(Option<&'a str>, Arc<[u32]>)> {
        let mut root = None;
        let (mut wanted, mut scans) = (Vec::new(), self.scans());
        for (at, Observation { source, fingerprint, .. }) in observations.iter().enumerate().skip(from) {
            if let Source::Variable(name) = source {
                if Fingerprint::of_variable(name, self.variable(name)) != *fingerprint {
                    return None;
                }
                continue;
            }
            let (looked, path) = as_look(source)?;
            if *root.get_or_insert(path.root()) != path.root() {
                return None;
            }
            match find_scanned(&mut scans, looked, path) {
                Some((known, _)) if known != *fingerprint => return None,
                Some(_) => {}
                None => wanted.push(at as u32),
            }
        }
        Some((root?, wanted.into()))
    }

    /// Hands on that observations were found to be right.
    pub(super) async fn note_right(&self, observations: &Arc<[Observation]>) {
        if let Some(place) = self.place_of_all(observations).await
            && let Some(carry) = &place.carry
        {
            let known = |seen: &Observation| !matches!(seen.source, Source::Query(_) | Source::Tool(_));
            let mut roots = observations.iter().filter_map(|seen| root_of(&seen.source).ok()?);
            let first = roots.next();
            if observations.iter().all(known) && roots.all(|root| Some(root) == first) {
                carry.note_right(observations);
            }
        }
    }

    /// Where the first of many observations is; of all of them, if it is ever noted that they are right.
    async fn place_of_all(&self, observations: &[Observation]) -> Option<Arc<Place>> {
        if self.outside.watch.is_none() || observations.len() < WORTH_NOTING {
            return None;
        }
        let root = observations.iter().find_map(|seen| root_of(&seen.source).ok()?)?;
        self.bare_place(root).await.ok()
    }

    /// Looks at those files and listings that the session has not looked at, all in one go, and returns what stands for
    /// each. `None` stands for other sources, and for those that could not be looked at: what is wrong with them is told
    /// by whoever sees them.
    pub(super) async fn look_ahead(&self, sources: &[&Source]) -> Vec<Option<Fingerprint>> {
        let places = self.places_of(sources).await;
        let carry_of = |root: Option<&str>| {
            let place = places.iter().find(|place| place.0.as_deref() == root);
            place.and_then(|(_, place)| place.carry.as_ref())
        };
        let (mut wanted, mut wanted_at, mut carried) = (Vec::new(), Vec::new(), 0);
        let mut found = self.sources.fingerprints(sources, |at| {
            let (looked, path) = as_look(sources[at])?;
            let carry = carry_of(path.root());
            if let Some(seen) = carry.and_then(|carry| carry.get(sources[at])) {
                carried += 1;
                return Some(Slot::Seen(seen));
            }
            let known = self.scanned(looked, path);
            if let (None, Some((known, _))) = (carry, known) {
                return Some(Slot::Known(known));
            }
            wanted.push(Wanted { looked, path: path.clone(), known, is_watched: true });
            wanted_at.push(at);
            None
        });
        self.counts.lock().carried += carried;
        if wanted.is_empty() {
            return found;
        }
        let looks = wanted_at.into_iter().zip(self.fingerprints(wanted).await);
        let (mut at_of, mut vigils) = (Vec::new(), Vec::new());
        let looks = looks.filter_map(|(at, sight)| {
            let Sight { fingerprint, vigil } = sight.ok()?;
            at_of.push(at);
            vigils.push(vigil);
            Some((sources[at], fingerprint))
        });
        let looks: Vec<(&Source, Fingerprint)> = looks.collect();
        let noted = self.sources.note(looks, |nth, source, fingerprint| {
            let (looked, path) = as_look(source)?;
            let (carry, vigil) = (carry_of(path.root())?, vigils[nth].take()?);
            let seen = Arc::new(seen_as(looked, fingerprint));
            carry.keep(source, &seen, vigil);
            Some(seen)
        });
        for (at, fingerprint) in at_of.into_iter().zip(noted) {
            found[at] = fingerprint;
        }
        found
    }

    /// The places that files and listings are below, as far as they are known.
    async fn places_of(&self, sources: &[&Source]) -> Vec<(Name, Arc<Place>)> {
        let mut places: Vec<(Name, Arc<Place>)> = Vec::new();
        for root in sources.iter().filter_map(|source| as_look(source)).map(|(_, path)| path.root()) {
            if places.iter().all(|place| place.0.as_deref() != root)
                && let Ok(place) = self.place(root).await
            {
                places.push((root.map(Box::from), place));
            }
        }
        places
    }

    /// The fingerprints of files and listings, in order. Where one blocking thread has enough to do, others help.
    pub(super) async fn fingerprints(&self, wanted: Vec<Wanted>) -> Vec<Result<Sight, LookError>> {
        if self.brief() == Brief::InPlace && wanted.len() < WORTH_A_THREAD {
            return self.fingerprints_in_place(&wanted).await;
        }
        let wanted = Arc::new(wanted);
        let most = wanted.len().div_ceil(self.threads).max(WORTH_A_THREAD);
        let (mut from, mut parts) = (0, Vec::new());
        for below_one in wanted.chunk_by(|a, b| a.path.root() == b.path.root()) {
            let place = self.place(below_one[0].path.root()).await;
            for part in below_one.chunks(most) {
                let (range, wanted) = (from..from + part.len(), Arc::clone(&wanted));
                from = range.end;
                parts.push(match &place {
                    Ok(place) => {
                        let place = Arc::clone(place);
                        Ok(tokio::task::spawn_blocking(move || place.fingerprints(&wanted[range])))
                    }
                    Err(error) => Err((error.clone(), range.len())),
                });
            }
        }
        let mut found = Vec::with_capacity(wanted.len());
        for part in parts {
            match part {
                Ok(looks) => found.extend(finished(looks.await).into_iter().map(|look| look.map_err(failed))),
                Err((error, count)) => {
                    found.extend(std::iter::repeat_with(|| Err(error.clone())).take(count))
                }
            }
        }
        found
    }

    async fn fingerprints_in_place(&self, wanted: &[Wanted]) -> Vec<Result<Sight, LookError>> {
        let mut found = Vec::with_capacity(wanted.len());
        for below_one in wanted.chunk_by(|a, b| a.path.root() == b.path.root()) {
            match self.place(below_one[0].path.root()).await {
                Ok(place) => {
                    found.extend(place.fingerprints(below_one).into_iter().map(|look| look.map_err(failed)))
                }
                Err(error) => found.extend(below_one.iter().map(|_| Err(error.clone()))),
            }
        }
        found
    }
}
