//! Connections: made when they are first needed, and again after they broke.
//!
//! Small questions and large values go different ways, so that none of the former waits behind one of the latter.
//! Each step here may be done twice, so a step whose connection breaks is tried once more, on a new one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use larder::tier::TierError;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value, from_redis_value,
};
use tokio::sync::Mutex;

use super::servers::Servers;
use super::steps::{Steps, Wire};
use crate::naming::random;
use crate::tls;

/// How long is waited at most before a step is tried again.
const JITTER_MICROS: u64 = 5_000;
/// How many keys a server looks at in one step.
const SCAN: usize = 1000;
/// How long is waited for a second server to know what one has acknowledged, in milliseconds.
const SECOND: u64 = 100;

/// Which way a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Small,
    Bulk,
}

#[derive(Debug)]
pub(super) struct Connections {
    servers: Servers,
    small: Way,
    bulk: Way,
    answers: AtomicU64,
}

#[derive(Default)]
struct Way {
    connection: Mutex<Option<Wire>>,
    /// Whether the connection broke, or somebody gave up waiting on it.
    stale: AtomicBool,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("stale", &self.stale).finish_non_exhaustive()
    }
}

/// Marks a connection as stale unless the step on it came to its end.
struct Step<'a> {
    way: &'a Way,
    ended: bool,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.way.stale.store(true, Ordering::Release);
        }
    }
}

impl Connections {
    pub(super) fn new(servers: Servers) -> Self {
        Self { servers, small: Way::default(), bulk: Way::default(), answers: AtomicU64::new(0) }
    }

    /// How many connections were made and steps answered so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Does some steps.
    pub(super) async fn run<T: FromRedisValue>(&self, lane: Lane, steps: &Steps) -> Result<T, TierError> {
        self.trying(lane, |wire| steps.run(wire)).await
    }

    /// The names of all keys that match a pattern; what is no text is none of ours.
    pub(super) async fn scan(&self, pattern: &str) -> Result<Vec<String>, TierError> {
        let found = self.trying(Lane::Small, |wire| scan(wire, pattern)).await?;
        Ok(found.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect())
    }

    /// Waits until what was written survives a server whose place another takes.
    pub(super) async fn settle(&self) -> Result<(), TierError> {
        if !self.servers.take_over() {
            return Ok(());
        }
        let mut steps = Steps::new();
        steps.cmd("WAIT").arg(1).arg(SECOND);
        let (servers,): (u64,) = self.run(Lane::Small, &steps).await?;
        if servers == 0 {
            tracing::debug!("an invalidation is known to one server only");
        }
        Ok(())
    }

    async fn trying<T, F: Future<Output = RedisResult<T>>>(
        &self,
        lane: Lane,
        step: impl Fn(Wire) -> F,
    ) -> Result<T, TierError> {
        match self.try_once(lane, &step).await {
            Err(error) if is_broken(&error) && !error.is_connection_refusal() => {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection broke; trying again");
                tokio::time::sleep(Duration::from_micros(random() % JITTER_MICROS)).await;
                self.try_once(lane, &step).await.map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
    }

    async fn try_once<T, F: Future<Output = RedisResult<T>>>(
        &self,
        lane: Lane,
        run: &impl Fn(Wire) -> F,
    ) -> RedisResult<T> {
        let way = match lane {
            Lane::Small => &self.small,
            Lane::Bulk => &self.bulk,
        };
        let connection = self.connection(way).await?;
        // One that mends itself is not broken because somebody gave up.
        let mut step = Step { way, ended: self.servers.mends() };
        let outcome = run(connection).await;
        step.ended = outcome.as_ref().err().is_none_or(|error| !is_broken(error));
        self.answers.fetch_add(u64::from(step.ended), Ordering::Relaxed);
        outcome
    }

    async fn connection(&self, way: &Way) -> RedisResult<Wire> {
        let mut kept = way.connection.lock().await;
        if way.stale.swap(false, Ordering::AcqRel) {
            *kept = None;
        }
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let connection = self.servers.connect().await?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        Ok(kept.insert(connection).clone())
    }
}

/// Where a walk goes on, and the names that it met.
type Walked = (String, Vec<Vec<u8>>);

/// Walks over all keys, of a cluster on each server that has any.
async fn scan(wire: Wire, pattern: &str) -> RedisResult<Vec<Vec<u8>>> {
    let step = |cursor: &str| {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN);
        command
    };
    let mut all = Vec::new();
    match wire {
        Wire::One(mut connection) => {
            let mut cursor = "0".to_owned();
            loop {
                let (next, found): Walked = step(&cursor).query_async(&mut connection).await?;
                all.extend(found);
                if next == "0" {
                    return Ok(all);
                }
                cursor = next;
            }
        }
        Wire::Cluster(mut connection) => {
            let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            let begun = connection.route_command(step("0"), masters).await?;
            let begun: Vec<(String, Walked)> = from_redis_value(begun)?;
            for (server, (mut cursor, found)) in begun {
                all.extend(found);
                let (host, port) = server.rsplit_once(':').unwrap_or((&server, ""));
                let (host, port) = (host.to_owned(), port.parse().unwrap_or_default());
                let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host, port });
                while cursor != "0" {
                    let command: Cmd = step(&cursor);
                    let value: Value = connection.route_command(command, route.clone()).await?;
                    let (next, found): Walked = from_redis_value(value)?;
                    all.extend(found);
                    cursor = next;
                }
            }
            Ok(all)
        }
    }
}

/// Whether the connection is of no more use: it broke, or leads to a server whose place another took.
fn is_broken(error: &RedisError) -> bool {
    let is_elsewhere = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
        )
    );
    error.is_io_error() || error.is_unrecoverable_error() || error.is_connection_dropped() || is_elsewhere
}

/// Whether the server does not let in whoever asks.
fn is_turned_away(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// A certificate that is not trusted, of which the client of a cluster passes on words only.
fn untrusted(error: &RedisError) -> Option<tls::Refused> {
    let words = error.to_string();
    let (_, why) = words.split_once("invalid peer certificate: ")?;
    let why = why.split(|c: char| !c.is_alphanumeric()).next()?;
    Some(tls::Refused::Untrusted(why.to_owned()))
}

fn failed(error: RedisError) -> TierError {
    if let Some(refused) = tls::refused(&error).or_else(|| untrusted(&error)) {
        return TierError::Refused(Box::new(refused));
    }
    if error.is_connection_refusal() || is_turned_away(&error) {
        return TierError::Refused(Box::new(error));
    }
    if is_broken(&error) {
        return TierError::Io(std::io::Error::other(error));
    }
    TierError::Index(Box::new(error))
}
