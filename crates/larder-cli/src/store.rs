//! The engine with its disk tier, as the configuration describes them.

use std::future::Future;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use larder::clock::Clock;
use larder::config::{Config, Machine, Mode, Settings};
use larder::engine::{Larder, Opened};
use larder::tier::TierError;
use larder::tier::disk::Disk;

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

/// A failure of the disk tier while it was used.
pub(crate) fn failed(error: TierError) -> Failure {
    anyhow::Error::from(error).into()
}

/// Runs what waits, on a runtime that is made for it.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?.block_on(future))
}
