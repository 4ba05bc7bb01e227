//! Leases: what they promise beyond the suite.

use std::time::{Duration, Instant};

use larder::testing::key;
use larder_shared::open;
use larder_shared::testing::{Proxy, Server, Weather};

use crate::lab::{options, until};

on_each_server_with_a_log! {
    a_lease_outlives_a_connection_that_hangs
}

async fn a_lease_outlives_a_connection_that_hangs<S: Server>() {
    let server = S::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let holds = open(&server.url_at(proxy.address()), options()).unwrap();
    let (waits, key) = (open(&server.url(), options()).unwrap(), key("hangs", "k@1/x"));
    let held = holds.try_lease(&key).await.unwrap().expect("a lease that is free");
    proxy.turn(Weather::Silent);
    let began = Instant::now();
    // Longer than a lease lasts from the first sign of life on, which comes while nothing answers.
    while began.elapsed() < Duration::from_secs(17) {
        if began.elapsed() > Duration::from_secs(4) {
            // What hangs by now hangs for good, and what is connected anew does not.
            proxy.turn(Weather::Fair);
        }
        assert!(waits.try_lease(&key).await.unwrap().is_none(), "it is held");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(held);
    until("the lease is given back", async || waits.try_lease(&key).await.unwrap().is_some()).await;
}
