//! Tests of shared tiers against real servers.

#![allow(clippy::unwrap_used, reason = "a lint exception for tests does not reach what they call")]

/// Runs tests, which are functions over a server, on servers of some kind.
macro_rules! on_servers {
    ($name:ident, $server:ident, $($test:ident)+) => {
        mod $name {
            $(#[tokio::test]
            async fn $test() {
                super::$test::<larder_shared::testing::$server>().await;
            })+
        }
    };
}

/// Runs tests on each kind of server that tells what was invalidated.
macro_rules! on_each_server_with_a_log {
    ($($test:ident)+) => {
        on_servers!(redis, RedisServer, $($test)+);
        on_servers!(etcd, EtcdServer, $($test)+);
        on_servers!(s3, S3Server, $($test)+);
    };
}

/// Runs tests on each kind of server.
macro_rules! on_each_server {
    ($($test:ident)+) => {
        on_each_server_with_a_log!($($test)+);
        on_servers!(remote_execution, CasdServer, $($test)+);
    };
}

mod conformance;
mod etcd;
mod faults;
mod lab;
mod leases;
mod log;
mod redis;
mod remote_execution;
mod s3;
mod s3_keys;
mod several;
mod split;
