//! Commands that go together: to one server, or each to the server of a cluster that has its key.
//!
//! On one server they are done in order, in a cluster side by side unless they say otherwise. What has to be done in one
//! step is a script: a cluster's client follows keys that moved for single commands only.

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, ToRedisArgs, Value, from_redis_value};
use tokio::task::JoinSet;

/// A connection that stands.
#[derive(Clone)]
pub(super) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Commands that go together.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: Vec<Step>,
    lenient: bool,
    ordered: bool,
}

#[derive(Debug)]
struct Step {
    command: Cmd,
    /// Whether nobody wants to know what comes of it.
    ignored: bool,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Takes errors for answers.
    pub(super) fn lenient(&mut self) {
        self.lenient = true;
    }

    /// Has each done when the one before is, in a cluster too.
    pub(super) fn in_order(&mut self) {
        self.ordered = true;
    }

    /// Adds a command.
    pub(super) fn cmd(&mut self, name: &str) -> &mut Self {
        self.steps.push(Step { command: redis::cmd(name), ignored: false });
        self
    }

    fn last(&mut self) -> &mut Step {
        self.steps.last_mut().expect("a command comes before what is said of it")
    }

    /// Adds an argument to the last command.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.last().command.arg(argument);
        self
    }

    /// Leaves what comes of the last command out of the answer.
    pub(super) fn ignore(&mut self) {
        self.last().ignored = true;
    }

    /// Does them.
    pub(super) async fn run<T: FromRedisValue>(&self, wire: Wire) -> RedisResult<T> {
        let values = match wire {
            Wire::One(mut connection) => self.pipeline().query_async(&mut connection).await?,
            Wire::Cluster(connection) => self.run_apart(&connection).await?,
        };
        let asked = values.into_iter().zip(&self.steps).filter(|(_, step)| !step.ignored);
        Ok(from_redis_value(Value::Array(asked.map(|(value, _)| value).collect()))?)
    }

    fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        if self.lenient {
            pipeline.ignore_errors();
        }
        for step in &self.steps {
            pipeline.add_command(step.command.clone());
        }
        pipeline
    }

    async fn run_apart(&self, connection: &ClusterConnection) -> RedisResult<Vec<Value>> {
        let mut under_way = JoinSet::new();
        let mut values = vec![Value::Nil; self.steps.len()];
        let most = if self.ordered { 1 } else { self.steps.len() };
        let mut waiting = self.steps.iter().enumerate();
        loop {
            for (nth, step) in waiting.by_ref().take(most - under_way.len()) {
                let (command, mut connection) = (step.command.clone(), connection.clone());
                under_way.spawn(async move { (nth, command.query_async(&mut connection).await) });
            }
            let Some(done) = under_way.join_next().await else { return Ok(values) };
            let (nth, value): (usize, RedisResult<Value>) = done.map_err(std::io::Error::other)?;
            match value {
                Err(error) if self.lenient && error.code().is_some() => {}
                value => values[nth] = value?,
            }
        }
    }
}
