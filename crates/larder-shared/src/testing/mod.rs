//! Real servers for tests, and a proxy between them and whoever uses them that misbehaves on demand.
//!
//! Nothing here is asked by what is built for users.

mod bucket;
mod casd;
mod certificates;
mod cluster;
mod etcd;
mod etcd_cluster;
mod gate;
mod keys;
mod known;
mod port;
mod proxy;
mod redis;
mod s3;
mod sentinel;
mod server;

pub use casd::CasdServer;
pub use certificates::Certificates;
pub use cluster::RedisCluster;
pub use etcd::EtcdServer;
pub use etcd_cluster::EtcdCluster;
pub use gate::{Gate, Passes};
pub use keys::{KeyServer, Lender};
pub use proxy::{Proxy, Weather};
pub use redis::RedisServer;
pub use s3::S3Server;
pub use sentinel::WatchedRedis;
pub use server::Server;
