//! One run of a program: how long it took and how much memory it had.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wait4::Wait4 as _;

/// What one run took.
pub(super) struct Sample {
    wall: Duration,
    peak_bytes: u64,
}

/// Runs a command with its output thrown away. Anything but success is an error that shows what it said.
///
/// Peak memory is that of the largest among the process and those it waited for. It is never less than what
/// this program had when it started the process.
pub(super) fn run(command: &mut Command) -> Result<Sample> {
    let mut said = tempfile::tempfile()?;
    let errors: fs::File = said.try_clone()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let end = child.wait4()?;
    let wall = start.elapsed();
    if !end.status.success() {
        let mut text = Vec::new();
        said.seek(SeekFrom::Start(0))?;
        said.read_to_end(&mut text)?;
        bail!("{:?}: {}\n{}", command.get_program(), end.status, String::from_utf8_lossy(&text).trim());
    }
    Ok(Sample { wall, peak_bytes: end.rusage.maxrss })
}

/// Samples of one kind of run.
#[derive(Default)]
pub(super) struct Series(Vec<Sample>);

impl Series {
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    fn sorted_millis(&self) -> Vec<f64> {
        let mut millis: Vec<f64> = self.0.iter().map(|sample| sample.wall.as_secs_f64() * 1e3).collect();
        millis.sort_by(f64::total_cmp);
        millis
    }

    /// The median in milliseconds.
    pub(super) fn median(&self) -> f64 {
        let millis = self.sorted_millis();
        millis.get(millis.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median, least, and the ratio of the median to `reference`.
    pub(super) fn against(&self, reference: f64) -> String {
        let least = self.sorted_millis().first().copied().unwrap_or(f64::NAN);
        let median = self.median();
        format!("{median:.1}/{least:.1} ({:.2})", median / reference)
    }

    pub(super) fn peak_megabytes(&self) -> f64 {
        self.0.iter().map(|sample| sample.peak_bytes).max().unwrap_or(0) as f64 / 1e6
    }
}
