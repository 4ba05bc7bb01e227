//! Real servers for tests, and a proxy between them and whoever uses them that misbehaves on demand.
//!
//! Nothing here is asked by what is built for users.

mod casd;
mod gate;
mod port;
mod proxy;
mod server;

pub use casd::CasdServer;
pub use gate::{Gate, Passes};
pub use proxy::{Proxy, Weather};
pub use server::RedisServer;
