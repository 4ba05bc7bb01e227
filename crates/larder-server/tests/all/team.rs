//! Servers that share a tier.

use std::thread;
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use larder::config::ByteSize;
use larder_server::guard::Guard;
use larder_shared::testing::{EtcdServer, Proxy, RedisServer, S3Server, Server as _, Weather};

use crate::action_results::{Results, file};
use crate::byte_streams::{Streams, name, upload};
use crate::contents::Contents;
use crate::guard::guard;
use crate::lab::{Lab, digest, noise};

/// How long anything that is waited for may take.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn what_the_team_did_not_get_is_missing_for_who_would_bring_it_and_there_for_who_asks_for_it() {
    let redis = RedisServer::start();
    let [one, other] = [(), ()].map(|()| Lab::sharing(redis.url()));
    let [mut here, mut there] = [&one, &other].map(|lab| Contents::of(lab, "shop"));
    let takes = |room: &str| assert_eq!(redis.ask(&["config", "set", "maxmemory", room]), "OK");
    let first = b"first".as_slice();
    one.block_on(here.put(&[first]));
    assert_eq!(other.block_on(there.missing(&[digest(first)])), []);
    takes("1");
    // Redis takes what is small even then.
    let all = [noise(1, 20_000), noise(2, 50_000), noise(3, 2_000_000)];
    let digests = all.each_ref().map(|content| digest(content));
    let mut results = Results::of(&one);
    one.block_on(async {
        here.put(&all.each_ref().map(|content| &content[..])).await;
        let output_files = vec![file("a", &all[0]), file("b", &all[2])];
        let result = reapi::ActionResult { output_files, ..Default::default() };
        results.put(b"action", &result).await.unwrap();
    });
    takes("0");
    let until = Instant::now() + LIMIT;
    while one.block_on(here.missing(&digests)) != digests {
        assert!(Instant::now() < until, "the shared tier is not asked again");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(one.block_on(results.get(b"action")).is_ok(), "nobody does without what is here");
    assert_eq!(one.block_on(here.missing(&[digest(first)])), []);
    one.block_on(async {
        here.put(&[&all[0], &all[1]]).await;
        let written = Streams::of(&one).write(&upload(&name(&all[2])), &all[2], 64 << 10).await;
        assert_eq!(written, Ok(all[2].len() as i64));
        assert_eq!(here.missing(&digests).await, []);
    });
    let got = other.block_on(there.read(&digests, &[])).unwrap();
    assert!(got.iter().zip(&all).all(|(one, whole)| one.data == *whole));
}

#[test]
fn what_is_replaced_while_the_team_cannot_be_told_goes_from_the_others_once_it_can_be() {
    let redis = RedisServer::start();
    let other = Lab::sharing(redis.url());
    let proxy = other.block_on(Proxy::start(redis.address())).unwrap();
    let mut parted = Lab::sharing(redis.url_at(proxy.address()));
    for (object, ends) in [("3f/1c9a7e", false), ("3f/1c9a7f", true)] {
        let path = format!("/ccache/{object}");
        let got = |lab: &Lab| lab.http("GET", &path, &[], "");
        assert_eq!(parted.http("PUT", &path, &[], "first").code(), 201);
        assert_eq!(got(&other).text(), "first");
        proxy.turn(Weather::Closed);
        assert_eq!(parted.http("PUT", &path, &[], "second").code(), 201);
        assert_eq!(got(&other).text(), "first", "it can't know");
        proxy.turn(Weather::Fair);
        if ends {
            parted.restart();
        }
        let until = Instant::now() + LIMIT;
        loop {
            let now = got(&other);
            if now.code() == 404 || now.text() == "second" {
                break;
            }
            assert!(Instant::now() < until, "nobody tells what was replaced");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(got(&parted).text(), "second", "whoever replaced it has it still");
    }
}

#[test]
fn what_is_removed_while_the_team_cannot_be_told_is_gone_here_and_later_from_the_others() {
    let redis = RedisServer::start();
    let other = Lab::sharing(redis.url());
    let proxy = other.block_on(Proxy::start(redis.address())).unwrap();
    let mut parted = Lab::sharing(redis.url_at(proxy.address()));
    for (object, ends) in [("3f/1c9a7e", false), ("3f/1c9a7f", true)] {
        let path = format!("/ccache/{object}");
        let got = |lab: &Lab| lab.http("GET", &path, &[], "").code();
        assert_eq!(parted.http("PUT", &path, &[], "first").code(), 201);
        assert_eq!(got(&other), 200);
        proxy.turn(Weather::Closed);
        let removed = parted.http("DELETE", &path, &[], "");
        assert_eq!((removed.code(), got(&parted), got(&other)), (204, 404, 200));
        if ends {
            parted.restart();
        }
        assert_eq!(got(&parted), 404);
        proxy.turn(Weather::Fair);
        let until = Instant::now() + LIMIT;
        while got(&other) != 404 {
            assert!(Instant::now() < until, "nobody tells what was removed");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(got(&parted), 404);
    }
}

fn written_once() -> Guard {
    guard("anybody = \"write\"\n[scopes.default]\nwrite_once = true\n")
}

#[test]
fn of_different_things_that_several_servers_are_given_at_once_one_is_written() {
    let (redis, etcd, s3) = (RedisServer::start(), EtcdServer::start(), S3Server::start());
    for url in [redis.url(), etcd.url(), s3.url()] {
        let labs = [(), (), ()].map(|()| Lab::guarded_sharing(written_once, url.clone(), None));
        for object in 0..20 {
            let path = format!("/gradle/{object}");
            let codes = thread::scope(|scope| {
                let put = |by: usize| {
                    let (lab, path) = (&labs[by], &path);
                    scope.spawn(move || lab.http("PUT", path, &[], format!("{by}")).code())
                };
                let puts = [0, 1, 2].map(put);
                puts.map(|put| put.join().unwrap())
            });
            let kept: Vec<usize> = (0..labs.len()).filter(|&by| codes[by] == 201).collect();
            let refused = codes.iter().filter(|&&code| code == 409).count();
            assert_eq!((kept.len(), refused), (1, 2), "{codes:?} of {path} at {url}");
            for lab in &labs {
                assert_eq!(lab.http("GET", &path, &[], "").text(), kept[0].to_string(), "at {url}");
            }
        }
        // What is there is known for another thing also where it takes too long to be brought.
        let path = "/gradle/large";
        let slow = Lab::guarded_sharing(written_once, url.clone(), Some(ByteSize(256 << 10)));
        assert_eq!(labs[0].http("PUT", path, &[], noise(7, 6 << 20)).code(), 201);
        assert_eq!(slow.http("PUT", path, &[], "another").code(), 409);
        assert_eq!(labs[1].http("PUT", path, &[], noise(7, 6 << 20)).code(), 201);
    }
}
