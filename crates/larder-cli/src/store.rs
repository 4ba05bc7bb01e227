//! The engine with its disk tier, as the configuration describes them.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use larder::clock::Clock;
use larder::config::{Config, Machine, Mode, Settings};
use larder::engine::{Larder, Opened, Process};
use larder::tier::disk::Disk;
use larder::tier::{Brief, Tier, TierError};
use larder_shared::{TlsFiles, UrlError};

use crate::arguments::Global;
use crate::configuration;
use crate::failure::Failure;
use crate::surroundings::{Surroundings, producer, s3_options};

/// The engine, for verbs that are about what is kept: the disk tier is open, whatever the mode says of answers.
pub(crate) struct Store {
    pub(crate) config: Config,
    pub(crate) opened: Opened,
    pub(crate) disk: Disk,
}

/// Which tiers a verb is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tiers {
    /// Those of this machine.
    Local,
    /// The shared one too.
    All,
}

/// Opens the disk tier. Switched off is a mistake of whoever asks for what is in it.
pub(crate) fn open(global: &Global, tiers: Tiers) -> Result<Store, Failure> {
    let root = configuration::project_root(&Surroundings::look()?.current);
    let config = configuration::load(global, root.as_deref())?;
    if !config.settings().disk.enabled {
        let error = anyhow!("the disk tier is switched off");
        return Err(Failure::usage(error).hint("`larder config show --origin disk.enabled` tells where"));
    }
    let settings = Settings { mode: Mode::ReadWrite, ..config.settings().clone() };
    let shared = if tiers == Tiers::All { shared(&config)? } else { None };
    let mut opened = engine(&settings, &machine(), Brief::InPlace, shared);
    match (opened.disk.clone(), opened.problem.take()) {
        (Some(disk), _) => Ok(Store { config, opened, disk }),
        (None, Some(error)) => Err(cannot_open(error, &settings)),
        (None, None) => Err(anyhow!("the disk tier is not open").into()),
    }
}

/// The tier that a team shares, if one is configured. Nothing is connected to yet. What is wrong is told with where it
/// stands.
pub(crate) fn shared(config: &Config) -> Result<Option<Arc<dyn Tier>>, Failure> {
    let shared = &config.settings().shared;
    let (url, blobs) = match (&shared.url, &shared.blobs) {
        (Some(url), blobs) => (url, blobs),
        (None, Some(_)) => {
            let error = anyhow!("shared_blobs says where blobs are, and shared not where entries are");
            let error = error.context(origin(config, "shared_blobs"));
            return Err(Failure::usage(error).hint("set shared too; both may be the same"));
        }
        (None, None) => return Ok(None),
    };
    let options = larder_shared::Options {
        token: shared.token.clone(),
        tls: TlsFiles {
            authorities: shared.ca.clone(),
            certificate: shared.cert.clone(),
            key: shared.key.clone(),
        },
        s3: s3_options(Surroundings::look()?.home.as_deref()),
        ..larder_shared::Options::new(shared.max_age, Clock::system())
    };
    let open = |setting: &str, url: &str| {
        larder_shared::open(url, options.clone()).map_err(|error| not_a_tier(error, setting, config))
    };
    let tier = open("shared", url)?;
    Ok(Some(match blobs {
        None => tier,
        Some(blobs) => Arc::new(larder_shared::Split::new(tier, open("shared_blobs", blobs)?)),
    }))
}

/// Where a setting was given its value.
fn origin(config: &Config, setting: &str) -> String {
    let row = config.rows().into_iter().find(|row| row.name == setting);
    row.map_or_else(|| setting.to_owned(), |row| row.origin.to_string())
}

/// Says of which setting it is, how a URL is written, or what else a tier needs.
fn not_a_tier(error: UrlError, setting: &str, config: &Config) -> Failure {
    let shared = &config.settings().shared;
    let files = [("shared_ca", &shared.ca), ("shared_cert", &shared.cert), ("shared_key", &shared.key)];
    let set = |wanted: &[&str]| {
        let is_set = files.iter().filter(|(name, path)| path.is_some() && wanted.contains(name));
        is_set.map(|(name, _)| origin(config, name)).collect::<Vec<_>>().join(" and ")
    };
    let place = match &error {
        UrlError::Token => origin(config, "shared_token"),
        UrlError::Unreadable { path, .. } => {
            let file = files.iter().find(|(_, named)| named.as_ref() == Some(path));
            origin(config, file.map_or(setting, |(name, _)| name))
        }
        UrlError::HalfIdentity => set(&["shared_cert", "shared_key"]),
        UrlError::NoCertificate => set(&["shared_ca", "shared_cert"]),
        UrlError::Certificate(_) => set(&["shared_ca", "shared_cert", "shared_key"]),
        _ => origin(config, setting),
    };
    let hint = match &error {
        UrlError::NoAccessKey | UrlError::AccessKey => Some(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; docs/shared.md tells where else one may come from",
        ),
        UrlError::Unreadable { .. } | UrlError::Certificate(_) | UrlError::NoCertificate => {
            Some("shared_ca, shared_cert and shared_key name files in PEM")
        }
        UrlError::HalfIdentity | UrlError::Token => None,
        _ => Some("write it as redis://HOST:PORT, etcd://HOST:PORT, grpc://HOST:PORT or s3://BUCKET/PREFIX"),
    };
    let failure = Failure::usage(anyhow::Error::from(error).context(place));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What this machine has to give.
pub(crate) fn machine() -> Machine {
    Machine::probe(Path::new("/"))
}

/// The engine as the configuration describes it.
pub(crate) fn engine(
    settings: &Settings,
    machine: &Machine,
    brief: Brief,
    shared: Option<Arc<dyn Tier>>,
) -> Opened {
    let producer = producer(settings);
    let process = Process { producer: &producer, brief };
    Larder::open_sharing(settings, machine, Clock::system(), process, shared)
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

/// A tier that could not be told of an invalidation.
pub(crate) fn untold(tier: &'static str, error: TierError) -> Failure {
    let is_refused = matches!(error, TierError::ReadOnly);
    let failure =
        Failure::from(anyhow::Error::from(error).context(format!("the {tier} tier could not be told")));
    match (tier, is_refused) {
        ("disk", _) => failure,
        (_, true) => failure.hint("what is on this machine is removed; `--local` leaves the shared tier out"),
        (_, false) => failure.hint(
            "what is on this machine is removed, and the next run here that reaches the shared tier tells it; `--local` \
             leaves it out",
        ),
    }
}

/// A failure of the disk tier while it was used.
pub(crate) fn failed(error: TierError) -> Failure {
    anyhow::Error::from(error).into()
}

/// Runs what waits, on a runtime that is made for it.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(Runtime::start()?.block_on(pin!(future)))
}

/// How long a thread that does nothing is kept where there is little to do.
const IDLE: Duration = Duration::from_millis(10);

/// What a verb waits on. Its threads are not waited for at the end: what matters of their work was.
pub(crate) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::build(&mut tokio::runtime::Builder::new_current_thread())
    }

    /// The same for a process that does brief work in place: a thread that is of no use any more ends, so that nobody waits
    /// for its end when the process does.
    pub(crate) fn start_alone() -> Result<Self, Failure> {
        Self::build(tokio::runtime::Builder::new_current_thread().thread_keep_alive(IDLE))
    }

    /// The same with a thread at hand for the first work that blocks: making one takes as long as a little work does.
    pub(crate) fn with_a_hand() -> Result<Self, Failure> {
        let started = Self::start()?;
        if let Some(runtime) = &started.0 {
            drop(runtime.spawn_blocking(|| ()));
        }
        Ok(started)
    }

    fn build(builder: &mut tokio::runtime::Builder) -> Result<Self, Failure> {
        let runtime = builder.enable_all().build();
        Ok(Self(Some(runtime.context("cannot start the runtime")?)))
    }

    /// Runs what waits. It stays where the caller has it: moving something that large touches its pages twice.
    pub(crate) fn block_on<T>(&self, future: Pin<&mut impl Future<Output = T>>) -> T {
        self.0.as_ref().expect("it is there until it is dropped").block_on(future)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
