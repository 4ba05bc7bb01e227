//! `larder serve`: a cache that a team's tools are pointed at.

mod guarded;
mod token;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use larder::clock::Clock;
use larder::config::{ByteSize, Config, Mode, Settings};
use larder::key::Scope;
use larder::tier::Brief;
use larder_server::guard::access;
use larder_server::store::Store;
use larder_server::{Patience, ServeError, ServeOptions, Server, TlsError, TlsOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

use crate::arguments::{Global, address};
use crate::configuration;
use crate::console::{Console, WARNING, stdout, styled};
use crate::failure::{Code, Failure};
use crate::metrics::exports::{self, Exports};
use crate::signals::Signals;
use crate::store;

/// Serve the cache to other tools: Bazel, ccache, Gradle, Turborepo, Nx and others
///
/// All protocols are spoken on one port, gRPC among them. What is kept lies in the directory that --dir names, and in
/// the shared tier if one is configured.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Signals:
  HUP        take over the access file and the certificates, which also happens when they change
  INT, TERM  end, after what is under way came to its end

Examples:
  larder serve
  larder serve --listen 0.0.0.0:9092 --access access.toml --tls-cert server.pem --tls-key server.key
  larder serve --check --access access.toml
  bazel build //... --remote_cache=grpc://127.0.0.1:9092
  CCACHE_REMOTE_STORAGE=http://127.0.0.1:9092/ccache ccache cc -c main.c
  curl http://127.0.0.1:9092/readyz"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Where to listen; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9092", value_parser = address,
        env = "LARDER_LISTEN")]
    listen: SocketAddr,
    /// The scope of requests that name none
    #[arg(long, value_name = "NAME", default_value = "default")]
    scope: String,
    /// The largest content that is taken
    #[arg(long, value_name = "SIZE", default_value = "16 GiB")]
    largest: ByteSize,
    /// How many connections there may be at once; more wait
    #[arg(long, value_name = "NUMBER", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How long requests that are under way may take at the end, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
    /// How long to go on serving at the end while /readyz says 503, in seconds: for a balancer that looks at that
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    notice: u64,
    #[command(flatten)]
    exports: exports::Arguments,
    /// Say whether a server could begin, but for its port and its directory, and do no more
    #[arg(long)]
    check: bool,
    #[command(flatten, next_help_heading = "Guard")]
    guarded: guarded::Arguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    Token(token::Arguments),
}

pub(crate) fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    if let Some(Action::Token(arguments)) = &arguments.action {
        return token::run(arguments, console);
    }
    let guard = arguments.guarded.guard()?;
    let config = configuration::load(global, None)?;
    let mut settings = config.settings().clone();
    // Of a process that serves many there is no sum of all that they waited in vain: each wait has its limit, and a
    // tier that fails is left alone for that.
    settings.shared.patience = Duration::MAX;
    if !settings.disk.enabled || settings.mode != Mode::ReadWrite {
        let error = anyhow!("a server needs the disk tier, to read and to write");
        return Err(Failure::usage(error).hint("`larder config show --origin` tells what switches it off"));
    }
    let scope = Scope::new(&arguments.scope).map_err(Failure::usage)?;
    let mut options = ServeOptions {
        address: arguments.listen,
        guard,
        access: arguments.guarded.access(),
        tls: arguments.guarded.tls(),
        default_scope: scope,
        max_connections: arguments.connections as usize,
        notice: Duration::from_secs(arguments.notice),
        patience: Patience::default(),
        drain: Duration::from_secs(arguments.drain),
        exposition: None,
        metrics: arguments.exports.metrics,
    };
    if arguments.check {
        return check(arguments, &options, &config, console);
    }
    let audit = arguments.guarded.audit()?;
    options.guard = audit.iter().fold(options.guard, |guard, audit| guard.with_audit(audit.clone()));
    raise_limits();
    // Before anything counts.
    let exports = Exports::install(&arguments.exports, &settings.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let served = runtime.block_on(serve(options, (&settings, &config, arguments.largest), exports, console));
    // What is still at work by now was to be left alone.
    runtime.shutdown_background();
    if let Some(audit) = audit {
        audit.close();
    }
    served
}

/// Checks what is not read yet of all that a server begins with. Makes nothing that a server, as another user, could not
/// write.
fn check(
    arguments: &Arguments,
    options: &ServeOptions,
    config: &Config,
    console: Console,
) -> Result<Code, Failure> {
    options.check().map_err(cannot_begin)?;
    arguments.guarded.check_audit()?;
    drop((Exports::install(&arguments.exports, &config.settings().dir)?, store::shared(config)?));
    let knows_clients = options.tls.as_ref().is_some_and(TlsOptions::knows_clients);
    let doubts = access::doubts(&options.guard.rules(), knows_clients, Clock::system().wall());
    let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
    if console.json {
        console.json(&serde_json::json!({ "valid": true, "doubts": doubts }))?;
        return Ok(Code::Done);
    }
    for doubt in doubts {
        console.note(format_args!("{} {doubt}", styled(WARNING, "warning:")));
    }
    if !console.quiet {
        stdout().write_all(b"the access file and certificates are valid\n")?;
    }
    Ok(Code::Done)
}

/// Takes as many open files as the system lets it have: each connection is one.
fn raise_limits() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With the usual number it serves, too, just fewer at once.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

async fn serve(
    mut options: ServeOptions,
    (settings, config, largest): (&Settings, &Config, ByteSize),
    exports: Exports,
    console: Console,
) -> Result<Code, Failure> {
    options.exposition = Some(exports.exposition());
    let mut opened = store::engine(settings, &store::machine(), Brief::Aside, store::shared(config)?);
    let Some(disk) = opened.disk.clone() else {
        return Err(match opened.problem.take() {
            Some(error) => store::cannot_open(error, settings),
            None => anyhow!("the disk tier is not open").into(),
        });
    };
    if opened.larder.sharing().is_some_and(|sharing| sharing.tier == "remote-execution") {
        console.note(format_args!(
            "{} a remote execution cache can only drop everything at once, which is what replacing one object does there: \
             give servers a Redis, etcd or bucket",
            styled(WARNING, "warning:")
        ));
    }
    let opened = Arc::new(opened);
    let store = Store::new(Arc::clone(&opened), disk, largest.0);
    let is_tls = options.tls.is_some();
    let server = Server::bind(options, store.clone()).await.map_err(cannot_begin)?;
    let exporting = exports.begin(server.address())?;
    let mut signals = Signals::listen_but_to_hangup().context("cannot hear signals")?;
    let followed = guarded::follow(server.reloader())?;
    announce(&server, is_tls, console)?;
    let (end, ended) = oneshot::channel();
    let serving = async {
        tokio::select! {
            () = server.serve(async { drop(ended.await) }) => {}
            never = opened.attend() => match never {},
            never = store.attend() => match never {},
            never = exporting.run() => match never {},
            () = followed => {}
        }
        opened.close().await;
        opened.larder.stats().tick();
        exporting.send().await;
    };
    // The first time what is under way comes to its end, the second time it does not.
    let asking = async {
        signals.next().await;
        let _ = end.send(());
        signals.next().await
    };
    tokio::select! {
        () = serving => Ok(Code::Done),
        signal = asking => Ok(Code::Of(128 + signal)),
    }
}

/// Says where it listens, for whoever waits for that line.
fn announce(server: &Server, is_tls: bool, console: Console) -> Result<(), Failure> {
    let (address, metrics) = (server.address(), server.metrics_address());
    let text = if console.json {
        let metrics = metrics.map(|metrics| metrics.to_string());
        format!("{}\n", serde_json::json!({ "address": address.to_string(), "metrics": metrics }))
    } else {
        let metrics = metrics.map(|metrics| format!(", metrics on http://{metrics}/metrics"));
        let s = if is_tls { "s" } else { "" };
        let metrics = metrics.unwrap_or_default();
        format!("listening on http{s}://{address} and grpc{s}://{address}{metrics}\n")
    };
    let mut stdout = stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

fn cannot_begin(error: ServeError) -> Failure {
    let hint = match &error {
        ServeError::Unguarded(_) => "listen on 127.0.0.1, or say who may do what with --access FILE",
        ServeError::Listen { .. } => "another address can be named with --listen",
        ServeError::Tls(TlsError::Pair(_)) => "the key is that of the first certificate in the file",
        ServeError::Tls(_) => "--tls-cert, --tls-key and --client-ca name files in PEM",
    };
    Failure::usage(error).hint(hint)
}
