//! `larder cache stats`: what is kept, and what it was good for.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use larder::clock::Timestamp;
use larder::config::ByteSize;
use larder::stats::{Figures, Place, Point, Report, Resolution};
use larder::tier::disk::Usage;
use serde::Serialize;

use crate::arguments::Global;
use crate::console::{Console, NAME, ago, brief, counted, grouped, rounded, stdout, styled};
use crate::failure::{Code, Failure};
use crate::store::{self, Store, Tiers};

/// Show what is kept and what it saved, by all processes that used this cache
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder cache stats
  larder cache stats --hot 10
  larder cache stats --history day")]
pub(crate) struct Arguments {
    /// Also the keys that are asked for most
    #[arg(long, value_name = "NUMBER")]
    hot: Option<usize>,
    /// Also what happened when
    #[arg(long, value_name = "STEP")]
    history: Option<Step>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Step {
    Second,
    Minute,
    Hour,
    Day,
}

impl From<Step> for Resolution {
    fn from(step: Step) -> Self {
        match step {
            Step::Second => Self::Second,
            Step::Minute => Self::Minute,
            Step::Hour => Self::Hour,
            Step::Day => Self::Day,
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    directory: String,
    disk: DiskShown,
    report: &'a Report,
}

#[derive(Serialize)]
struct DiskShown {
    entries: u64,
    entry_bytes: u64,
    blobs: u64,
    blob_bytes: u64,
    index_bytes: u64,
    quarantined: u64,
    quarantined_bytes: u64,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    let store = store::open(global, Tiers::Local)?;
    let usage = store.disk.usage().map_err(store::failed)?;
    let report = store.opened.report().map_err(store::failed)?;
    if console.json {
        console.json(&Shown {
            directory: store.config.settings().dir.display().to_string(),
            disk: DiskShown {
                entries: usage.entries,
                entry_bytes: usage.entry_bytes,
                blobs: usage.blobs,
                blob_bytes: usage.blob_bytes,
                index_bytes: usage.index_bytes,
                quarantined: usage.quarantine.0,
                quarantined_bytes: usage.quarantine.1,
            },
            report: &report,
        })?;
        return Ok(Code::Done);
    }
    let text = text(arguments, &store, &usage, &report).expect("writing into a String does not fail");
    stdout().write_all(text.as_bytes())?;
    Ok(Code::Done)
}

fn text(arguments: &Arguments, store: &Store, usage: &Usage, report: &Report) -> Result<String, fmt::Error> {
    let mut text = String::new();
    kept(&mut text, store, usage)?;
    let Some(total) = report.total.as_ref().filter(|total| total.requests > 0) else {
        writeln!(text, "{}  nothing was asked yet", label("asked"))?;
        return Ok(text);
    };
    asked(&mut text, total, report)?;
    writeln!(text)?;
    kinds(&mut text, report)?;
    if let Some(limit) = arguments.hot {
        writeln!(text, "\n{}  {}", styled(NAME, format!("{:>10}", "requests")), styled(NAME, "hot key"))?;
        for key in report.hot_keys.keys.iter().take(limit) {
            let error = if key.error > 0 {
                format!(" (at most {} too many)", grouped(key.error))
            } else {
                String::new()
            };
            writeln!(text, "{:>10}  {}{error}", grouped(key.requests), key.key)?;
        }
    }
    if let Some(step) = arguments.history {
        writeln!(text)?;
        let points = report.history.get(&Resolution::from(step)).map(Vec::as_slice).unwrap_or_default();
        history(&mut text, points, report.at)?;
    }
    Ok(text)
}

fn label(text: &str) -> String {
    styled(NAME, format!("{text:9}"))
}

fn kept(text: &mut String, store: &Store, usage: &Usage) -> fmt::Result {
    let settings = store.config.settings();
    let entries = counted(usage.entries, "entry", "entries");
    let size = rounded(ByteSize(usage.entry_bytes + usage.blob_bytes));
    writeln!(text, "{}  {entries}, {size} of {}", label("kept"), settings.disk.budget)?;
    writeln!(text, "{}  {}", label("in"), settings.dir.display())?;
    if let Some(url) = settings.shared.shown_url() {
        writeln!(text, "{}  {url}", label("shared"))?;
    }
    if usage.quarantine.0 > 0 {
        let files = counted(usage.quarantine.0, "file", "files");
        writeln!(text, "{}  {files}, {}", label("set aside"), rounded(ByteSize(usage.quarantine.1)))?;
    }
    Ok(())
}

fn asked(text: &mut String, total: &Figures, report: &Report) -> fmt::Result {
    let since =
        report.since.map(|since| format!(", the first {}", ago(report.at.since(since)))).unwrap_or_default();
    writeln!(text, "{}  {}{since}", label("asked"), counted(total.requests, "time", "times"))?;
    let places = [Place::Memory, Place::Disk, Place::Shared].into_iter().filter_map(|place| {
        let tier = total.tiers.get(&place)?;
        Some(format!("{} from {place}", grouped(tier.hits + tier.stale)))
    });
    let places: Vec<String> = places.collect();
    let rate = total.hit_rate.map(percent).unwrap_or_default();
    writeln!(
        text,
        "{}  {} ({rate}): {}",
        label("hits"),
        grouped(total.hits + total.stale),
        places.join(", ")
    )?;
    if let Some(shared) = total.tiers.get(&Place::Shared).filter(|shared| shared.puts + shared.failures > 0) {
        let failed = if shared.failures > 0 {
            format!(", {} failed", grouped(shared.failures))
        } else {
            String::new()
        };
        writeln!(text, "{}  {}{failed}", label("sent"), counted(shared.puts, "entry", "entries"))?;
    }
    if let Some(saved) = total.saved_seconds {
        let computing = seconds(total.computing_seconds);
        let asking = seconds(total.asking_seconds);
        writeln!(
            text,
            "{}  {}, computed for {computing}, asked for {asking}",
            label("saved"),
            signed(saved)
        )?;
    }
    Ok(())
}

fn kinds(text: &mut String, report: &Report) -> fmt::Result {
    let head = format!(
        "{:24}  {:>9}  {:>5}  {:>12}  {:>9}  {:>9}",
        "kind", "requests", "hits", "saved", "entries", "size"
    );
    writeln!(text, "{}", styled(NAME, head))?;
    for (kind, figures) in &report.kinds {
        let disk = figures.tiers.get(&Place::Disk);
        let number = |number: Option<u64>| number.map_or("-".to_owned(), grouped);
        writeln!(
            text,
            "{kind:24}  {:>9}  {:>5}  {:>12}  {:>9}  {:>9}",
            grouped(figures.requests),
            figures.hit_rate.map_or("-".to_owned(), percent),
            figures.saved_seconds.map_or("-".to_owned(), signed),
            number(disk.and_then(|disk| disk.entries)),
            disk.and_then(|disk| disk.bytes).map_or("-".to_owned(), |bytes| rounded(ByteSize(bytes))),
        )?;
    }
    Ok(())
}

fn history(text: &mut String, points: &[Point], now: Timestamp) -> fmt::Result {
    let head =
        format!("{:>12}  {:>9}  {:>5}  {:>12}  {:>9}", "began", "requests", "hits", "saved", "computed");
    writeln!(text, "{}", styled(NAME, head))?;
    for point in points {
        writeln!(
            text,
            "{:>12}  {:>9}  {:>5}  {:>12}  {:>9}",
            ago(now.since(point.start)),
            grouped(point.requests),
            point.hit_rate.map_or("-".to_owned(), percent),
            point.saved_seconds.map_or("-".to_owned(), signed),
            grouped(point.computed),
        )?;
    }
    Ok(())
}

fn percent(share: f64) -> String {
    // Nothing is rounded up to all.
    format!("{:.0}%", (share * 100.0).floor())
}

fn seconds(seconds: f64) -> String {
    brief(Duration::from_secs_f64(seconds.max(0.0)))
}

fn signed(value: f64) -> String {
    if value < 0.0 { format!("-{}", seconds(-value)) } else { seconds(value) }
}
