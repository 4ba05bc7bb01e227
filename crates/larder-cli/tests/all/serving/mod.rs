//! `larder serve` as an operator meets it: real processes, watched, killed and put beside each other.

mod alerts;
mod builds;
mod dashboard;
mod drain;
mod export;
mod fleet;
mod full;
mod http;
mod memory;
mod prometheus;
mod scrape;
mod server;

use self::http::{Answer, ask, get, put};
use self::prometheus::Prometheus;
pub(crate) use self::server::{Server, content};
