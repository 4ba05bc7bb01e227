//! Real servers for tests, and a proxy between them and whoever uses them that misbehaves on demand.
//!
//! Nothing here is asked by what is built for users.

mod bucket;
mod casd;
mod gate;
mod port;
mod proxy;
mod s3;
mod server;

pub use casd::CasdServer;
pub use gate::{Gate, Passes};
pub use proxy::{Proxy, Weather};
pub use s3::S3Server;
pub use server::{RedisServer, Server};
