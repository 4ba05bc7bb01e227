//! Rounds, clocks and tables.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use larder_sim::report::Table;
use rustix::time::{ClockId, clock_gettime};

/// A contender, ready to run once more.
pub(crate) struct Runner {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut(usize) -> Sample>,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) operations: u64,
    pub(crate) wall: Duration,
    /// CPU time of all threads.
    pub(crate) cpu: Duration,
}

impl Sample {
    fn per_second(&self) -> f64 {
        self.operations as f64 / self.wall.as_secs_f64()
    }
    fn cpu_nanos(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.operations as f64
    }
}

/// All runs of a contender, by round.
pub(crate) struct Series {
    name: &'static str,
    samples: Vec<Sample>,
}

/// Lets all take turns; who begins changes from round to round. A first round warms up and is not counted.
pub(crate) fn measure(mut runners: Vec<Runner>, rounds: usize) -> Vec<Series> {
    let mut series: Vec<Series> =
        runners.iter().map(|runner| Series { name: runner.name, samples: Vec::new() }).collect();
    for round in 0..=rounds {
        for turn in 0..runners.len() {
            let at = (turn + round) % runners.len();
            let sample = (runners[at].run)(round);
            if round > 0 {
                series[at].samples.push(sample);
            }
        }
    }
    series
}

/// A table of medians; ratios are to the first contender, within each round.
pub(crate) fn table(series: &[Series]) -> String {
    let first = series[0].name;
    let (throughput, cpu) = (format!("throughput / {first}"), format!("CPU / {first}"));
    let mut table = Table::new(["", "M/s", "CPU ns", &throughput, &cpu]);
    for one in series {
        let median_of = |of: &dyn Fn(&Sample, &Sample) -> f64| {
            median(
                one.samples.iter().zip(&series[0].samples).map(|(sample, base)| of(sample, base)).collect(),
            )
        };
        table.row(vec![
            one.name.to_owned(),
            format!("{:.1}", median_of(&|sample, _| sample.per_second() / 1e6)),
            format!("{:.1}", median_of(&|sample, _| sample.cpu_nanos())),
            format!("{:.2}", median_of(&|sample, base| sample.per_second() / base.per_second())),
            format!("{:.2}", median_of(&|sample, base| sample.cpu_nanos() / base.cpu_nanos())),
        ]);
    }
    table.text()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Runs `work` on threads that start together; it is told which thread it is.
pub(crate) fn together(threads: usize, operations: u64, work: impl Fn(usize) + Sync) -> Sample {
    let start = Barrier::new(threads);
    let one = |thread: usize| {
        start.wait();
        let (wall, cpu) = (Instant::now(), cpu_time());
        work(thread);
        (wall, Instant::now(), cpu_time() - cpu)
    };
    let times: Vec<(Instant, Instant, Duration)> = std::thread::scope(|scope| {
        let one = &one;
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        let mut times = vec![one(0)];
        times.extend(others.into_iter().map(|other| other.join().expect("work does not panic")));
        times
    });
    let began = times.iter().map(|times| times.0).min().expect("there is a thread");
    let ended = times.iter().map(|times| times.1).max().expect("there is a thread");
    Sample { operations, wall: ended - began, cpu: times.iter().map(|times| times.2).sum() }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
