//! What counting costs a memory hit, for each level, on one thread and on two.
//!
//! Prints nanoseconds for a hit: the least and the median over rounds that take turns, less an empty loop. Next to
//! it two counters that all threads share, which is what the stripes replace, and a look into a hash table, for
//! scale. Then what collecting, reporting and storing cost, which is done once a second and once a run. Run with `cargo bench -p larder --bench stats`.

#![expect(clippy::print_stdout, reason = "a bench prints")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::key::{Digest, Key, Scope};
use larder::stats::{Computed, Level, Place, Series, Stats, StatsOptions, encode, merge_into};

const HITS: u64 = 4_000_000;
const ROUNDS: usize = 15;
const KEYS: usize = 1 << 10;

/// Something that is done for each hit.
type Work = Box<dyn Fn(&[Key]) + Send + Sync>;

fn each_hit(keys: &[Key], mut work: impl FnMut(&Key)) {
    for n in 0..HITS as usize {
        work(black_box(&keys[n % KEYS]));
    }
}

fn hits_at(level: Level, series: Arc<Series>) -> (String, Work) {
    let work = move |keys: &[Key]| {
        each_hit(keys, |key| {
            let request = black_box(&*series).begin();
            request.hit(key, black_box(Duration::from_millis(3)));
        });
    };
    (format!("level {level}"), Box::new(work))
}

/// Nanoseconds for each hit of one thread.
fn time(work: &Work, threads: usize, keys: &[Key]) -> f64 {
    let ready = Barrier::new(threads);
    let times = std::thread::scope(|scope| {
        let spawn = |_| {
            scope.spawn(|| {
                ready.wait();
                let began = Instant::now();
                work(keys);
                began.elapsed()
            })
        };
        let threads: Vec<_> = (0..threads).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().expect("a bench thread ran")).max()
    });
    times.unwrap_or_default().as_nanos() as f64 / HITS as f64
}

/// Prints what everything off the hit path takes, with so many series in use.
fn print_rest(count: usize, keys: &[Key]) {
    let stats = Stats::new(StatsOptions::default(), Clock::system());
    let kind = keys[0].kind();
    let scopes: Vec<Scope> =
        (0..count).map(|n| Scope::new(&format!("scope-{n}")).expect("the name is well formed")).collect();
    let use_all = || {
        for (scope, key) in scopes.iter().zip(keys.iter().cycle()) {
            let series = stats.series(scope, kind);
            for n in 1..20 {
                let took = Some(Duration::from_micros(n * n));
                series.miss(key, took);
                series.computed(Computed::Finished, Duration::from_millis(n));
                series.put(Place::Disk, n * 1_000, n * 300, took);
                series.hit(Place::Disk, key, Duration::from_millis(n), took);
            }
        }
    };
    let micros = |work: &dyn Fn()| {
        let times = (0..ROUNDS).map(|_| {
            use_all();
            let began = Instant::now();
            work();
            began.elapsed()
        });
        times.min().unwrap_or_default().as_nanos() as f64 / 1e3
    };
    let (tick, report) = (micros(&|| stats.tick()), micros(&|| drop(black_box(stats.report()))));
    let all = stats.take_unsaved().unwrap_or_default();
    let stored = encode(&all);
    let one = micros(&|| {
        let merged = merge_into(Some(&stored), &all, stats.options(), stats.clock().wall());
        drop(black_box(merged.map(|merged| encode(&merged))));
    });
    println!(
        "{count} series: tick {tick:.0} µs, report {report:.0} µs, reading, merging and writing {one:.0} µs, \
         stored {} bytes",
        stored.len()
    );
}

fn main() {
    let keys: Vec<Key> = (0..KEYS)
        .map(|n| Key::parse(&format!("bench/stats@1/{n}")).expect("the key is well formed"))
        .collect();
    let table: HashMap<Digest, u64, foldhash::fast::RandomState> =
        keys.iter().map(|key| (key.digest(), key.digest().table_hash())).collect();
    let shared = [const { AtomicU64::new(0) }; 2];

    let mut works: Vec<(String, Work)> = vec![("empty loop".into(), Box::new(|keys| each_hit(keys, |_| ())))];
    for level in Level::ALL {
        let stats = Stats::new(StatsOptions { level, ..StatsOptions::default() }, Clock::system());
        works.push(hits_at(level, stats.series(keys[0].scope(), keys[0].kind())));
    }
    works.push((
        "two shared atomics".into(),
        Box::new(move |keys| {
            each_hit(keys, |_| {
                shared[0].fetch_add(1, Ordering::Relaxed);
                shared[1].fetch_add(black_box(3_000_000), Ordering::Relaxed);
            });
        }),
    ));
    works.push((
        "a look into a table".into(),
        Box::new(move |keys| each_hit(keys, |key| _ = black_box(table.get(&key.digest())))),
    ));

    for count in [1, 4, 256] {
        print_rest(count, &keys);
    }
    for threads in [1, 2] {
        let mut times = vec![Vec::new(); works.len()];
        for _ in 0..ROUNDS {
            for (times, (_, work)) in times.iter_mut().zip(&works) {
                times.push(time(work, threads, &keys));
            }
        }
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        let (least, median) = (times[0][0], times[0][ROUNDS / 2]);
        println!(
            "threads {threads}: ns a hit, least / median, less an empty loop of {least:.2} / {median:.2}"
        );
        for (times, (name, _)) in times.iter().zip(&works).skip(1) {
            println!("  {name:<20} {:6.2} / {:6.2}", times[0] - least, times[ROUNDS / 2] - median);
        }
    }
}
