//! A network and a server that misbehave: no answer is ever wrong, and none fails.

use std::net::SocketAddr;
use std::time::Duration;

use larder::engine::Origin;
use larder::stats::Place;
use larder_shared::testing::{Proxy, RedisServer, Weather};

use crate::lab::{Node, SOON};

const SHARED: Origin = Origin::Kept(Place::Shared);

/// Asks for new things until one comes from, or has gone to, the shared tier.
pub(crate) async fn is_back(node: &Node, from: &Node) {
    let waits = async {
        for n in 0.. {
            let id = format!("back {n}");
            node.ask(&id).await;
            node.larder.close().await;
            if from.ask(&id).await == SHARED {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, waits).await.expect("the shared tier is used again");
}

/// What a machine asks for in bad weather is right; returns whether it left the shared tier alone.
async fn check(weather: Weather) -> bool {
    let server = RedisServer::start();
    check_at("redis", server.address(), weather).await
}

/// The same of a server at this address, whose URLs have this scheme.
pub(crate) async fn check_at(scheme: &str, server: SocketAddr, weather: Weather) -> bool {
    let proxy = Proxy::start(server).await.unwrap();
    let calm = Node::patient(&format!("{scheme}://{server}"));
    let ids: Vec<String> = (0..6).map(|n| format!("{weather:?} {n}").replace(['(', ')'], "-")).collect();
    for id in &ids {
        calm.ask(id).await;
    }
    calm.larder.close().await;
    let node = Node::new(&format!("{scheme}://{}", proxy.address()), Duration::from_millis(75));
    proxy.turn(weather);
    for id in &ids {
        node.ask(id).await;
    }
    node.ask("something new").await;
    node.larder.close().await;
    let trouble = node.trouble().is_some();
    proxy.turn(Weather::Fair);
    is_back(&node, &calm).await;
    trouble
}

#[tokio::test]
async fn a_silent_server_is_left_alone_and_used_again_when_it_speaks() {
    assert!(check(Weather::Silent).await);
}

#[tokio::test]
async fn a_slow_server_is_left_alone() {
    assert!(check(Weather::Delayed(Duration::from_millis(200))).await);
}

#[tokio::test]
async fn a_server_whose_words_drip_is_left_alone() {
    assert!(check(Weather::Dripping(Duration::from_millis(5))).await);
}

#[tokio::test]
async fn a_server_that_speaks_another_language_is_left_alone() {
    assert!(check(Weather::Garbage).await);
}

#[tokio::test]
async fn a_server_that_closes_each_connection_is_left_alone() {
    assert!(check(Weather::Closed).await);
}

#[tokio::test]
async fn connections_that_are_reset_in_the_middle_of_a_value_give_no_part_of_it() {
    for bytes in [10, 400, 60_000, 300_000] {
        check(Weather::CutAfter(bytes)).await;
    }
}

#[tokio::test]
async fn bits_that_change_on_the_way_are_never_served() {
    for longer in [0, 200, 8_000] {
        check(Weather::Flipping(longer)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_in_mid_run_is_done_without_and_used_again() {
    let mut server = RedisServer::start();
    let (a, b) = (Node::patient(&server.url()), Node::patient(&server.url()));
    a.ask("before").await;
    a.larder.close().await;
    assert_eq!(b.ask("before").await, SHARED);
    server.kill();
    for node in [&a, &b] {
        for id in ["without", "without too", "still without", "and more"] {
            assert_eq!(node.ask(id).await, Origin::Computed);
        }
        assert!(node.trouble().is_some());
    }
    server.restart();
    is_back(&a, &b).await;
}
