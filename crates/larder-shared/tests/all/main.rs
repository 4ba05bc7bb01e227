//! Tests of shared tiers against real servers.

#![allow(clippy::unwrap_used, reason = "a lint exception for tests does not reach what they call")]

/// Runs tests, which are functions over a server, on each of them.
macro_rules! on_each_server {
    ($($test:ident)+) => {
        mod redis {
            $(#[tokio::test]
            async fn $test() {
                super::$test::<larder_shared::testing::RedisServer>().await;
            })+
        }
        mod s3 {
            $(#[tokio::test]
            async fn $test() {
                super::$test::<larder_shared::testing::S3Server>().await;
            })+
        }
    };
}

mod conformance;
mod faults;
mod lab;
mod log;
mod remote_execution;
mod s3;
mod split;
