//! `cargo bench -p larder-sim --bench memory`: larder's memory tier against other in-memory caches.
//!
//! All contenders take turns within a round, and each round is compared with itself, so that what else the
//! machine does falls on all of them. Next to throughput stands the CPU time of an operation, which does not
//! depend on who else wanted the CPU.
//!
//! Arguments: parts of workload names to run, `--rounds N`.

mod contenders;
mod harness;
mod workloads;

use std::io::{Write as _, stdout};
use std::sync::Arc;

use contenders::{Contender, FoyerLru, LarderBare, LarderCounting, LruMutex, Moka, Quick, Value};
use harness::{Runner, Series, measure};
use workloads::{Workload, all};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let rounds = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = rounds.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(11);
    let only: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<u32>().is_err()).collect();
    let only: Vec<&&String> = only.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut out = stdout().lock();
    for workload in all() {
        if !only.is_empty() && !only.iter().any(|part| workload.name.contains(part.as_str())) {
            continue;
        }
        for threads in [1, 2] {
            let series = match workload.value {
                workloads::ValueKind::Number => series::<u64>(&workload, threads, rounds),
                workloads::ValueKind::Shared => series::<Arc<u64>>(&workload, threads, rounds),
            };
            writeln!(out, "\n{}, {threads} thread(s)\n\n{}", workload.describe(), harness::table(&series))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Runs all contenders in turns.
fn series<V: Value>(workload: &Workload, threads: usize, rounds: usize) -> Vec<Series> {
    let runners: Vec<Runner> = vec![
        runner::<V, Quick<V>>(workload, threads),
        runner::<V, LarderCounting<V>>(workload, threads),
        runner::<V, LarderBare<V>>(workload, threads),
        runner::<V, LruMutex<V>>(workload, threads),
        runner::<V, FoyerLru<V>>(workload, threads),
        runner::<V, Moka<V>>(workload, threads),
    ];
    measure(runners, rounds)
}

fn runner<V: Value, C: Contender<V>>(workload: &Workload, threads: usize) -> Runner {
    let cache = Arc::new(C::new(workload.capacity));
    workload.fill::<V>(&*cache);
    let workload = workload.clone();
    Runner { name: C::NAME, run: Box::new(move |round| workload.run::<V, C>(&cache, threads, round)) }
}
