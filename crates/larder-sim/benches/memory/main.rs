//! `cargo bench -p larder-sim --bench memory`: larder's memory tier against other in-memory caches.
//!
//! All contenders take turns within a round, and each round is compared with itself, so that what else the
//! machine does falls on all of them. Next to throughput stands the CPU time of an operation, which does not
//! depend on who else wanted the CPU.
//!
//! Arguments: parts of workload names to run, `--rounds N`, `--contenders larder,quick` (parts of their names).

mod contenders;
mod harness;
mod workloads;

use std::io::{Write as _, stdout};
use std::sync::Arc;

use contenders::{Contender, FoyerLru, LarderBare, LarderCounting, LruMutex, Moka, Quick, Value};
use harness::{Runner, Series, measure};
use workloads::{Workload, all};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut rounds, mut contenders, mut only) = (11, Vec::new(), Vec::new());
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--bench" => {}
            "--rounds" => rounds = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(rounds),
            "--contenders" => {
                contenders
                    .extend(arguments.next().iter().flat_map(|names| names.split(',')).map(str::to_owned));
            }
            _ => only.push(argument),
        }
    }
    let mut out = stdout().lock();
    for workload in all() {
        if !only.is_empty() && !only.iter().any(|part| workload.name.contains(part.as_str())) {
            continue;
        }
        for threads in [1, 2] {
            let series = match workload.value {
                workloads::ValueKind::Number => series::<u64>(&workload, threads, rounds, &contenders),
                workloads::ValueKind::Shared => series::<Arc<u64>>(&workload, threads, rounds, &contenders),
            };
            writeln!(out, "\n{}, {threads} thread(s)\n\n{}", workload.describe(), harness::table(&series))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Runs all contenders of these names in turns, or all.
fn series<V: Value>(workload: &Workload, threads: usize, rounds: usize, names: &[String]) -> Vec<Series> {
    let mut runners: Vec<Runner> = Vec::new();
    add::<V, Quick<V>>(&mut runners, workload, threads, names);
    add::<V, LarderCounting<V>>(&mut runners, workload, threads, names);
    add::<V, LarderBare<V>>(&mut runners, workload, threads, names);
    add::<V, LruMutex<V>>(&mut runners, workload, threads, names);
    add::<V, FoyerLru<V>>(&mut runners, workload, threads, names);
    add::<V, Moka<V>>(&mut runners, workload, threads, names);
    measure(runners, rounds)
}

fn add<V: Value, C: Contender<V>>(
    runners: &mut Vec<Runner>,
    workload: &Workload,
    threads: usize,
    names: &[String],
) {
    if !names.is_empty() && !names.iter().any(|part| C::NAME.contains(part.as_str())) {
        return;
    }
    let cache = Arc::new(C::new(workload.capacity));
    workload.fill::<V>(&*cache);
    let workload = workload.clone();
    runners.push(Runner {
        name: C::NAME,
        run: Box::new(move |round| workload.run::<V, C>(&cache, threads, round)),
    });
}
