//! Metrics of a process that serves: what libraries hand to the `metrics` facade, and who gets it from here.
//!
//! ```text
//! engine, server ── facade ──> Registry ──┬─ prometheus   asked for by whoever scrapes
//!                                         ├─ statsd       sent as datagrams, what came since the last time
//!                                         └─ otlp         posted, all since the start
//! ```
//!
//! One registry and three renderings of it, and not an exporter crate for each: three would keep all series three
//! times behind a recorder that fans out, and those that there are keep each single observation of a histogram where
//! the engine hands over thousands at once, already counted.
//!
//! Invariant: the number of series is bounded, whatever labels come.

pub(crate) mod exports;
mod otlp;
mod process;
mod prometheus;
mod registry;
mod statsd;

use self::otlp::Collector;
use self::process::Watch;
use self::prometheus::text;
use self::registry::Registry;
use self::statsd::Statsd;
