//! An engine as a configuration describes it, and its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use super::invalidate::Met;
use super::{KindLimits, Larder, LarderOptions};
use crate::clock::Clock;
use crate::config::{Amount, Machine, Mode, Settings, SharedSettings};
use crate::entry::compress::Level;
use crate::key::{KindName, Scope};
use crate::stats::{self, Place, Report, Snapshot, Stats, StatsOptions, StoredError, TierUsage};
use crate::tier::disk::{Collected, Disk, DiskOptions, Noted, Reclaimed, ScopeLimits};
use crate::tier::memory::{Config, Limits};
use crate::tier::stack::{FarOptions, Waits};
use crate::tier::{Brief, Tier, TierError};

/// Under which names the disk tier keeps statistics.
const STATS: (&str, &str) = ("stats", "all");

/// How much may wait in notes before all of it is folded into one.
const MAX_NOTES_BYTES: u64 = 64 << 10;

/// How many entries in memory are looked at each second, whether their time is over.
const PURGED: usize = 10_000;

/// How often what was counted is filed: the history's finest resolution.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody invalidated anything in the shared tier.
const FOLLOW: Duration = Duration::from_millis(250);
/// After how many of those it is counted what the disk tier holds.
const TICKS_A_LOOK: u32 = 10;
/// After how many of those it is written to the disk tier, and that is kept within its limits.
const TICKS_A_SAVE: u32 = 60;

/// The process that an engine works for.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// Who computes here, in words for people; stands in each record.
    pub producer: &'a str,
    /// Where brief waits for the file system are done.
    pub brief: Brief,
}

impl<'a> From<&'a str> for Process<'a> {
    /// One that may serve others meanwhile.
    fn from(producer: &'a str) -> Self {
        Self { producer, brief: Brief::Aside }
    }
}

/// An engine and the disk tier in it.
#[derive(Debug)]
pub struct Opened {
    /// The engine.
    pub larder: Larder,
    /// Its disk tier, for what is no question: blobs, collection, checks. `None` where it is switched off or can't
    /// be opened.
    pub disk: Option<Disk>,
    /// Why there is no disk tier although there should be one. The engine then does without.
    pub problem: Option<TierError>,
    pub(super) settings: Arc<Settings>,
    pub(super) scope_limits: Arc<Mutex<BTreeMap<Scope, ScopeLimits>>>,
}

impl Larder {
    /// Makes an engine as `settings` describe it, for a process that `process` describes; of one that is only a name,
    /// it is that of who computes here.
    ///
    /// Blocks for as long as opening the disk tier takes, about a millisecond. A disk tier that can't be opened is
    /// no error: it is told, and the engine keeps answers in memory only.
    pub fn open<'a>(
        settings: &Settings,
        machine: &Machine,
        clock: Clock,
        process: impl Into<Process<'a>>,
    ) -> Opened {
        Self::open_sharing(settings, machine, clock, process, None)
    }

    /// The same with the tier that a team shares. Nothing of that is touched before it is asked.
    pub fn open_sharing<'a>(
        settings: &Settings,
        machine: &Machine,
        clock: Clock,
        process: impl Into<Process<'a>>,
        shared: Option<Arc<dyn Tier>>,
    ) -> Opened {
        let Process { producer, brief } = process.into();
        let stats_options = StatsOptions {
            level: settings.stats.level,
            history: settings.stats.history,
            ..StatsOptions::default()
        };
        let memory = settings.memory.enabled.then(|| memory(settings, machine, &clock));
        let stats = Stats::new(stats_options, clock.clone());
        let mut options = LarderOptions::with_memory(clock.clone(), stats, memory);
        options.mode = settings.mode;
        options.producer = producer.into();
        options.brief = brief;
        options.level = Level::new(settings.disk.compression.into()).unwrap_or(Level::FAST);
        for (name, kind) in &settings.kinds {
            let memory_bytes = kind.budget.map(|budget| budget.0);
            options.kinds.insert(name.clone(), KindLimits { memory_bytes, max_age: kind.max_age });
        }
        let quotas = settings.scopes.iter().filter_map(|(name, scope)| Some((name.clone(), scope.budget?.0)));
        options.scopes.extend(quotas);

        let level = options.level;
        let wanted = settings.disk.enabled && settings.mode != Mode::Off;
        let max_entry_bytes = match settings.disk.budget {
            // It would leave as soon as it came.
            Amount::Bytes(budget) => budget.0,
            Amount::Share(_) => u64::MAX,
        };
        let disk_options = DiskOptions { clock, level, brief, max_entry_bytes, ..DiskOptions::default() };
        let opened = wanted.then(|| Disk::open(&settings.dir, disk_options));
        let (disk, problem) = match opened {
            None => (None, None),
            Some(Ok(disk)) => (Some(disk), None),
            Some(Err(error)) => (None, Some(error)),
        };
        options.tiers.extend(disk.iter().map(|disk| Arc::new(disk.clone()) as Arc<dyn Tier>));
        let SharedSettings { reads, writes, patience, waits, bandwidth, .. } = settings.shared;
        let bytes_per_second = bandwidth.and_then(|bandwidth| NonZeroU64::new(bandwidth.0));
        let far = FarOptions { reads, writes, patience, waits, bytes_per_second };
        options.shared = shared.filter(|_| settings.mode != Mode::Off).map(|tier| (tier, far));
        Opened {
            larder: Self::new(options),
            disk,
            problem,
            settings: Arc::new(settings.clone()),
            scope_limits: Arc::default(),
        }
    }
}

fn memory(settings: &Settings, machine: &Machine, clock: &Clock) -> Config {
    let limits = Limits { bytes: settings.memory.budget_on(machine).0, entries: settings.memory.entries };
    let seed = clock.wall().as_millis() ^ u64::from(std::process::id()) << 32;
    Config { policy: settings.memory.policy, ..Config::new(limits, machine.processors, seed) }
}

impl Opened {
    /// Writes everything that is on its way, and what was counted, so that the next process goes on from there. A
    /// process may end then without dropping anything.
    pub async fn close(&self) {
        self.larder.close().await;
        self.save().await;
        if let Some(disk) = &self.disk {
            disk.put_pins_away();
        }
    }

    /// Collects the disk tier on a blocking thread, if that is due. That it fails is no failure of whoever asks.
    async fn collect_behind(&self) {
        match self.collect_aside_if_due(true).await {
            Ok(Some(Collected::Done(Reclaimed { tight: true, evicted, .. }))) => {
                tracing::warn!(
                    evicted,
                    "entries left the disk tier: less of the disk is free than disk.min_free"
                );
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the disk tier is not collected");
            }
        }
    }

    /// Counts what the disk tier holds, for exporters.
    async fn look_at_disk(&self) {
        let Some(disk) = self.disk.clone() else { return };
        if let Ok(Ok(usage)) = tokio::task::spawn_blocking(move || disk_usage(&disk)).await {
            self.larder.stats().probe(Place::Disk, move || Some(usage.clone()));
        }
    }

    /// Writes what was counted to the disk tier.
    async fn save(&self) {
        let Some(disk) = self.disk.clone() else { return };
        let stats = self.larder.stats().clone();
        // Failing to write statistics fails nobody.
        let saved = self.larder.shared.brief.run(move || save(&stats, &disk)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(error = &error as &dyn std::error::Error, "statistics are not saved");
        }
    }

    /// Forgets four times a second what other processes invalidated in the tiers, files what was counted into the history
    /// and hands it to exporters each second, counts what the disk tier holds
    /// each ten, and each minute writes to it what was counted and keeps it within its limits, for as long as it is
    /// polled. Never ends: a long-lived user
    /// spawns it, or selects between it and its work. Without it, everything since the last report counts for the
    /// time of the next report or of [`close`](Self::close), a process that is killed loses what it counted, and the
    /// disk tier grows until somebody calls [`collect_if_due`](Self::collect_if_due).
    pub async fn attend(&self) -> Infallible {
        let (never, _) = tokio::join!(self.attend_at_intervals(), self.larder.listen_afar());
        never
    }

    async fn attend_at_intervals(&self) -> Infallible {
        let mut seconds = tokio::time::interval(TICK);
        // A process that slept has nothing to catch up on.
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ticks = 0;
        // Whoever asks for the first time follows before that.
        let mut follows = tokio::time::interval_at(Instant::now() + FOLLOW, FOLLOW);
        follows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                _ = follows.tick() => {
                    self.larder.catch_up_nearby(Met::Before).await;
                    if self.larder.shares() {
                        self.larder.catch_up_afar(Waits::Nobody).await;
                    }
                    continue;
                }
            }
            // Not at once: most processes end before the first second does, and nobody sees their gauges.
            if ticks % TICKS_A_LOOK == 1 {
                self.look_at_disk().await;
            }
            self.larder.stats().tick();
            self.larder.drain_behind();
            self.larder.purge(PURGED);
            ticks += 1;
            if ticks % TICKS_A_SAVE == 0 {
                self.larder.save_stat_tables().await;
                self.save().await;
                self.collect_behind().await;
            }
        }
    }

    /// What was counted by all processes that used the disk tier, this one included. Blocks.
    pub fn report(&self) -> Result<Report, TierError> {
        let stats = self.larder.stats();
        if let Some(disk) = &self.disk {
            let Noted { kept, notes } = disk.meta_with_notes(STATS.0, STATS.1)?;
            match merged(kept.as_deref(), &notes, stats) {
                Ok(snapshot) => stats.loaded(snapshot),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "no statistics"),
            }
            let usage = disk_usage(disk)?;
            stats.probe(Place::Disk, move || Some(usage.clone()));
        }
        Ok(stats.report())
    }
}

/// Adds what was counted since the last time to what the disk tier has: as a note, which takes far less time than
/// writing all of it anew, and all of it once there are many notes.
pub(super) fn save(stats: &Stats, disk: &Disk) -> Result<(), TierError> {
    if disk.read_only() {
        return Ok(());
    }
    let Some(unsaved) = stats.take_unsaved() else { return Ok(()) };
    match disk.add_note(STATS.0, STATS.1, &stats::encode(&unsaved)) {
        Ok(waiting) => {
            stats.added();
            if waiting > MAX_NOTES_BYTES { fold(stats, disk) } else { Ok(()) }
        }
        Err(error) => {
            stats.give_back(&unsaved);
            Err(error)
        }
    }
}

fn fold(stats: &Stats, disk: &Disk) -> Result<(), TierError> {
    disk.fold_notes(STATS.0, STATS.1, |stored, notes| match merged(stored.as_deref(), &notes, stats) {
        Ok(all) => Some(stats::encode(&all)),
        // A newer version wrote it, and counts for itself.
        Err(_) => stored,
    })
}

/// What is stored together with the notes beside it. What of it is damaged is left out; what is stored in another
/// format is an error.
fn merged(stored: Option<&[u8]>, notes: &[Vec<u8>], stats: &Stats) -> Result<Snapshot, StoredError> {
    let mut noted = Snapshot::default();
    notes.iter().filter_map(|note| stats::decode(note).ok()).for_each(|note| noted.merge(&note));
    stats::merge_into(stored, &noted, stats.options(), stats.clock().wall())
}

fn disk_usage(disk: &Disk) -> Result<TierUsage, TierError> {
    let usage = disk.usage()?;
    let named = |((scope, kind), (entries, bytes)): (&(String, String), &(u64, u64))| {
        Some((Scope::new(scope).ok()?, KindName::parse(kind).ok()?, *bytes, *entries))
    };
    Ok(TierUsage {
        bytes: usage.entry_bytes + usage.blob_bytes,
        entries: usage.entries,
        budget_bytes: None,
        series: usage.kinds.iter().filter_map(named).collect(),
    })
}
