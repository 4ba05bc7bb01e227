//! A network and a server that misbehave: no answer is ever wrong, and none fails.

use std::time::Duration;

use larder::engine::Origin;
use larder::key::Digest;
use larder::stats::Place;
use larder::tier::BlobForm;
use larder::tier::blob::PIECE_BYTES;
use larder_shared::open;
use larder_shared::testing::{Proxy, Server, Weather};

use crate::lab::{Node, SOON, options};

const SHARED: Origin = Origin::Kept(Place::Shared);

on_each_server! {
    a_silent_server_is_left_alone_and_used_again_when_it_speaks
    a_slow_server_is_left_alone
    a_server_whose_words_drip_is_left_alone
    a_server_that_speaks_another_language_is_left_alone
    a_server_that_closes_each_connection_is_left_alone
    connections_that_are_reset_in_the_middle_of_a_value_give_no_part_of_it
    bits_that_change_on_the_way_are_never_served
    a_server_that_is_killed_and_comes_back_in_mid_run_is_done_without_and_used_again
    a_blob_comes_whole_also_to_whoever_gives_up_waiting_for_a_piece_and_waits_again
}

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
async fn check<S: Server>(weather: Weather) -> bool {
    let server = S::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let calm = Node::patient(&server.url());
    let ids: Vec<String> = (0..6).map(|n| format!("{weather:?} {n}").replace(['(', ')'], "-")).collect();
    for id in &ids {
        calm.ask(id).await;
    }
    calm.larder.close().await;
    let node = Node::new(&server.url_at(proxy.address()), Duration::from_millis(75));
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

async fn a_silent_server_is_left_alone_and_used_again_when_it_speaks<S: Server>() {
    assert!(check::<S>(Weather::Silent).await);
}

async fn a_slow_server_is_left_alone<S: Server>() {
    assert!(check::<S>(Weather::Delayed(Duration::from_millis(200))).await);
}

async fn a_server_whose_words_drip_is_left_alone<S: Server>() {
    assert!(check::<S>(Weather::Dripping(Duration::from_millis(5))).await);
}

async fn a_server_that_speaks_another_language_is_left_alone<S: Server>() {
    assert!(check::<S>(Weather::Garbage).await);
}

async fn a_server_that_closes_each_connection_is_left_alone<S: Server>() {
    assert!(check::<S>(Weather::Closed).await);
}

async fn connections_that_are_reset_in_the_middle_of_a_value_give_no_part_of_it<S: Server>() {
    for bytes in [10, 400, 60_000, 300_000] {
        check::<S>(Weather::CutAfter(bytes)).await;
    }
}

async fn bits_that_change_on_the_way_are_never_served<S: Server>() {
    for longer in [0, 200, 8_000] {
        check::<S>(Weather::Flipping(longer)).await;
    }
}

async fn a_server_that_is_killed_and_comes_back_in_mid_run_is_done_without_and_used_again<S: Server>() {
    let mut server = S::start();
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

async fn a_blob_comes_whole_also_to_whoever_gives_up_waiting_for_a_piece_and_waits_again<S: Server>() {
    let server = S::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let tier = open(&server.url_at(proxy.address()), options()).unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let digest = Digest::of(&content);
    let form = BlobForm { packed: false, bytes: content.len() as u64 };
    let mut sink = tier.make_blob(digest, form).await.unwrap().unwrap();
    for piece in content.chunks(PIECE_BYTES) {
        sink.write(piece.to_vec()).await.unwrap();
    }
    assert!(sink.finish().await.unwrap());
    let mut source = tier.open_blob(digest).await.unwrap().unwrap();
    proxy.turn(Weather::Delayed(Duration::from_millis(3)));
    let (mut came, mut given_up) = (Vec::new(), 0);
    loop {
        match tokio::time::timeout(Duration::from_millis(1), source.next()).await {
            Ok(Ok(Some(piece))) => came.extend(piece),
            Ok(end) => break assert!(end.unwrap().is_none()),
            Err(_) => given_up += 1,
        }
    }
    assert!(given_up > 0 && came == content, "{} of {} bytes", came.len(), content.len());
}
