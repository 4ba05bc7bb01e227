//! Connections that have not asked for anything yet.
//!
//! Invariant: there are no more than so many of them; where one comes that is too many, the one that has waited for
//! longest goes. So whoever connects and says nothing keeps nobody out who has something to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Connections that wait. A clone is another handle.
#[derive(Debug, Clone)]
pub(super) struct Lobby {
    waiting: Arc<Mutex<Waiting>>,
    places: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place in the lobby, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Mutex<Waiting>>,
    number: u64,
    /// Ends when the place is taken away.
    pub(super) taken: oneshot::Receiver<()>,
}

impl Lobby {
    pub(super) fn new(places: usize) -> Self {
        Self { waiting: Arc::default(), places }
    }

    pub(super) fn enter(&self) -> Place {
        let (sender, taken) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_age.insert(number, sender);
        if waiting.by_age.len() > self.places {
            waiting.by_age.pop_first();
        }
        Place { waiting: Arc::clone(&self.waiting), number, taken }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_waited_for_longest_goes_when_one_is_too_many() {
        let lobby = Lobby::new(2);
        let mut places = [lobby.enter(), lobby.enter()];
        let mut third = lobby.enter();
        assert!(places[0].taken.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        let stays = |place: &mut Place| place.taken.try_recv() == Err(oneshot::error::TryRecvError::Empty);
        assert!(stays(&mut places[1]) && stays(&mut third));
        drop(places);
        let mut fourth = lobby.enter();
        assert!(stays(&mut third) && stays(&mut fourth));
    }
}
