//! Connections that are not served yet: that have not said anything, or wait for a place to be served.
//!
//! Invariant: there are no more than so many of them; where one comes that is too many, one of the others goes: of those
//! that have said nothing the one that has waited for longest, and only where there is none the one that has waited for
//! longest of all. So whoever connects and says nothing keeps nobody out who has something to say: those who say
//! nothing share one place where all others have spoken.

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

/// Those who wait, by their age.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    silent: BTreeMap<u64, oneshot::Sender<()>>,
    spoken: BTreeMap<u64, oneshot::Sender<()>>,
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
        if waiting.silent.len() + waiting.spoken.len() >= self.places {
            let Waiting { silent, spoken, .. } = &mut *waiting;
            let _ = silent.pop_first().or_else(|| spoken.pop_first());
        }
        waiting.silent.insert(number, sender);
        Place { waiting: Arc::clone(&self.waiting), number, taken }
    }
}

impl Place {
    /// Takes note that something was said.
    pub(super) fn speaks(&self) {
        let mut waiting = self.waiting.lock();
        if let Some(sender) = waiting.silent.remove(&self.number) {
            waiting.spoken.insert(self.number, sender);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        waiting.silent.remove(&self.number);
        waiting.spoken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stays(place: &mut Place) -> bool {
        place.taken.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }

    #[test]
    fn the_one_that_waited_for_longest_goes_when_one_is_too_many() {
        let lobby = Lobby::new(2);
        let mut places = [lobby.enter(), lobby.enter()];
        let mut third = lobby.enter();
        assert!(!stays(&mut places[0]) && stays(&mut places[1]) && stays(&mut third));
        drop(places);
        let mut fourth = lobby.enter();
        assert!(stays(&mut third) && stays(&mut fourth));
    }

    #[test]
    fn those_who_say_nothing_go_before_those_who_spoke_and_keep_one_place() {
        let lobby = Lobby::new(3);
        let mut first = [lobby.enter(), lobby.enter(), lobby.enter()];
        first.iter().for_each(Place::speaks);
        let mut silent: Vec<Place> = (0..10).map(|_| lobby.enter()).collect();
        assert_eq!(first.each_mut().map(stays), [false, true, true]);
        assert_eq!(
            silent.iter_mut().filter_map(|place| stays(place).then_some(place.number)).collect::<Vec<_>>(),
            [12]
        );
        let mut last = lobby.enter();
        last.speaks();
        assert_eq!(first.each_mut().map(stays), [false, true, true], "it came in the place of a silent one");
        assert!(stays(&mut last));
        drop((first, silent, last));
        let waiting = lobby.waiting.lock();
        assert!(waiting.silent.is_empty() && waiting.spoken.is_empty());
    }
}
