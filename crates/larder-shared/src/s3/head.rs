//! The log as it is written: one object.

use std::fmt::Write as _;
use std::sync::Arc;

use larder::key::{Digest, Key, Selector};
use larder::tier::{Epoch, Invalidation, TierError};

/// How many invalidations the log keeps. Whoever missed more drops everything.
const MAX_LOG: usize = 1000;
/// How many invalidations may be pending; above that they become one of everything.
const MAX_PENDING: usize = 100;

const FORMAT: &str = "larder log 1";

/// The log, of which each state is written in the place of the one before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    /// The epoch at which this log began. One that begins after a loss has another.
    born: u64,
    /// The last epoch of which nothing is told any more.
    base: u64,
    log: Vec<Told>,
    pending: Vec<Told>,
}

/// An invalidation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) epoch: u64,
    text: String,
    /// `None` for one that a newer version wrote, which may cover anything.
    selector: Option<Selector>,
}

impl Told {
    fn new(epoch: u64, text: &str) -> Self {
        Self { epoch, text: text.to_owned(), selector: text.parse().ok() }
    }

    pub(super) fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    fn covers(&self, key: &Key, tags: &[Arc<str>]) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.matches(key, tags, None))
    }
}

impl Head {
    pub(super) fn begin(epoch: u64) -> Self {
        Self { born: epoch, base: epoch, log: Vec::new(), pending: Vec::new() }
    }

    pub(super) fn born(&self) -> u64 {
        self.born
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.log.last().map_or(self.base, |told| told.epoch))
    }

    pub(super) fn pending(&self) -> &[Told] {
        &self.pending
    }

    /// What came after an epoch; `None` where that is unknown. An epoch that this log never told is of another one,
    /// even if it lies between two of this one's.
    pub(super) fn since(&self, epoch: Epoch) -> Option<Vec<Invalidation>> {
        let from = match self.log.iter().position(|told| told.epoch == epoch.0) {
            Some(at) => at + 1,
            None if epoch.0 == self.base => 0,
            None => return None,
        };
        let invalidation =
            |told: &Told| Some(Invalidation { epoch: Epoch(told.epoch), selector: told.selector.clone()? });
        self.log[from..].iter().map(invalidation).collect()
    }

    /// Whether an epoch was told by a part of the log that it lost, and nobody invalidated everything because of that.
    pub(super) fn has_lost(&self, epoch: Epoch) -> bool {
        let is_all = |told: &Told| told.selector.as_ref().is_some_and(Selector::is_all);
        epoch.0 > self.base
            && self.log.iter().all(|told| told.epoch < epoch.0 || told.epoch > epoch.0 && !is_all(told))
    }

    /// Whether anything that is known to have come after an epoch, or is pending, covers an entry that was found
    /// valid then.
    pub(super) fn covers(&self, checked: u64, key: &Key, tags: &[Arc<str>]) -> bool {
        let later = |told: &&Told| told.epoch > checked;
        self.log.iter().chain(&self.pending).filter(later).any(|told| told.covers(key, tags))
    }

    /// What is to be invalidated where somebody wants to invalidate this: everything, if too much is pending.
    pub(super) fn widened(&self, selector: &Selector) -> Selector {
        if self.pending.len() < MAX_PENDING { selector.clone() } else { Selector::all() }
    }

    /// With one more invalidation, which is pending. Its epoch is the time, or what comes after the last one.
    pub(super) fn with(&self, now_micros: u64, selector: &Selector) -> Self {
        let mut head = self.clone();
        let told = Told::new(now_micros.max(self.epoch().0 + 1), &selector.to_string());
        if head.pending.len() >= MAX_PENDING {
            // Whoever began the others finds them gone; this one covers them.
            head.pending.clear();
        }
        head.pending.push(told.clone());
        head.log.push(told);
        while head.log.len() > MAX_LOG {
            head.base = head.log.remove(0).epoch;
        }
        head
    }

    /// Without a pending one; `None` if it is not pending.
    pub(super) fn without_pending(&self, epoch: u64) -> Option<Self> {
        let mut head = self.clone();
        head.pending.retain(|told| told.epoch != epoch);
        (head.pending.len() < self.pending.len()).then_some(head)
    }

    /// Whether this tells what `next` told beyond `before`.
    pub(super) fn goes_on_from(&self, next: &Self, before: &Self) -> bool {
        let told = next.log.last();
        told != before.log.last() && told.is_some_and(|told| self.log.contains(told))
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{FORMAT}\nborn {}\nbase {}\n", self.born, self.base);
        for (word, all) in [("told", &self.log), ("pending", &self.pending)] {
            for told in all {
                let _ = writeln!(text, "{word} {} {}", told.epoch, told.text);
            }
        }
        let sum = Digest::of(text.as_bytes());
        let _ = writeln!(text, "sum {sum}");
        text
    }

    /// Reads a log. One that is damaged, or that another version wrote, is no log to go by.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TierError> {
        Self::parse_text(bytes).ok_or_else(|| TierError::Index("the invalidation log cannot be read".into()))
    }

    fn parse_text(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (before, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let summed = &text[..before.len() + 1];
        if sum.strip_prefix("sum ")? != Digest::of(summed.as_bytes()).to_string() {
            return None;
        }
        let mut lines = before.split('\n');
        if lines.next()? != FORMAT {
            return None;
        }
        let born = lines.next()?.strip_prefix("born ")?.parse().ok()?;
        let base = lines.next()?.strip_prefix("base ")?.parse().ok()?;
        let mut head = Self { born, base, log: Vec::new(), pending: Vec::new() };
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            let (epoch, selector) = rest.split_once(' ')?;
            let told = Told::new(epoch.parse().ok()?, selector);
            match word {
                "told" => head.log.push(told),
                "pending" => head.pending.push(told),
                _ => return None,
            }
        }
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[test]
    fn a_log_reads_back_and_a_damaged_one_does_not() {
        let selector = Selector::all().tagged("a b").unwrap();
        let head = Head::begin(5).with(0, &Selector::key(&key("a/b@1/x y"))).with(90, &selector);
        let text = head.text();
        assert_eq!(Head::parse(text.as_bytes()).unwrap(), head);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Head::parse(&bytes).is_err(), "byte {at}");
            assert!(Head::parse(&text.as_bytes()[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn epochs_go_with_the_time_and_never_back() {
        let head = Head::begin(100).with(50, &Selector::all());
        assert_eq!(head.epoch(), Epoch(101));
        assert_eq!(head.with(900, &Selector::all()).epoch(), Epoch(900));
    }

    #[test]
    fn only_epochs_that_this_log_told_are_followed() {
        let one = Selector::key(&key("a/b@1/x"));
        let mut head = Head::begin(10).with(20, &one).with(30, &one);
        assert_eq!(head.since(Epoch(10)).map(|all| all.len()), Some(2));
        assert_eq!(head.since(Epoch(30)), Some(Vec::new()));
        for other in [0, 15, 25, 31] {
            assert_eq!(head.since(Epoch(other)), None, "{other}");
        }
        for _ in 0..MAX_LOG {
            head = head.with(0, &one);
        }
        assert_eq!((head.since(Epoch(20)), head.since(Epoch(10))), (None, None), "the log was cut");
        assert_eq!(head.since(Epoch(30)).map(|all| all.len()), Some(MAX_LOG));
        assert_eq!(head.since(head.epoch()), Some(Vec::new()));
    }

    #[test]
    fn an_epoch_between_those_of_the_log_or_after_them_was_lost_until_somebody_invalidated_everything() {
        let one = Selector::key(&key("a/b@1/x"));
        let head = Head::begin(10).with(20, &one).with(30, &one);
        for (epoch, is_lost) in [(0, false), (10, false), (15, true), (20, false), (25, true), (40, true)] {
            assert_eq!(head.has_lost(Epoch(epoch)), is_lost, "{epoch}");
        }
        let head = head.with(50, &Selector::all().marked(7));
        assert!(!head.has_lost(Epoch(15)) && !head.has_lost(Epoch(40)) && head.has_lost(Epoch(60)));
    }

    #[test]
    fn what_is_pending_is_bounded_and_outlives_its_place_in_the_log() {
        let (x, y) = (key("a/b@1/x"), key("a/b@1/y"));
        let mut head = Head::begin(10).with(20, &Selector::key(&x));
        for epoch in 1..=MAX_LOG as u64 {
            head = head.with(1000 + epoch, &Selector::key(&y)).without_pending(1000 + epoch).unwrap();
        }
        assert!(head.covers(15, &x, &[]) && !head.covers(20, &x, &[]));
        assert!(!head.without_pending(20).unwrap().covers(15, &x, &[]));
        assert_eq!(head.without_pending(21), None);
        while head.pending.len() < MAX_PENDING {
            assert_eq!(head.widened(&Selector::key(&y)), Selector::key(&y));
            head = head.with(0, &Selector::key(&y));
        }
        let wide = head.widened(&Selector::key(&y));
        assert_eq!(wide, Selector::all());
        head = head.with(0, &wide);
        assert!(head.pending.len() == 1 && head.covers(15, &x, &[]));
    }
}
