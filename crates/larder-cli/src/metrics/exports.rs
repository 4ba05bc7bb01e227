//! Who gets the metrics, as the command line says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use larder_server::Exposition;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use super::{Collector, Registry, Statsd, Watch, text};
use crate::arguments::address;
use crate::failure::Failure;

/// Where metrics go.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// Tell metrics on a port of their own at /metrics, to anybody, beside /healthz and /readyz
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address, env = "LARDER_METRICS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Send metrics to a DogStatsD agent
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address, env = "LARDER_STATSD")]
    statsd: Option<SocketAddr>,
    /// Post metrics to an OpenTelemetry collector, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL", env = "LARDER_OTLP")]
    otlp: Option<String>,
    /// How often metrics are sent or posted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    export_every: u64,
}

/// What is counted, and where it is to go.
pub(crate) struct Exports {
    registry: Registry,
    watch: Watch,
    statsd: Option<SocketAddr>,
    collector: Option<Collector>,
    every: Duration,
}

impl Exports {
    /// Takes what libraries count from now on. `directory` is that of the disk tier.
    pub(crate) fn install(arguments: &Arguments, directory: &Path) -> Result<Self, Failure> {
        let collector = arguments.otlp.as_deref().map(Collector::at).transpose().map_err(|error| {
            Failure::usage(error)
                .hint("write it as http://HOST:PORT; a collector beside the server speaks TLS to others")
        })?;
        let registry = Registry::default();
        metrics::set_global_recorder(registry.clone())
            .map_err(|_| anyhow!("something counts in this process already"))?;
        larder::stats::describe();
        let watch = Watch::new(directory);
        watch.look();
        let every = Duration::from_secs(arguments.export_every);
        Ok(Self { registry, watch, statsd: arguments.statsd, collector, every })
    }

    /// All metrics as text, for whoever scrapes.
    pub(crate) fn exposition(&self) -> Exposition {
        let registry = self.registry.clone();
        Exposition::new(move || text(&registry.families()))
    }

    /// Opens what is needed to send, for the server at `address`.
    pub(crate) fn begin(self, address: SocketAddr) -> Result<Exporting, Failure> {
        let Self { registry, watch, statsd, collector, every } = self;
        let statsd = match statsd {
            Some(address) => Some(Mutex::new(Statsd::to(address)?)),
            None => None,
        };
        let collector = collector.map(|collector| collector.telling_of(address));
        Ok(Exporting { registry, watch, statsd, collector, every })
    }
}

/// Metrics on their way.
pub(crate) struct Exporting {
    registry: Registry,
    watch: Watch,
    statsd: Option<Mutex<Statsd>>,
    collector: Option<Collector>,
    every: Duration,
}

impl Exporting {
    /// Sends them again and again.
    pub(crate) async fn run(&self) -> Infallible {
        let mut looks = tokio::time::interval(Duration::from_secs(1));
        let mut sends = tokio::time::interval(self.every);
        for interval in [&mut looks, &mut sends] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        loop {
            tokio::select! {
                _ = looks.tick() => self.watch.look(),
                _ = sends.tick() => self.send().await,
            }
        }
    }

    /// Sends them as they are now. That nobody takes them is no failure of the server.
    pub(crate) async fn send(&self) {
        if self.statsd.is_none() && self.collector.is_none() {
            return;
        }
        self.watch.look();
        let families = self.registry.families();
        if let Some(statsd) = &self.statsd
            && let Err(error) = statsd.lock().send(&families)
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "metrics are not sent");
        }
        if let Some(collector) = &self.collector
            && let Err(error) = collector.send(&families).await
        {
            tracing::warn!(error = format!("{error:#}"), "metrics are not posted");
        }
    }
}
