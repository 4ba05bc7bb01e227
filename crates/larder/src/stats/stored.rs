//! The stored form of a [`Snapshot`].
//!
//! ```text
//! offset  size
//!      0     4  magic "LSTA"
//!      4     2  format, little-endian
//!      6     8  XXH3-64 of all that follows, little-endian
//!     14     …  postcard: since, series, invalidations, hot keys, history
//! ```
//!
//! `docs/format.md` describes it in full. Counters, distributions and buckets are pairs of a number and a value, without those that are zero; what a
//! number means is fixed where it is assigned. Each new number raises the format, so that an older version
//! refuses what it would otherwise drop.
//!
//! Invariant: whatever bytes it is given, [`decode`] returns or fails; what it returns encodes to a snapshot that
//! is equal.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::count::Counts;
use super::event::SelectorForm;
use super::histogram::Distribution;
use super::history::{History, Resolution, SUMS, Slot};
use super::hot::{HotKey, HotKeys};
use super::registry::StatsOptions;
use super::series::{MEASURES, SeriesName};
use super::snapshot::{HOT_KEYS, Invalidations, Snapshot, Tally};
use crate::clock::Timestamp;
use crate::key::{Key, KeyError, KindName, Scope};

const MAGIC: &[u8; 4] = b"LSTA";
const HEADER: usize = 14;
/// The format that this version reads and writes.
const FORMAT: u16 = 1;

/// Stored statistics can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// They stand in another format: leave them alone.
    #[error("statistics have format {found}, this version reads {FORMAT}")]
    Format {
        /// The format found.
        found: u16,
    },
    /// The bytes are not what was written.
    #[error("statistics are damaged")]
    Damaged,
    /// A name in them is not well formed.
    #[error("statistics name something that is not well formed")]
    Name(#[from] KeyError),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    since: Option<u64>,
    series: Vec<StoredSeries>,
    invalidations: Vec<(u64, u64)>,
    hot: StoredHot,
    history: Vec<Vec<(u64, [u128; SUMS])>>,
}

#[derive(Serialize, Deserialize)]
struct StoredSeries {
    /// Scope, kind without version, version.
    name: Option<(String, String, u32)>,
    counts: Vec<(usize, u128)>,
    distributions: Vec<(usize, StoredDistribution)>,
}

#[derive(Serialize, Deserialize)]
struct StoredDistribution {
    buckets: Vec<(u16, u64)>,
    sum: u128,
    min: u64,
    max: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredHot {
    total: u64,
    floor: u64,
    /// Key, count, error.
    keys: Vec<(String, u64, u64)>,
}

/// Returns the stored form.
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let stored = Stored {
        since: snapshot.since.map(Timestamp::as_millis),
        series: snapshot.series.iter().map(|(name, tally)| StoredSeries::of(name, tally)).collect(),
        invalidations: snapshot.invalidations.iter().map(|form| (form.times, form.entries)).collect(),
        hot: StoredHot {
            total: snapshot.hot.total(),
            floor: snapshot.hot.floor(),
            keys: snapshot
                .hot
                .items()
                .into_iter()
                .map(|(hot, count)| (hot.key.to_string(), count, hot.error))
                .collect(),
        },
        history: Resolution::ALL
            .map(|each| snapshot.history.slots(each).iter().map(|(&number, slot)| (number, slot.0)).collect())
            .into(),
    };
    let mut bytes = Vec::from(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let mut bytes = postcard::to_extend(&stored, bytes).expect("plain data in memory always encodes");
    let checksum = XxHash3_64::oneshot(&bytes[HEADER..]).to_le_bytes();
    bytes[HEADER - 8..HEADER].copy_from_slice(&checksum);
    bytes
}

/// Reads the stored form.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, StoredError> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(StoredError::Damaged)?;
    if !header.starts_with(MAGIC) {
        return Err(StoredError::Damaged);
    }
    let found = u16::from_le_bytes([header[4], header[5]]);
    if found != FORMAT {
        return Err(StoredError::Format { found });
    }
    if header[6..] != XxHash3_64::oneshot(body).to_le_bytes() {
        return Err(StoredError::Damaged);
    }
    let stored: Stored = postcard::from_bytes(body).map_err(|_| StoredError::Damaged)?;
    stored.into_snapshot()
}

/// Adds the counts of `unsaved` to what is stored, `None` where nothing is yet: what a transaction on the stored
/// form does. Bounds the outcome as [`Snapshot::prune`] does. What is damaged is replaced, as nothing can be read
/// from it; what stands in another format is an error, and to be left alone.
pub fn merge_into(
    stored: Option<&[u8]>,
    unsaved: &Snapshot,
    options: &StatsOptions,
    now: Timestamp,
) -> Result<Snapshot, StoredError> {
    let mut all = match stored.map(decode) {
        Some(Ok(all)) => all,
        Some(Err(error @ StoredError::Format { .. })) => return Err(error),
        Some(Err(StoredError::Damaged | StoredError::Name(_))) | None => Snapshot::default(),
    };
    all.merge(unsaved);
    all.prune(now, options);
    Ok(all)
}

impl StoredSeries {
    fn of(name: &SeriesName, tally: &Tally) -> Self {
        let distribution = |(&number, distribution): (&usize, &Distribution)| {
            let buckets = distribution.buckets.iter().map(|(&bucket, &count)| (bucket, count)).collect();
            let Distribution { sum, min, max, .. } = *distribution;
            (number, StoredDistribution { buckets, sum, min, max })
        };
        Self {
            name: name
                .as_ref()
                .map(|(scope, kind)| (scope.to_string(), kind.name().to_owned(), kind.version())),
            counts: tally.counts.sparse().collect(),
            distributions: tally.distributions.iter().map(distribution).collect(),
        }
    }

    fn into_series(self) -> Result<(SeriesName, Tally), StoredError> {
        let name = match self.name {
            None => None,
            Some((scope, kind, version)) => Some((Scope::new(&scope)?, KindName::new(&kind, version)?)),
        };
        let mut counts = Counts::default();
        for (number, count) in self.counts {
            *counts.numbered(number).ok_or(StoredError::Damaged)? = count;
        }
        let mut tally = Tally { counts, ..Tally::default() };
        for (number, StoredDistribution { buckets, sum, min, max }) in self.distributions {
            let distribution = Distribution { buckets: buckets.into_iter().collect(), sum, min, max };
            if number >= MEASURES || !distribution.is_known() {
                return Err(StoredError::Damaged);
            }
            tally.distributions.insert(number, distribution);
        }
        Ok((name, tally))
    }
}

impl Stored {
    fn into_snapshot(self) -> Result<Snapshot, StoredError> {
        if self.invalidations.len() > SelectorForm::ALL.len() || self.history.len() != Resolution::ALL.len() {
            return Err(StoredError::Damaged);
        }
        let mut snapshot = Snapshot { since: self.since.map(Timestamp::from_millis), ..Snapshot::default() };
        for series in self.series {
            let (name, tally) = series.into_series()?;
            snapshot.series.insert(name, tally);
        }
        for (form, (times, entries)) in snapshot.invalidations.iter_mut().zip(self.invalidations) {
            *form = Invalidations { times, entries };
        }
        let mut keys = Vec::with_capacity(self.hot.keys.len());
        for (key, count, error) in self.hot.keys {
            keys.push((HotKey { key: Key::parse(&key)?, error }, count));
        }
        snapshot.hot = HotKeys::from_parts(HOT_KEYS, self.hot.total, self.hot.floor, keys);
        let mut history = History::default();
        for (resolution, slots) in Resolution::ALL.into_iter().zip(self.history) {
            for (number, slot) in slots {
                history.add_slot(resolution, number, &Slot(slot));
            }
        }
        snapshot.history = history;
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;
    use crate::stats::{Computed, EvictionCause, Level, Place, Stats};

    /// Something that happens: which, to which of a few scopes and ids, and how long it takes.
    type Event = (u8, u8, u64);

    fn snapshot(events: &[Event]) -> Snapshot {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let stats = Stats::new(StatsOptions { level: Level::Full, ..StatsOptions::default() }, clock.clone());
        for &(what, whose, n) in events {
            let key = Key::parse(&format!("s{}/k@1/{}", whose % 3, whose)).unwrap();
            let series = stats.series(key.scope(), key.kind());
            let took = Some(Duration::from_nanos(n));
            match what {
                0 => series.hit(Place::Memory, &key, Duration::from_millis(n), took),
                1 => series.hit(Place::Disk, &key, Duration::from_millis(n), took),
                2 => series.miss(&key, took),
                3 => series.computed(Computed::Finished, Duration::from_nanos(n)),
                4 => series.put(Place::Disk, n, n / 2, took),
                5 => series.evicted(Place::Memory, EvictionCause::Idle, n),
                6 => stats.invalidated(SelectorForm::Tag, n),
                _ => {
                    stats.tick();
                    clock.advance(Duration::from_millis(n % 100_000));
                }
            }
        }
        stats.take_unsaved().unwrap_or_default()
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        proptest::collection::vec((0u8..8, 0u8..9, 0u64..1 << 40), 0..60)
    }

    fn sum<'a>(parts: impl IntoIterator<Item = &'a Snapshot>) -> Snapshot {
        let mut all = Snapshot::default();
        parts.into_iter().for_each(|part| all.merge(part));
        all
    }

    #[test]
    fn another_format_is_refused_by_its_number_and_everything_else_is_damage() {
        let good = encode(&snapshot(&[(0, 1, 1), (1, 2, 3), (6, 0, 1)]));
        let mut newer = good.clone();
        newer[4] = 9;
        assert_eq!(decode(&newer), Err(StoredError::Format { found: 9 }));
        assert_eq!(
            StoredError::Format { found: 9 }.to_string(),
            "statistics have format 9, this version reads 1"
        );
        for offset in (0..good.len()).filter(|offset| !(4..6).contains(offset)) {
            let mut bad = good.clone();
            bad[offset] ^= 0x40;
            assert_eq!(decode(&bad), Err(StoredError::Damaged), "byte {offset}");
            assert_eq!(decode(&good[..offset]), Err(StoredError::Damaged), "cut at {offset}");
        }
    }

    #[test]
    fn merging_replaces_what_is_damaged_and_leaves_another_format_alone() {
        let unsaved = snapshot(&[(1, 1, 1)]);
        let merge = |stored: &[u8]| {
            merge_into(Some(stored), &unsaved, &StatsOptions::default(), Timestamp::from_millis(0))
        };
        assert_eq!(merge(&encode(&unsaved)).unwrap(), sum([&unsaved, &unsaved]));
        assert_eq!(merge(b"nonsense").unwrap(), unsaved);
        let mut newer = encode(&unsaved);
        newer[4] = 9;
        assert_eq!(merge(&newer), Err(StoredError::Format { found: 9 }));
    }

    #[test]
    fn the_stored_form_is_this_one_until_the_format_is_raised() {
        let golden = snapshot(&[(1, 1, 5), (2, 1, 9), (3, 1, 1_000), (4, 1, 40), (5, 1, 7), (6, 0, 2)]);
        let digest = crate::key::Digest::of(&encode(&golden));
        assert_eq!(format!("{digest:.16}"), "0bed91b9a63dc528");
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_what_was_encoded(events in events()) {
            let snapshot = snapshot(&events);
            prop_assert_eq!(decode(&encode(&snapshot)).unwrap(), snapshot);
        }

        #[test]
        fn merging_is_commutative(a in events(), b in events()) {
            let (a, b) = (snapshot(&a), snapshot(&b));
            prop_assert_eq!(sum([&a, &b]), sum([&b, &a]));
        }

        #[test]
        fn merging_is_associative(a in events(), b in events(), c in events()) {
            // So few keys are all watched, that hot keys are exact and associative too.
            let (a, b, c) = (snapshot(&a), snapshot(&b), snapshot(&c));
            prop_assert_eq!(sum([&sum([&a, &b]), &c]), sum([&a, &sum([&b, &c])]));
        }

        #[test]
        fn nothing_added_changes_nothing(a in events()) {
            let a = snapshot(&a);
            prop_assert_eq!(&sum([&a, &Snapshot::default()]), &a);
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
            bytes.extend_from_slice(&XxHash3_64::oneshot(&body).to_le_bytes());
            bytes.extend_from_slice(&body);
            if let Ok(snapshot) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&snapshot)).unwrap(), snapshot);
            }
        }
    }
}
