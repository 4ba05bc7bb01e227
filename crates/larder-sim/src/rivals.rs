//! Other in-memory caches, each with its own defaults.

use std::num::NonZero;

use foyer_memory::{CacheBuilder, EvictionConfig, LfuConfig, LruConfig, S3FifoConfig, SieveConfig};
use quick_cache::Weighter;

use crate::replay::{Cache, Outcome};
use crate::trace::Request;

/// Which rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// moka's synchronous cache: W-TinyLFU.
    Moka,
    /// quick_cache: a variant of CLOCK-Pro and S3-FIFO.
    QuickCache,
    /// foyer's memory part with LRU, its default.
    FoyerLru,
    /// foyer's memory part with W-TinyLFU.
    FoyerLfu,
    /// foyer's memory part with S3-FIFO.
    FoyerS3Fifo,
    /// foyer's memory part with SIEVE.
    FoyerSieve,
    /// lru: exact LRU, counted in entries; for uniform sizes only.
    Lru,
}

impl Rival {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Moka,
        Self::QuickCache,
        Self::FoyerLru,
        Self::FoyerLfu,
        Self::FoyerS3Fifo,
        Self::FoyerSieve,
        Self::Lru,
    ];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Moka => "moka",
            Self::QuickCache => "quick_cache",
            Self::FoyerLru => "foyer lru",
            Self::FoyerLfu => "foyer lfu",
            Self::FoyerS3Fifo => "foyer s3",
            Self::FoyerSieve => "foyer sieve",
            Self::Lru => "lru",
        }
    }

    /// Makes one of this capacity, in bytes, with room for about `entries` entries; `None` if it cannot weigh.
    pub fn build(self, capacity: u64, entries: usize, uniform: bool) -> Option<Box<dyn Cache>> {
        Some(match self {
            Self::Moka => Box::new(Moka(
                moka::sync::Cache::builder().max_capacity(capacity).weigher(|_, size| *size).build(),
                0,
            )),
            Self::QuickCache => {
                Box::new(Quick(quick_cache::sync::Cache::with_weighter(entries, capacity, BySize)))
            }
            Self::FoyerLru => Box::new(foyer(capacity, LruConfig::default())),
            Self::FoyerLfu => Box::new(foyer(capacity, LfuConfig::default())),
            Self::FoyerS3Fifo => Box::new(foyer(capacity, S3FifoConfig::default())),
            Self::FoyerSieve => Box::new(foyer(capacity, SieveConfig)),
            Self::Lru => {
                let entries = NonZero::new(usize::try_from(capacity).ok()?)?;
                uniform.then(|| Box::new(PlainLru(lru::LruCache::new(entries))))?
            }
        })
    }
}

struct Moka(moka::sync::Cache<u32, u32>, u64);

impl Cache for Moka {
    fn request(&mut self, request: Request, _: u64) -> Outcome {
        self.1 += 1;
        if self.1.is_multiple_of(64) {
            // It defers evictions; without this it would hold more than its capacity for a while.
            self.0.run_pending_tasks();
        }
        if self.0.get(&request.key).is_some() {
            return Outcome::Hit;
        }
        self.0.insert(request.key, request.size);
        Outcome::Miss
    }
}

#[derive(Clone)]
struct BySize;

impl Weighter<u32, u32> for BySize {
    fn weight(&self, _: &u32, size: &u32) -> u64 {
        (*size).into()
    }
}

struct Quick(quick_cache::sync::Cache<u32, u32, BySize>);

impl Cache for Quick {
    fn request(&mut self, request: Request, _: u64) -> Outcome {
        if self.0.get(&request.key).is_some() {
            return Outcome::Hit;
        }
        self.0.insert(request.key, request.size);
        Outcome::Miss
    }
}

struct Foyer(foyer_memory::Cache<u32, u32>);

fn foyer(capacity: u64, eviction: impl Into<EvictionConfig>) -> Foyer {
    let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
    let builder = CacheBuilder::new(capacity).with_eviction_config(eviction);
    // Its shards have capacities of their own; small caches are not cut.
    let shards = if capacity < 1 << 16 { 1 } else { 8 };
    Foyer(builder.with_shards(shards).with_weighter(|_, size: &u32| *size as usize).build())
}

impl Cache for Foyer {
    fn request(&mut self, request: Request, _: u64) -> Outcome {
        if self.0.get(&request.key).is_some() {
            return Outcome::Hit;
        }
        self.0.insert(request.key, request.size);
        Outcome::Miss
    }
}

struct PlainLru(lru::LruCache<u32, ()>);

impl Cache for PlainLru {
    fn request(&mut self, request: Request, _: u64) -> Outcome {
        if self.0.get(&request.key).is_some() {
            return Outcome::Hit;
        }
        self.0.put(request.key, ());
        Outcome::Miss
    }
}
