//! The record: what is known about an entry besides its value.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::key::Digest;

/// What is known about an entry when it is made, besides its value. Goes with it through every tier.
///
/// When it was used last and how often is counted by each tier for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When the value was computed, by the clock of the machine that did.
    pub created: Timestamp,
    /// How long computing it took.
    pub cost: Duration,
    /// When it ends to hold.
    pub expires: Option<Timestamp>,
    /// Names by which it can be selected, sorted, without duplicates.
    pub tags: Box<[Arc<str>]>,
    /// Who computed it, in words for people: a user and host, or what the configuration says.
    pub producer: Arc<str>,
    /// Blobs that the value names. The entry is whole only while they are all there.
    pub blobs: Box<[Digest]>,
}

impl Record {
    /// A record of a value that took `cost` to compute, with nothing else known.
    pub fn new(created: Timestamp, cost: Duration) -> Self {
        Self {
            created,
            cost,
            expires: None,
            tags: Box::default(),
            producer: "".into(),
            blobs: Box::default(),
        }
    }

    /// Whether it has ended to hold at `now`. A clock that stepped back to before the record was made does not
    /// prolong it: time that can't be measured counts as passed for whatever expires.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires || now < self.created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_expires_does_not_outlive_a_step_back_of_the_clock() {
        let at = Timestamp::from_millis;
        let mut record = Record::new(at(1_000), Duration::ZERO);
        assert!(!record.expired(at(u64::MAX)));
        record.expires = Some(at(2_000));
        let expired: Vec<bool> = [999, 1_000, 1_999, 2_000].map(|t| record.expired(at(t))).to_vec();
        assert_eq!(expired, [true, false, false, true]);
    }
}
