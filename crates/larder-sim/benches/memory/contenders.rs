//! The caches, behind one trait.
//!
//! Weights are 1 KiB an entry where a cache weighs, so that all hold the same number of entries. All are inlined, so that
//! none pays for a call that the compiler spares another.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder::clock::{Clock, Instant};
use larder::key::{Key, KindName, Scope};
use larder::stats::{Place, Series, Stats, StatsOptions};
use larder::tier::memory::{Config, Limits, Lookup, Memory, Terms};

/// What an entry weighs.
const WEIGHT: u64 = 1 << 10;
/// How many threads the caches are told to expect.
const THREADS: usize = 2;

/// Something to keep.
pub(crate) trait Value: Clone + Send + Sync + 'static {
    fn of(number: u64) -> Self;
}

impl Value for u64 {
    fn of(number: u64) -> Self {
        number
    }
}

impl Value for Arc<u64> {
    fn of(number: u64) -> Self {
        Arc::new(number)
    }
}

/// A cache with room for a number of entries.
pub(crate) trait Contender<V: Value>: Send + Sync + 'static {
    const NAME: &'static str;
    fn new(entries: usize) -> Self;
    fn get(&self, key: u64) -> Option<V>;
    fn put(&self, key: u64, value: V);
    /// By the cache's own means where it has some that work without an async runtime.
    fn get_or_compute(&self, key: u64, compute: impl FnOnce() -> V) -> V {
        self.get(key).unwrap_or_else(|| {
            let value = compute();
            self.put(key, value.clone());
            value
        })
    }
}

/// The memory tier alone.
pub(crate) struct LarderBare<V>(Memory<u64, V>);

impl<V: Value> Contender<V> for LarderBare<V> {
    const NAME: &'static str = "larder, not counting";

    fn new(entries: usize) -> Self {
        let threads = NonZero::new(THREADS).unwrap_or(NonZero::<usize>::MIN);
        Self(Memory::new(Config::new(Limits::bytes(entries as u64 * WEIGHT), threads, 1)))
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<V> {
        self.0.get(&key, Instant::default).hit()
    }

    #[inline(always)]
    fn put(&self, key: u64, value: V) {
        let terms = Terms { weight: WEIGHT, cost: Duration::from_millis(1), ..Terms::default() };
        drop(self.0.put(key, value, terms, Instant::default));
    }
}

/// The memory tier with all that the engine counts of each request.
pub(crate) struct LarderCounting<V> {
    bare: LarderBare<V>,
    series: Arc<Series>,
    key: Key,
}

impl<V: Value> Contender<V> for LarderCounting<V> {
    const NAME: &'static str = "larder";

    fn new(entries: usize) -> Self {
        let scope = Scope::new("bench").expect("a good name");
        let kind = KindName::new("bench", 1).expect("a good name");
        let key = Key::new(&scope, &kind, "key").expect("a good id");
        let series = Stats::new(StatsOptions::default(), Clock::system()).series(&scope, &kind);
        Self { bare: LarderBare::new(entries), series, key }
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<V> {
        let request = self.series.begin();
        match self.bare.0.get(&key, Instant::default) {
            Lookup::Hit(value) => {
                request.hit(&self.key, Duration::from_millis(1));
                Some(value)
            }
            Lookup::Miss | Lookup::Lapsed(_) => {
                self.series.miss(&self.key, None);
                None
            }
        }
    }

    #[inline(always)]
    fn put(&self, key: u64, value: V) {
        self.series.put(Place::Memory, WEIGHT, WEIGHT, None);
        self.bare.put(key, value);
    }
}

/// quick_cache.
pub(crate) struct Quick<V>(quick_cache::sync::Cache<u64, V>);

impl<V: Value> Contender<V> for Quick<V> {
    const NAME: &'static str = "quick_cache";

    fn new(entries: usize) -> Self {
        Self(quick_cache::sync::Cache::new(entries))
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<V> {
        self.0.get(&key)
    }

    #[inline(always)]
    fn put(&self, key: u64, value: V) {
        self.0.insert(key, value);
    }

    #[inline]
    fn get_or_compute(&self, key: u64, compute: impl FnOnce() -> V) -> V {
        let result: Result<V, std::convert::Infallible> = self.0.get_or_insert_with(&key, || Ok(compute()));
        match result {
            Ok(value) => value,
        }
    }
}

/// moka.
pub(crate) struct Moka<V: Value>(moka::sync::Cache<u64, V>);

impl<V: Value> Contender<V> for Moka<V> {
    const NAME: &'static str = "moka";

    fn new(entries: usize) -> Self {
        Self(moka::sync::Cache::new(entries as u64))
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<V> {
        self.0.get(&key)
    }

    #[inline(always)]
    fn put(&self, key: u64, value: V) {
        self.0.insert(key, value);
    }

    #[inline]
    fn get_or_compute(&self, key: u64, compute: impl FnOnce() -> V) -> V {
        self.0.get_with(key, compute)
    }
}

/// foyer's memory part as it is by default.
pub(crate) struct FoyerLru<V: Value>(foyer_memory::Cache<u64, V>);

impl<V: Value> Contender<V> for FoyerLru<V> {
    const NAME: &'static str = "foyer";

    fn new(entries: usize) -> Self {
        Self(foyer_memory::CacheBuilder::new(entries).build())
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<V> {
        self.0.get(&key).map(|entry| entry.value().clone())
    }

    #[inline(always)]
    fn put(&self, key: u64, value: V) {
        self.0.insert(key, value);
    }
}

/// lru behind a mutex.
pub(crate) struct LruMutex<V>(Mutex<lru::LruCache<u64, V>>);

impl<V: Value> Contender<V> for LruMutex<V> {
    const NAME: &'static str = "lru + Mutex";

    fn new(entries: usize) -> Self {
        Self(Mutex::new(lru::LruCache::new(NonZero::new(entries).unwrap_or(NonZero::<usize>::MIN))))
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    #[inline(always)]
    fn put(&self, key: u64, value: V) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, value);
    }
}
