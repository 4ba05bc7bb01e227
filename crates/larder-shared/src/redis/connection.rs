//! Connections: made when they are first needed, and again after they broke.
//!
//! Small questions and large values go different ways, so that none of the former waits behind one of the latter.
//! Each step here may be done twice, so a step whose connection breaks is tried once more, on a new one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::tier::TierError;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, RedisResult};
use tokio::sync::Mutex;

use super::names::random;

/// How long making a connection may take; callers have less patience.
const CONNECT: Duration = Duration::from_secs(5);
/// How long is waited at most before a step is tried again.
const JITTER_MICROS: u64 = 5_000;

/// Which way a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Small,
    Bulk,
}

#[derive(Debug)]
pub(super) struct Connections {
    client: Client,
    small: Way,
    bulk: Way,
}

#[derive(Debug, Default)]
struct Way {
    connection: Mutex<Option<MultiplexedConnection>>,
    /// Whether the connection broke, or somebody gave up waiting on it.
    stale: AtomicBool,
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
    pub(super) fn new(client: Client) -> Self {
        Self { client, small: Way::default(), bulk: Way::default() }
    }

    /// Does what a pipeline says.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        lane: Lane,
        pipeline: &Pipeline,
    ) -> Result<T, TierError> {
        match self.run_once(lane, pipeline).await {
            Err(error) if is_broken(&error) && !error.is_connection_refusal() => {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection broke; trying again");
                tokio::time::sleep(Duration::from_micros(random() % JITTER_MICROS)).await;
                self.run_once(lane, pipeline).await.map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
    }

    async fn run_once<T: FromRedisValue>(&self, lane: Lane, pipeline: &Pipeline) -> RedisResult<T> {
        let way = match lane {
            Lane::Small => &self.small,
            Lane::Bulk => &self.bulk,
        };
        let mut connection = self.connection(way).await?;
        let mut step = Step { way, ended: false };
        let outcome = pipeline.query_async(&mut connection).await;
        step.ended = outcome.as_ref().err().is_none_or(|error| !is_broken(error));
        outcome
    }

    async fn connection(&self, way: &Way) -> RedisResult<MultiplexedConnection> {
        let mut kept = way.connection.lock().await;
        if way.stale.swap(false, Ordering::AcqRel) {
            *kept = None;
        }
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        // Whoever waits for an answer says how long.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(kept.insert(connection).clone())
    }
}

/// Whether the connection is of no more use.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.is_connection_dropped()
}

fn failed(error: RedisError) -> TierError {
    if is_broken(&error) {
        return TierError::Io(std::io::Error::other(error));
    }
    TierError::Index(Box::new(error))
}
