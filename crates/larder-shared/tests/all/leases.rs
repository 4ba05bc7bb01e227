//! Leases: what they promise beyond the suite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::testing::key;
use larder_shared::open;
use larder_shared::testing::{Proxy, Server, Weather};
use tokio::time::timeout;

use crate::lab::{SOON, options, until};

on_each_server_with_a_log! {
    a_lease_outlives_a_connection_that_hangs
    a_lease_ends_that_is_given_back_or_taken_in_vain_though_its_holder_has_another
    no_lease_is_waited_for_whose_runtime_ended_or_rests_while_it_was_given_back
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

async fn a_lease_ends_that_is_given_back_or_taken_in_vain_though_its_holder_has_another<S: Server>() {
    let server = S::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let holds = open(&server.url_at(proxy.address()), options()).unwrap();
    let waits = open(&server.url(), options()).unwrap();
    let (lost, stays) = (key("lost", "k@1/x"), key("lost", "k@1/y"));
    let dropped = holds.try_lease(&lost).await.unwrap().expect("a lease that is free");
    let held = holds.try_lease(&stays).await.unwrap().expect("a lease that is free");
    proxy.turn(Weather::Closed);
    drop(dropped);
    holds.flush().await.unwrap();
    proxy.turn(Weather::Fair);
    until("the lease ends", async || waits.try_lease(&lost).await.unwrap().is_some()).await;
    let unheard = key("lost", "k@1/z");
    proxy.turn(Weather::Silent);
    timeout(Duration::from_secs(1), holds.try_lease(&unheard)).await.unwrap_err();
    proxy.turn(Weather::Fair);
    until("nobody holds it", async || waits.try_lease(&unheard).await.unwrap().is_some()).await;
    assert!(waits.try_lease(&stays).await.unwrap().is_none(), "it is held");
    drop(held);
}

async fn no_lease_is_waited_for_whose_runtime_ended_or_rests_while_it_was_given_back<S: Server>() {
    let server = S::start();
    for rests in [false, true] {
        let (tier, key) = (open(&server.url(), options()).unwrap(), key("ended", &format!("k@1/{rests}")));
        let used = Arc::clone(&tier);
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { drop(used.try_lease(&key).await.unwrap().expect("a free lease")) });
            // What it was to do then is not done any more, or not yet.
            rests.then_some(runtime)
        });
        let runtime = elsewhere.join().unwrap();
        timeout(SOON, tier.flush()).await.expect("an end").unwrap();
        runtime.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    }
}
