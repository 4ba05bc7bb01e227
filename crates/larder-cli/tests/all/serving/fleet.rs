//! Several servers over one Redis, or over one Redis and one bucket, behind a balancer that knows nothing but TCP.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use larder_shared::testing::{RedisServer, S3Server, Server as _};

use super::server::{content, wait_until};
use super::{Answer, Server, get, put};
use crate::lab::Lab;

/// Passes each connection on to the next server that takes it.
pub(super) struct Balancer {
    pub(super) address: SocketAddr,
    servers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Balancer {
    pub(super) fn start(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let servers = Arc::new(Mutex::new(servers));
        let known = Arc::clone(&servers);
        let turn = AtomicUsize::new(0);
        // Ends with the process, as nobody connects any more.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let servers = known.lock().unwrap().clone();
                let first = turn.fetch_add(1, Ordering::Relaxed);
                let in_turn = (0..servers.len()).map(|nth| servers[(first + nth) % servers.len()]);
                let Some(server) = in_turn.filter_map(|server| TcpStream::connect(server).ok()).next() else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { address, servers }
    }

    /// One of the servers is at another address now.
    pub(super) fn moved(&self, nth: usize, address: SocketAddr) {
        self.servers.lock().unwrap()[nth] = address;
    }
}

/// Labs of servers that share a Redis: machines of their own, with a disk each.
fn machine(redis: &RedisServer) -> Lab {
    let mut lab = Lab::new();
    lab.variable("LARDER_SHARED", &redis.url());
    lab
}

/// One that has entries in that Redis and blobs in a bucket.
pub(super) fn machine_with(redis: &RedisServer, bucket: &S3Server) -> Lab {
    let key = S3Server::options().access_key.unwrap();
    let mut lab = machine(redis);
    lab.variable("LARDER_SHARED_BLOBS", &bucket.url());
    lab.variable("AWS_ACCESS_KEY_ID", &key.id).variable("AWS_SECRET_ACCESS_KEY", key.secret.reveal());
    lab
}

/// Asks again for as long as a connection breaks, as a client does.
fn persistently(mut ask: impl FnMut() -> io::Result<Answer>) -> Answer {
    wait_until("an answer", || ask().ok())
}

#[test]
fn whichever_server_is_killed_under_load_no_acknowledged_write_is_lost_and_no_read_fails() {
    let redis = RedisServer::start();
    check_killed(&[machine(&redis), machine(&redis)]);
}

#[test]
fn so_it_is_where_entries_are_in_redis_and_blobs_in_a_bucket() {
    let (redis, bucket) = (RedisServer::start(), S3Server::start());
    check_killed(&[machine_with(&redis, &bucket), machine_with(&redis, &bucket)]);
    assert_eq!(redis.ask(&["keys", "larder1:b:*"]), "", "no blob is in Redis");
    assert!(bucket.objects().join("b").exists(), "blobs are in the bucket");
}

/// Kills each server under load, twice.
fn check_killed(labs: &[Lab; 2]) {
    let mut servers = labs.each_ref().map(|lab| Server::start(lab, &[]));
    let balancer = Balancer::start(servers.iter().map(|server| server.address).collect());
    let acknowledged: Mutex<Vec<(String, Vec<u8>)>> = Mutex::default();
    let (next, reads, ended) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let check = |path: &str, bytes: &[u8], answer: Answer| {
        assert!(answer.status == 200 && answer.body == bytes, "{path}: {} {}", answer.status, answer.head);
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let (bytes, digest) = content(number, [200, 5000, 60_000][number as usize % 3]);
                    let path = if number.is_multiple_of(2) {
                        format!("/cas/{digest}")
                    } else {
                        format!("/ccache/{number}")
                    };
                    let answer = persistently(|| put(balancer.address, &path, &bytes));
                    assert!(answer.status < 300, "{answer:?}");
                    acknowledged.lock().unwrap().push((path, bytes));
                }
            });
        }
        for reader in 0..2usize {
            let (acknowledged, check, ended, reads) = (&acknowledged, &check, &ended, &reads);
            let address = balancer.address;
            scope.spawn(move || {
                let mut at = reader;
                while !ended.load(Ordering::Relaxed) {
                    let all = acknowledged.lock().unwrap();
                    let Some((path, bytes)) = all.get(at % all.len().max(1)).cloned() else { continue };
                    drop(all);
                    check(&path, &bytes, persistently(|| get(address, &path)));
                    reads.fetch_add(1, Ordering::Relaxed);
                    at += 7;
                }
            });
        }
        for nth in [0, 1, 0, 1] {
            let (begun, read) = (acknowledged.lock().unwrap().len(), reads.load(Ordering::Relaxed));
            wait_until("some load", || {
                let written = acknowledged.lock().unwrap().len();
                (written >= begun + 20 && reads.load(Ordering::Relaxed) >= read + 20).then_some(())
            });
            servers[nth].kill();
            // While it is gone the others do its work.
            let begun = acknowledged.lock().unwrap().len();
            wait_until("load on the other", || {
                (acknowledged.lock().unwrap().len() >= begun + 10).then_some(())
            });
            servers[nth] = Server::start(&labs[nth], &[]);
            balancer.moved(nth, servers[nth].address);
        }
        ended.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 100);
    for server in &servers {
        for (path, bytes) in &acknowledged {
            check(path, bytes, server.get(path));
        }
    }
}

#[test]
fn what_is_overwritten_is_soon_gone_from_each_server_and_the_new_stays() {
    let redis = RedisServer::start();
    let labs = [(); 3].map(|()| machine(&redis));
    check_overwritten(labs.each_ref().map(|lab| Server::start(lab, &[])));
}

#[test]
fn so_it_is_with_servers_and_commands_over_one_directory() {
    let lab = Lab::new();
    check_overwritten([(); 3].map(|()| Server::start(&lab, &[])));
    let server = Server::start(&lab, &[]);
    server.put("/ccache/poisoned", b"bad");
    assert_eq!(server.get("/ccache/poisoned").body, b"bad");
    lab.stdout(&["cache", "clear"]);
    wait_until("what was cleared is gone", || (server.get("/ccache/poisoned").status == 404).then_some(()));
}

#[test]
fn so_it_is_with_what_is_overwritten_where_blobs_are_in_a_bucket() {
    let (redis, bucket) = (RedisServer::start(), S3Server::start());
    let labs = [(); 3].map(|()| machine_with(&redis, &bucket));
    check_overwritten(labs.each_ref().map(|lab| Server::start(lab, &[])));
    assert!(bucket.objects().join("b").exists(), "blobs are in the bucket");
}

/// Writes over what is there, by one server and by another, and reads by all.
fn check_overwritten([one, other, third]: [Server; 3]) {
    let versions = [content(1, 300).0, content(2, 60_000).0, content(3, 300).0];
    for path in ["/ccache/ab/c", "/v8/artifacts/00ff", "/gradle/12ab"] {
        for (nth, bytes) in versions.iter().enumerate() {
            one.put(path, bytes);
            assert_eq!(one.get(path).body, *bytes);
            for reader in [&other, &third] {
                wait_until("the new one is given", || {
                    let answer = reader.get(path);
                    let is_new = answer.body == *bytes;
                    // What was there before, or nothing while it is on its way; never anything else.
                    let is_old = nth > 0 && answer.body == versions[nth - 1];
                    assert!(is_new || is_old || answer.status == 404, "{path}: {}", answer.head);
                    is_new.then_some(())
                });
            }
        }
        // By whom it is overwritten does not matter.
        third.put(path, &versions[0]);
        for reader in [&one, &other] {
            wait_until("the new one is given", || (reader.get(path).body == versions[0]).then_some(()));
        }
    }
}

#[test]
fn what_the_shared_tier_did_not_take_goes_there_when_it_is_put_again() {
    let redis = RedisServer::start();
    let labs = [machine(&redis), machine(&redis)];
    let [mut one, other] = labs.each_ref().map(|lab| Server::start(lab, &[]));
    // The log stands, so that what follows is no new beginning.
    one.put("/ccache/ab/first", b"first");
    assert_eq!(other.get("/ccache/ab/first").body, b"first");
    let takes = |room: &str| assert_eq!(redis.ask(&["config", "set", "maxmemory", room]), "OK");
    takes("1");
    let hash = "d".repeat(16);
    let paths =
        ["/ccache/ab/c", "/gradle/12ab", "/webdav/a/b", "/v1/cache/77", &format!("/v8/artifacts/{hash}")];
    let all: Vec<(&str, Vec<u8>)> =
        paths.into_iter().zip(1..).map(|(path, nth)| (path, content(nth, 30_000).0)).collect();
    for (path, bytes) in &all {
        one.put(path, bytes);
        assert_eq!(other.get(path).status, 404, "{path} did not reach the team");
    }
    // Neither does a server know what became of it that begins anew.
    one.kill();
    let one = Server::start(&labs[0], &[]);
    takes("0");
    for (path, bytes) in &all {
        wait_until("the other has it", || {
            // Some say then that it is there.
            put(one.address, path, bytes).unwrap();
            (other.get(path).body == *bytes).then_some(())
        });
    }
}

#[test]
fn putting_the_same_again_writes_nothing_anywhere() {
    let redis = RedisServer::start();
    let labs = [machine(&redis), machine(&redis)];
    let [one, other] = labs.each_ref().map(|lab| Server::start(lab, &[]));
    let (bytes, _) = content(1, 50_000);
    one.put("/ccache/ab/c", &bytes);
    let writes = || {
        let all = redis.ask(&["info", "commandstats"]);
        let writing = ["hset", "hsetex", "set", "xadd", "del", "unlink", "rename"];
        let counted = all.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = rest.strip_prefix("calls=")?.split(',').next()?;
            writing.contains(&name).then(|| format!("{name} {calls}"))
        });
        counted.collect::<Vec<_>>()
    };
    let before = writes();
    assert_ne!(before, [""; 0]);
    for server in [&one, &other, &one] {
        server.put("/ccache/ab/c", &bytes);
    }
    assert_eq!(writes(), before);
    // Something else is written, and is then what counts.
    let (changed, _) = content(2, 50_000);
    other.put("/ccache/ab/c", &changed);
    assert_ne!(writes(), before);
    assert_eq!(other.get("/ccache/ab/c").body, changed);
}
