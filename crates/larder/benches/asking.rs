//! What a memory hit costs through the engine, and how much of that is statistics.
//!
//! Prints nanoseconds for a hit, least and median of rounds that take turns, on one thread and on two: the memory
//! tier alone, then the engine's `get` and `get_or_compute` at each level of statistics, and the share that the
//! statistics take. Run with `cargo bench -p larder --bench asking`.

use std::hint::black_box;
use std::num::NonZero;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::engine::{Kind, KindOptions, Larder, LarderOptions};
use larder::key::{Key, Scope};
use larder::stats::{Level, Stats, StatsOptions};
use larder::tier::memory::{Config, Limits, Lookup, Memory, Terms};

const HITS: usize = 2_000_000;
const ROUNDS: usize = 11;
const KEYS: usize = 1 << 12;

type Work = Box<dyn Fn(&[Key]) + Send + Sync>;

/// The outcome of a question that needs no waiting.
fn at_once<T>(question: impl Future<Output = T>) -> T {
    match pin!(question).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("a memory hit does not wait"),
    }
}

fn each(keys: &[Key], mut work: impl FnMut(&Key)) {
    for n in 0..HITS {
        work(black_box(&keys[n.wrapping_mul(0x9E37_79B9) % KEYS]));
    }
}

fn engine(level: Level, keys: &[Key]) -> Kind<u64> {
    let clock = Clock::system();
    let stats = Stats::new(StatsOptions { level, ..StatsOptions::default() }, clock.clone());
    let larder = Larder::new(LarderOptions::new(clock, stats));
    let kind: Kind<u64> = larder
        .kind(&Scope::new("bench").expect("well formed"), "asking", 1, KindOptions::default())
        .expect("well formed");
    for key in keys {
        at_once(kind.put(key, 7, Duration::from_millis(3)));
    }
    kind
}

fn works(keys: &[Key]) -> Vec<(String, Work)> {
    let threads = NonZero::new(2).expect("two is not zero");
    let memory: Memory<Key, Arc<u64>> = Memory::new(Config::new(Limits::bytes(64 << 20), threads, 0));
    for key in keys {
        drop(memory.put(
            key.clone(),
            Arc::new(7),
            Terms { weight: 300, ..Terms::default() },
            Default::default,
        ));
    }
    let mut works: Vec<(String, Work)> = vec![(
        "memory tier alone".into(),
        Box::new(move |keys| {
            each(keys, |key| {
                let Lookup::Hit(value) = memory.get(key, Default::default) else {
                    unreachable!("it is there")
                };
                black_box(value);
            });
        }),
    )];
    for level in [Level::Off, Level::Counters, Level::Full] {
        let kind = engine(level, keys);
        let asking = kind.clone();
        works.push((
            format!("get, statistics {level}"),
            Box::new(move |keys| each(keys, |key| drop(black_box(at_once(asking.get(key)))))),
        ));
        works.push((
            format!("get_or_compute, statistics {level}"),
            Box::new(move |keys| {
                each(keys, |key| {
                    let compute = || async { Ok::<_, std::io::Error>(7.into()) };
                    drop(black_box(at_once(kind.get_or_compute(key, compute))));
                });
            }),
        ));
    }
    works
}

/// Nanoseconds for each hit of one thread.
fn time(work: &Work, threads: usize, keys: &[Key]) -> f64 {
    let ready = Barrier::new(threads);
    let longest = std::thread::scope(|scope| {
        let run = || {
            ready.wait();
            let began = Instant::now();
            work(keys);
            began.elapsed()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a bench thread ran")).max()
    });
    longest.unwrap_or_default().as_nanos() as f64 / HITS as f64
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let key = |n| Key::parse(&format!("bench/asking@1/{n}")).expect("the key is well formed");
    let keys: Vec<Key> = (0..KEYS).map(key).collect();
    let works = works(&keys);
    for threads in [1, 2] {
        println!("{threads} thread(s), ns a hit{:>27}{:>8}", "min", "median");
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); works.len()];
        for _ in 0..ROUNDS {
            for (times, (_, work)) in times.iter_mut().zip(&works) {
                times.push(time(work, threads, &keys));
            }
        }
        for (times, (name, _)) in times.iter_mut().zip(&works) {
            times.sort_unstable_by(f64::total_cmp);
            println!("  {name:<36}{:>8.1}{:>8.1}", times[0], times[ROUNDS / 2]);
        }
    }
}
