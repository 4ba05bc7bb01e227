//! The engine with its disk tier, as the configuration describes them.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use larder::clock::{Clock, Timestamp};
use larder::config::{ByteSize, Config, Machine, Mode, Settings};
use larder::engine::{Larder, Opened};
use larder::policy::PolicyName;
use larder::tier::TierError;
use larder::tier::disk::{Collected, Disk, Eviction, Limits, Reclaimed};

use crate::arguments::Global;
use crate::configuration;
use crate::failure::Failure;
use crate::surroundings::{Surroundings, producer};

/// The engine, for verbs that are about what is kept: the disk tier is open, whatever the mode says of answers.
pub(crate) struct Store {
    pub(crate) config: Config,
    pub(crate) opened: Opened,
    pub(crate) disk: Disk,
}

/// Opens the disk tier. Switched off is a mistake of whoever asks for what is in it.
pub(crate) fn open(global: &Global) -> Result<Store, Failure> {
    let root = configuration::project_root(&Surroundings::look()?.current);
    let config = configuration::load(global, root.as_deref())?;
    if !config.settings().disk.enabled {
        let error = anyhow!("the disk tier is switched off");
        return Err(Failure::usage(error).hint("`larder config show --origin disk.enabled` tells where"));
    }
    let settings = Settings { mode: Mode::ReadWrite, ..config.settings().clone() };
    let mut opened =
        Larder::open(&settings, &Machine::probe(Path::new("/")), Clock::system(), &producer(&settings));
    match (opened.disk.clone(), opened.problem.take()) {
        (Some(disk), _) => Ok(Store { config, opened, disk }),
        (None, Some(error)) => Err(cannot_open(error, &settings)),
        (None, None) => Err(anyhow!("the disk tier is not open").into()),
    }
}

/// Says what to do about a tier that does not open.
pub(crate) fn cannot_open(error: TierError, settings: &Settings) -> Failure {
    let hint = match &error {
        TierError::Format { .. } => "a newer larder wrote it; use that one, or another directory with --dir",
        _ => "another directory can be named with --dir or LARDER_DIR",
    };
    let context = format!("cannot open the cache in {}", settings.dir.display());
    Failure::from(anyhow::Error::from(error).context(context)).hint(hint)
}

/// What gc keeps the disk tier to; shares are of the file system that it is on.
pub(crate) fn limits(settings: &Settings) -> Result<Limits, Failure> {
    let dir = &settings.dir;
    let whole = rustix::fs::statvfs(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
    let whole = ByteSize(whole.f_blocks.saturating_mul(whole.f_frsize));
    Ok(Limits {
        max_bytes: Some(settings.disk.budget.of(whole).0),
        max_entries: settings.disk.entries,
        max_age: settings.disk.max_age,
        min_free_bytes: Some(settings.disk.min_free.of(whole).0),
        eviction: match settings.disk.policy {
            PolicyName::Lru => Eviction::LeastRecentlyUsed,
            _ => Eviction::Cost,
        },
        ..Limits::default()
    })
}

/// Under which names the disk tier keeps when it was collected last.
const COLLECTED: (&str, &str) = ("gc", "last");

/// How long after the last time it is collected again, whatever the limits say: things expire and grow old.
const COLLECT_AFTER: Duration = Duration::from_secs(86_400);

/// Collects the disk tier if that is due: a limit is exceeded, which is looked at if something was `written`, or
/// it was not done for a day. Blocks. Returns what was removed.
pub(crate) fn collect_if_due(
    opened: &Opened,
    settings: &Settings,
    written: bool,
) -> Result<Option<Reclaimed>, Failure> {
    let Some(disk) = &opened.disk else { return Ok(None) };
    if disk.read_only() || !settings.mode.writes() {
        return Ok(None);
    }
    let now = Clock::system().wall();
    let last = disk.meta(COLLECTED.0, COLLECTED.1).map_err(failed)?;
    let last =
        last.and_then(|bytes| Some(Timestamp::from_millis(u64::from_le_bytes(bytes.try_into().ok()?))));
    // A clock that stepped back makes the last time lie ahead: then it is not known.
    let recently = last.is_some_and(|last| last <= now && now.since(last) < COLLECT_AFTER);
    if recently && !(written && exceeds(disk, settings)?) {
        return Ok(None);
    }
    let collected = opened.collect(&limits(settings)?).map_err(failed)?;
    let done = now.as_millis().to_le_bytes().to_vec();
    disk.update_meta(COLLECTED.0, COLLECTED.1, |_| Some(done.clone())).map_err(failed)?;
    Ok(match collected {
        Some(Collected::Done(reclaimed)) => Some(reclaimed),
        Some(Collected::Busy) | None => None,
    })
}

fn exceeds(disk: &Disk, settings: &Settings) -> Result<bool, Failure> {
    let (limits, usage) = (limits(settings)?, disk.usage().map_err(failed)?);
    let free =
        rustix::fs::statvfs(&settings.dir).map(|file_system| file_system.f_bavail * file_system.f_frsize);
    Ok(limits.max_bytes.is_some_and(|limit| usage.entry_bytes + usage.blob_bytes > limit)
        || limits.max_entries.is_some_and(|limit| usage.entries > limit)
        || limits.min_free_bytes.zip(free.ok()).is_some_and(|(floor, free)| free < floor))
}

/// A failure of the disk tier while it was used.
pub(crate) fn failed(error: TierError) -> Failure {
    anyhow::Error::from(error).into()
}

/// Runs what waits, on a runtime that is made for it.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?.block_on(future))
}
