//! Turns: of several clients that miss the same thing, one makes it, and the others wait for that.
//!
//! Whoever asks first for what is not there has the turn, and is told so by getting nothing. Others who ask for it
//! meanwhile wait, each for as long as the scope says, until it is put or the turn ends. A turn ends with its time, or
//! with the connection of whoever has it: nobody waits for the dead.
//! Invariants: waiting only ever delays an answer; what is given is what is there then. A turn whose time is over takes
//! up no room once anybody asks for anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::key::Scope;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How many turns there are at most; beyond that, whoever misses something makes it.
const MAX_TURNS: usize = 1 << 16;
/// From how many subjects on a holder forgets those that are somebody else's turn by now, or nobody's.
const MANY: usize = 64;

/// What a turn is about.
pub(crate) type Subject = (Scope, String);

/// The turns of a server. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    taken: Mutex<Taken>,
    holders: AtomicU64,
    waiting: AtomicU64,
}

/// The turns that somebody has.
#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by_subject: HashMap<Arc<Subject>, Held>,
    by_end: BTreeMap<(Instant, u64), Arc<Subject>>,
}

/// A turn that somebody has.
#[derive(Debug)]
struct Held {
    holder: u64,
    /// Where it stands among all by its end.
    until: (Instant, u64),
    /// Those who wait see it go.
    ends: watch::Sender<()>,
}

/// Who may have turns: a client on one connection. Its turns end when this is dropped.
#[derive(Debug)]
pub(crate) struct Holder {
    turns: Turns,
    number: u64,
    has: Mutex<Subjects>,
}

/// What one holder had turns for. Some may be over.
#[derive(Debug, Default)]
struct Subjects {
    all: HashSet<Arc<Subject>>,
    /// At how many it is looked which of them are over.
    many: usize,
}

/// Whose turn it is.
enum Turn {
    /// Whoever asked.
    Theirs,
    /// Somebody else's, until then or the end of the channel.
    Others(watch::Receiver<()>, Instant),
}

impl Turns {
    /// Somebody who may have turns.
    pub(crate) fn holder(&self) -> Arc<Holder> {
        let number = self.inner.holders.fetch_add(1, Ordering::Relaxed);
        let has = Mutex::new(Subjects { many: MANY, ..Subjects::default() });
        Arc::new(Holder { turns: self.clone(), number, has })
    }

    /// How many requests wait for somebody else.
    pub(crate) fn waiting(&self) -> u64 {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Ends the turn for what has been put.
    pub(crate) fn end(&self, subject: &Subject) {
        self.inner.taken.lock().remove(subject);
    }
}

impl Taken {
    fn insert(&mut self, subject: Arc<Subject>, holder: u64, until: Instant) {
        self.remove(&subject);
        let until = (until, self.next);
        self.next += 1;
        self.by_end.insert(until, Arc::clone(&subject));
        self.by_subject.insert(subject, Held { holder, until, ends: watch::Sender::new(()) });
    }

    fn remove(&mut self, subject: &Subject) {
        if let Some(held) = self.by_subject.remove(subject) {
            self.by_end.remove(&held.until);
        }
    }

    /// Ends the turns whose time is over.
    fn end_until(&mut self, now: Instant) {
        while let Some(first) = self.by_end.first_entry().filter(|first| first.key().0 <= now) {
            self.by_subject.remove(&first.remove());
        }
    }

    fn is_of(&self, subject: &Subject, holder: u64) -> bool {
        self.by_subject.get(subject).is_some_and(|held| held.holder == holder)
    }
}

impl Holder {
    /// Begins to ask for something, and waits at most `wait` for others who make it. Who can't make it gets no turn.
    pub(crate) fn ask(self: &Arc<Self>, subject: Subject, wait: Duration, can_make: bool) -> Asking {
        let turn = self.turn(&subject, wait, can_make);
        let deadline = Instant::now() + wait;
        Asking(Some(State { holder: Arc::clone(self), subject, wait, can_make, deadline, turn }))
    }

    fn turn(&self, subject: &Subject, wait: Duration, can_make: bool) -> Option<Turn> {
        let mut taken = self.turns.inner.taken.lock();
        let now = Instant::now();
        taken.end_until(now);
        let held = taken.by_subject.get(subject);
        if let Some(held) = held.filter(|held| held.holder != self.number) {
            return Some(Turn::Others(held.ends.subscribe(), held.until.0));
        }
        if !can_make || (held.is_none() && taken.by_subject.len() >= MAX_TURNS) {
            return None;
        }
        let subject = Arc::new(subject.clone());
        taken.insert(Arc::clone(&subject), self.number, now + wait);
        drop(taken);
        let mut has = self.has.lock();
        has.all.insert(subject);
        if has.all.len() >= has.many {
            let taken = self.turns.inner.taken.lock();
            has.all.retain(|subject| taken.is_of(subject, self.number));
            has.many = MANY.max(has.all.len() * 2);
        }
        Some(Turn::Theirs)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut taken = self.turns.inner.taken.lock();
        for subject in self.has.get_mut().all.drain() {
            if taken.is_of(&subject, self.number) {
                taken.remove(&subject);
            }
        }
    }
}

/// A request for something that somebody else may be making: first whose turn it is, then whether it is there, so that
/// nothing is missed that is put in between.
pub(crate) struct Asking(Option<State>);

struct State {
    holder: Arc<Holder>,
    subject: Subject,
    wait: Duration,
    can_make: bool,
    deadline: Instant,
    turn: Option<Turn>,
}

impl Asking {
    /// One that waits for nobody.
    pub(crate) fn at_once() -> Self {
        Self(None)
    }

    /// Whether to look again: it was not there, somebody else has the turn, and now it may be there or theirs is over.
    pub(crate) async fn again(&mut self, is_there: bool) -> bool {
        let Some(state) = &mut self.0 else { return false };
        let turns = &state.holder.turns;
        match &mut state.turn {
            Some(Turn::Theirs) if is_there => turns.end(&state.subject),
            Some(Turn::Others(ends, until)) if !is_there && Instant::now() < state.deadline => {
                let _waits = Waits::begin(turns);
                // That it ended and that its time is over come to the same: it is looked again.
                let _ = timeout_at(state.deadline.min(*until), ends.changed()).await;
                state.turn = state.holder.turn(&state.subject, state.wait, state.can_make);
                return true;
            }
            _ => {}
        }
        false
    }
}

/// Counts a request that waits.
struct Waits<'a>(&'a Inner);

impl<'a> Waits<'a> {
    fn begin(turns: &'a Turns) -> Self {
        turns.inner.waiting.fetch_add(1, Ordering::Relaxed);
        Self(&turns.inner)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn subject() -> Subject {
        (Scope::new("shop").unwrap(), "key".to_owned())
    }

    async fn look(holder: &Arc<Holder>, wait: Duration, kept: &Mutex<Option<u8>>) -> Option<u8> {
        let mut asking = holder.ask(subject(), wait, true);
        loop {
            let found = *kept.lock();
            if !asking.again(found.is_some()).await {
                return found;
            }
        }
    }

    #[tokio::test]
    async fn who_asks_second_gets_what_the_first_puts() {
        let (turns, kept) = (Turns::default(), Mutex::new(None));
        let (first, second) = (turns.holder(), turns.holder());
        assert_eq!(look(&first, LONG, &kept).await, None);
        assert_eq!(look(&first, LONG, &kept).await, None, "their own turn keeps nobody waiting");
        let puts = async {
            while turns.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            *kept.lock() = Some(7);
            turns.end(&subject());
        };
        let (found, ()) = tokio::join!(look(&second, LONG, &kept), puts);
        assert_eq!((found, turns.waiting()), (Some(7), 0));
    }

    #[tokio::test]
    async fn nobody_waits_for_the_dead_or_longer_than_the_scope_says() {
        let (turns, kept) = (Turns::default(), Mutex::new(None));
        let (first, second, third) = (turns.holder(), turns.holder(), turns.holder());
        assert_eq!(look(&first, LONG, &kept).await, None);
        assert_eq!(look(&second, Duration::from_millis(1), &kept).await, None);
        let dies = async {
            while turns.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            drop(first);
        };
        let (found, ()) = tokio::join!(look(&third, LONG, &kept), dies);
        assert_eq!(found, None);
        // The turn is the third's now.
        assert_eq!(look(&second, Duration::from_millis(1), &kept).await, None);
        assert_eq!(turns.inner.taken.lock().by_subject[&subject()].holder, third.number);
    }

    #[tokio::test]
    async fn who_cannot_make_it_has_no_turn() {
        let turns = Turns::default();
        let reader = turns.holder();
        assert!(!reader.ask(subject(), LONG, false).again(false).await);
        assert!(turns.inner.taken.lock().by_subject.is_empty());
    }

    #[tokio::test]
    async fn turns_whose_time_is_over_or_that_were_put_take_up_no_room() {
        let turns = Turns::default();
        let holder = turns.holder();
        let numbered = |n: u32| (Scope::new("shop").unwrap(), n.to_string());
        for n in 0..1000 {
            let _asks = holder.ask(numbered(n), Duration::ZERO, true);
        }
        for n in 1000..2000 {
            let mut asks = holder.ask(numbered(n), LONG, true);
            assert!(!asks.again(n >= 1100).await);
        }
        let taken = turns.inner.taken.lock();
        assert_eq!((taken.by_subject.len(), taken.by_end.len()), (100, 100));
        assert!(holder.has.lock().all.len() <= 200);
        drop(taken);
        drop(holder);
        assert!(turns.inner.taken.lock().by_end.is_empty());
    }
}
