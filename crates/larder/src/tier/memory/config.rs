//! How a memory tier is made.

use std::num::NonZero;

use crate::policy::PolicyName;

/// How much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sum of the weights of all entries.
    pub bytes: u64,
    /// Number of entries, if it is limited.
    pub entries: Option<u64>,
}

impl Limits {
    /// More than there can ever be, and little enough to be added up and negated.
    pub(super) const UNLIMITED: u64 = 1 << 62;

    /// Limits the weights alone.
    pub const fn bytes(bytes: u64) -> Self {
        Self { bytes, entries: None }
    }

    /// The heaviest entry that is kept: half of what there may be in all.
    pub fn heaviest(&self) -> u64 {
        self.bytes.div_ceil(2)
    }
}

/// What a memory tier is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How much there may be.
    pub limits: Limits,
    /// Who leaves first.
    pub policy: PolicyName,
    /// How many parts it is cut into, rounded up to a power of two. More of them keep threads out of one
    /// another's way; fewer know better who should leave.
    pub shards: NonZero<usize>,
    /// Where all randomness comes from: mostly that of tables, which should not be the same in each process if keys
    /// come from strangers.
    pub seed: u64,
}

impl Config {
    /// Bytes that a shard should have before there is another one.
    const BYTES_A_SHARD: u64 = 2 << 20;
    /// Entries that a shard should have before there is another one.
    const ENTRIES_A_SHARD: u64 = 256;
    /// Shards for each thread that runs at once: two of them rarely want the same one.
    const SHARDS_A_THREAD: u64 = 32;

    /// The default policy, and as many shards as suit the limits and `threads` threads at once.
    pub fn new(limits: Limits, threads: NonZero<usize>, seed: u64) -> Self {
        let most = (threads.get() as u64).saturating_mul(Self::SHARDS_A_THREAD).next_power_of_two().min(1024);
        let entries = limits.entries.unwrap_or(Limits::UNLIMITED);
        let shards = (limits.bytes / Self::BYTES_A_SHARD).min(entries / Self::ENTRIES_A_SHARD).clamp(1, most);
        // Rounded down, so that each has enough.
        let shards = NonZero::new(1 << shards.ilog2()).unwrap_or(NonZero::<usize>::MIN);
        Self { limits, policy: PolicyName::default(), shards, seed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_limits_have_few_shards_and_large_ones_as_many_as_threads_need() {
        let check = |bytes: u64, entries: Option<u64>, threads: usize| {
            let threads = NonZero::new(threads).unwrap();
            Config::new(Limits { bytes, entries }, threads, 0).shards.get()
        };
        assert_eq!(check(0, None, 2), 1);
        assert_eq!(check(7 << 20, None, 2), 2);
        assert_eq!(check(1 << 30, None, 2), 64);
        assert_eq!(check(1 << 40, None, 10_000), 1024);
        assert_eq!(check(1 << 30, Some(600), 2), 2);
    }
}
